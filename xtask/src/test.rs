//! Every test: the host's first, then those that raise namespaces and load the program.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{build, elevate, setup};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to `cargo test`, for instance `-p xtask --test classic`
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

/// Runs them all, or those that the arguments choose.
pub fn run(args: Args) -> Result<()> {
    let toolchain = setup::everything()?;
    let lb_ctl = build::lb_ctl(&toolchain)?;

    let mut cargo = Command::new("cargo");
    cargo.arg("test").env("LB_CTL", lb_ctl);
    toolchain.apply(&mut cargo);
    if args.cargo.is_empty() {
        // Every crate's tests run even if those of one fail: a report of all failures, not the first.
        cargo.args(["--workspace", "--no-fail-fast"]);
    } else {
        cargo.args(args.cargo);
    }
    if !elevate::is_root() {
        // Compiled as the user, run as root: nothing in the target directory changes hands.
        cargo.env(runner_variable()?, "sudo --preserve-env");
    }
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "tests failed (see above)");
    Ok(())
}

/// The variable that names the program cargo starts test binaries with, for this host's target.
fn runner_variable() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    let tuple = String::from_utf8(output.stdout)?;
    let tuple = tuple.trim().replace(['-', '.'], "_").to_uppercase();
    ensure!(!tuple.is_empty(), "rustc does not name its host");
    Ok(format!("CARGO_TARGET_{tuple}_RUNNER"))
}
