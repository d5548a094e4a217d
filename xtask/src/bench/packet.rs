//! The program that sends and measures packets, `lb-ctl/benches/packet`: it carries the BPF programs, which xtask
//! cannot, because it is what installs their compiler.

use std::{
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

use crate::setup::Toolchain;

/// The built program.
pub struct Packet(PathBuf);

impl Packet {
    /// Builds it.
    pub fn build(toolchain: &Toolchain) -> Result<Self> {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["bench", "--no-run", "--package", "lb-ctl", "--bench", "packet"])
            .arg("--message-format=json-render-diagnostics")
            .stdout(Stdio::piped());
        toolchain.apply(&mut cargo);
        let mut child = cargo.spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut program = None;
        for message in Message::parse_stream(BufReader::new(stdout)) {
            if let Message::CompilerArtifact(artifact) = message?
                && artifact.target.name == "packet"
                && let Some(executable) = artifact.executable
            {
                program = Some(executable.into_std_path_buf());
            }
        }
        let status = child.wait()?;
        ensure!(status.success(), "building the benchmark failed (see above)");
        program.map(Self).context("cargo built the benchmark but named no executable")
    }

    /// Built, and carried here.
    pub fn at(path: &str) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
