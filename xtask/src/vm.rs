//! `cargo xtask vm`: Debian's own kernels in QEMU, with the real IPVS in them. Software emulation, so
//! that it works where there is no KVM; packages are unpacked and never installed.

mod bond;
mod cards;
mod compare;
mod cpio;
mod guest;
mod import;
mod load;
mod machine;
pub mod packages;
mod qemu;
mod ram_disk;
mod reboot;
mod report;
mod sctp;
mod stacked;
mod tc;
mod test;
mod traffic;
mod tunnels;
mod virtio;
mod vlan;

use std::{env, ffi::OsString};

use anyhow::{Context, Result, bail, ensure};
use clap::{Subcommand, ValueEnum};

use crate::{build, setup};
use machine::Machine;
use ram_disk::Carried;

/// What `cargo xtask vm` takes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    /// Which kernel to boot
    #[arg(long, value_enum, default_value = "6.1")]
    kernel: Kernel,
    /// Run this in the machine as root, beside `lb-ctl` and the real IPVS, and end with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Subcommand)]
enum Task {
    /// A machine with a shell on this terminal, beside `lb-ctl`; it is gone when the shell ends
    Shell {
        /// Which kernel to boot
        #[arg(long, value_enum, default_value = "6.1")]
        kernel: Kernel,
    },
    /// On each kernel: loading, the classic job, and the same traffic through ours and the real IPVS
    Test(test::Args),
    /// The part of `test` that runs inside the machine
    #[command(hide = true)]
    Guest(guest::Args),
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
    /// Each with the package that always depends on the newest build of it.
    fn each(self) -> &'static [(&'static str, &'static str)] {
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
    match args.task {
        Some(Task::Guest(args)) => guest::run(&args),
        Some(Task::Test(args)) => test::run(&args),
        Some(Task::Shell { kernel }) => {
            let &[(version, package)] = kernel.each() else { bail!("a shell on one kernel: --kernel 6.1") };
            Machine::prepare(version, package)?.shell(&carried()?)
        }
        None if args.command.is_empty() => bail!("cargo xtask vm test, vm shell, or vm -- COMMAND"),
        None => command(args.kernel, &args.command),
    }
}

/// Runs a command of bash in one machine, with a file more beside it, gives each line that it prints to
/// `line`, and returns its exit status.
pub(crate) fn with(version: &str, command: &str, file: Carried, line: impl FnMut(&str)) -> Result<i32> {
    let kernel = Kernel::All.each().iter().find(|(name, _)| *name == version);
    let (version, package) = kernel.with_context(|| format!("no machine with Linux {version}"))?;
    let mut carried = carried()?;
    carried.push(file);
    Machine::prepare(version, package)?.run(command, &carried, line)
}

/// The binaries that every machine gets.
fn carried() -> Result<Vec<Carried>> {
    let lb_ctl = build::lb_ctl(&setup::build_tools()?)?;
    Ok(vec![("vm/lb-ctl".to_owned(), lb_ctl), ("vm/xtask".to_owned(), env::current_exe()?)])
}

fn command(kernel: Kernel, words: &[OsString]) -> Result<()> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let carried = carried()?;
    let mut failed = Vec::new();
    for (version, package) in kernel.each() {
        eprintln!("== Linux {version}");
        let status =
            Machine::prepare(version, package)?.run(&words.join(" "), &carried, |line| println!("{line}"))?;
        if status != 0 {
            failed.push(format!("Linux {version}: exit status {status}"));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join(", "));
    Ok(())
}
