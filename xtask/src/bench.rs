//! What a packet costs: `lb-ctl/benches`, in a namespace of its own.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{elevate, setup};

/// Runs the benchmarks. They need root: programs are loaded and run in the kernel.
pub fn run() -> Result<()> {
    ensure!(
        elevate::is_root(),
        "the benchmark loads programs into the kernel; run as root: sudo cargo xtask bench"
    );
    let toolchain = setup::everything()?;
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--package", "lb-ctl", "--bench", "packet"]);
    toolchain.apply(&mut cargo);
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "the benchmark failed (see above)");
    Ok(())
}
