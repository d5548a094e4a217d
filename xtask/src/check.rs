//! What has to hold for every commit besides the tests. Reports every failed check, not the first.

mod licences;
mod table;
mod tidy;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup::{self, Toolchain};

/// Runs all checks.
pub fn run() -> Result<()> {
    // The lints look at lb-ctl, whose build script compiles the XDP program.
    let toolchain = setup::build_tools()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--keep-going", "--", "--deny", "warnings"];
    let checks = [
        ("formatting", cargo(&toolchain, &["fmt", "--all", "--check"])),
        ("lints", cargo(&toolchain, &clippy)),
        ("licences", licences::check()),
        ("tidiness", tidy::check()),
        ("the table of what forwards what", table::check()),
    ];
    let mut failed = Vec::new();
    for (name, result) in checks {
        match result {
            Ok(()) => println!("check {name}: ok"),
            Err(error) => {
                println!("check {name}: FAILED: {error:#}");
                failed.push(name);
            }
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn cargo(toolchain: &Toolchain, arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments);
    toolchain.apply(&mut cargo);
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} ended with {status}", arguments.join(" "));
    Ok(())
}
