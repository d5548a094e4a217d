//! `cargo xtask vm`: Debian's own kernels in QEMU, with the real IPVS in them. Software emulation, so
//! that it works where there is no KVM; packages are unpacked and never installed.

pub mod compare;
mod cpio;
mod machine;
mod packages;

use std::{env, ffi::OsString, time::Instant};

use anyhow::{Result, bail, ensure};
use clap::{Subcommand, ValueEnum};

use crate::{build, setup};
use machine::Machine;

/// What `cargo xtask vm` takes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    /// Which kernel to boot
    #[arg(long, value_enum, default_value = "6.1")]
    kernel: Kernel,
    /// Run this in the machine as root, beside `/vm/lb-ctl`, and end with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Subcommand)]
enum Task {
    /// On each kernel: the classic job, and the same traffic through ours and through the real IPVS
    Test {
        /// Which kernel; all when not named
        #[arg(long, value_enum, default_value = "all")]
        kernel: Kernel,
    },
    /// The second half of `test`, inside the machine
    #[command(hide = true)]
    Compare,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kernel {
    #[value(name = "6.1")]
    Bookworm,
    #[value(name = "6.12")]
    Backports,
    All,
}

impl Kernel {
    fn each(self) -> &'static [(&'static str, &'static str)] {
        // The packages that always depend on the newest build of a kernel.
        const KERNELS: [(&str, &str); 2] =
            [("6.1", "linux-image-cloud-amd64"), ("6.12", "linux-image-6.12-cloud-amd64")];
        match self {
            Self::Bookworm => &KERNELS[..1],
            Self::Backports => &KERNELS[1..],
            Self::All => &KERNELS,
        }
    }
}

/// Runs whichever of them is meant.
pub fn run(args: Args) -> Result<()> {
    let (kernel, command) = match args.task {
        Some(Task::Compare) => return compare::run("/vm/lb-ctl".into()),
        Some(Task::Test { kernel }) => (kernel, TEST.to_owned()),
        None if args.command.is_empty() => bail!("cargo xtask vm test, or cargo xtask vm -- COMMAND"),
        None => {
            let words: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
            (args.kernel, words.join(" "))
        }
    };
    let lb_ctl = build::lb_ctl(&setup::build_tools()?)?;
    let carried = [("vm/lb-ctl", lb_ctl), ("vm/xtask", env::current_exe()?)];

    let mut failed = Vec::new();
    for (version, package) in kernel.each() {
        let started = Instant::now();
        println!("== Linux {version}");
        let status = Machine::prepare(version, package)?.run(&command, &carried)?;
        println!("== Linux {version}: exit status {status} after {:.0} s", started.elapsed().as_secs_f64());
        if status != 0 {
            failed.push(format!("Linux {version}: exit status {status}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join(", "));
    Ok(())
}

/// The load by itself first, because its time is the verifier's.
const TEST: &str = "set -e
uname -r
ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up
time /vm/lb-ctl load v0
/vm/lb-ctl unload
ip link delete v0
/vm/xtask run --lab /vm/lb-ctl
/vm/xtask vm compare";
