//! What runs inside the machine: each step of the test, whether or not the one before it succeeded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, ensure};

use super::{
    bond, compare, import, load,
    report::{Item, Step},
    sctp, stacked, tc, test, tunnels, virtio, vlan,
};
use crate::{interrupt, run};

/// What the host tells the guest.
#[derive(clap::Args)]
pub struct Args {
    /// Only steps whose name contains this, or one of these
    #[arg(long)]
    only: Vec<String>,
    /// Only scripts of the comparison whose name contains this
    #[arg(long)]
    script: Option<String>,
}

/// The namespace tests that run here too: what differs between kernels.
pub const TESTS: [&str; 3] = ["topologies", "local_clients", "firewall"];

/// Runs the steps and reports each.
pub fn run(args: &Args) -> Result<()> {
    let lb_ctl = PathBuf::from("/vm/lb-ctl");
    Item::Release(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()).print()?;
    let wanted = |name: &str| test::wants(&args.only, name);
    step("load", wanted, || load::run(&lb_ctl))?;
    step("the classic job", wanted, || run::demonstration(lb_ctl.clone()))?;
    step("a move from IPVS", wanted, || import::run(&lb_ctl))?;
    step("beside IPVS", wanted, || compare::run(&lb_ctl, args.script.as_deref()))?;
    step("tunnels", wanted, || tunnels::run(&lb_ctl))?;
    step("SCTP", wanted, || sctp::run(&lb_ctl))?;
    step("tc", wanted, || tc::run(&lb_ctl))?;
    step("vlan", wanted, || vlan::run(&lb_ctl))?;
    step("stacked", wanted, || stacked::run(&lb_ctl))?;
    step("bond", wanted, || bond::run(&lb_ctl))?;
    step("virtio", wanted, || virtio::run(&lb_ctl))?;
    for test in TESTS {
        step(&format!("namespace tests: {test}"), wanted, || namespace_test(&lb_ctl, test))?;
    }
    Ok(())
}

/// One test binary. One at a time, since each raises a lab.
fn namespace_test(lb_ctl: &Path, name: &str) -> Result<()> {
    let mut test = Command::new(format!("/vm/{name}"));
    let status = test.args(["--test-threads=1"]).env("LB_CTL", lb_ctl).status()?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}

fn step(name: &str, wanted: impl Fn(&str) -> bool, work: impl FnOnce() -> Result<()>) -> Result<()> {
    interrupt::check()?;
    if !wanted(name) {
        return Ok(());
    }
    println!("{name}");
    let started = Instant::now();
    let step = Step::new(name, started, work());
    if let Some(failure) = &step.failure {
        println!("{name}: {failure}");
    }
    Item::Step(step).print()
}
