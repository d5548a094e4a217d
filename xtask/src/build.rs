//! Builds `lb-ctl`, whose build script compiles the XDP program into it.

use std::{
    io::BufReader,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

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
    cargo
        .args(["build", "--release", "--package", "lb-ctl", "--bin", "lb-ctl"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    toolchain.apply(&mut cargo);
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let stdout = child.stdout.take().context("stdout is piped")?;

    let mut binary = None;
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == "lb-ctl"
            && let Some(executable) = artifact.executable
        {
            binary = Some(executable.into_std_path_buf());
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "building lb-ctl failed (see above)");
    binary.context("cargo built lb-ctl but named no executable")
}
