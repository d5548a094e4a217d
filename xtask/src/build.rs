//! Builds `lb-ctl`, whose build script compiles the XDP program into it.

use std::{
    io::BufReader,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Message, Target};

use crate::setup::{self, Toolchain};

/// Builds it and says where it is.
pub fn print_path() -> Result<()> {
    let toolchain = setup::build_tools()?;
    println!("{}", lb_ctl(&toolchain)?.display());
    Ok(())
}

/// The path of the freshly built binary, as cargo itself names it: `CARGO_TARGET_DIR`, a configured
/// target directory and a configured target triple all move it.
pub fn lb_ctl(toolchain: &Toolchain) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", "lb-ctl", "--bin", "lb-ctl"]);
    toolchain.apply(&mut cargo);
    let built = artifacts(cargo, |target| target.name == "lb-ctl")?;
    built.into_iter().next().map(|(_, path)| path).context("cargo built lb-ctl but named no executable")
}

/// The namespace tests of these names, in this order, compiled and not run.
pub fn namespace_tests(toolchain: &Toolchain, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", "xtask", "--no-run"]);
    for name in names {
        cargo.args(["--test", name]);
    }
    toolchain.apply(&mut cargo);
    let built = artifacts(cargo, |target| names.contains(&target.name.as_str()) && target.is_test())?;
    let path = |name| built.iter().find(|(built, _)| built == name).map(|(_, path)| path.clone());
    names
        .iter()
        .map(|name| path(name).with_context(|| format!("cargo did not build the test {name}")))
        .collect()
}

/// Runs cargo, and gives the names and executables of these targets, in the order that cargo built them in.
fn artifacts(mut cargo: Command, wanted: impl Fn(&Target) -> bool) -> Result<Vec<(String, PathBuf)>> {
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("stdout is piped")?;

    let mut binaries = Vec::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && wanted(&artifact.target)
            && let Some(executable) = artifact.executable
        {
            binaries.push((artifact.target.name, executable.into_std_path_buf()));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "cargo build failed (see above)");
    Ok(binaries)
}
