//! The program that sends and measures packets, `lb-ctl/benches/packet`: it carries the BPF programs, which xtask
//! cannot, because it is what installs their compiler.

use std::{
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;

use crate::{
    lab::{Namespace, Process},
    setup::Toolchain,
};

/// The built program.
#[derive(Clone)]
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

    /// The same as text.
    pub fn name(&self) -> Result<&str> {
        self.0.to_str().context("the path of the benchmark")
    }

    /// Holds one of its programs at an interface, as long as the process lives.
    pub fn attach(
        &self,
        at: &Namespace,
        interface: &str,
        program: &str,
        options: &[&str],
    ) -> Result<Process> {
        let command = [self.name()?, "attach", interface, program];
        let mut process = at.spawn(command.iter().chain(options))?;
        let limit = Instant::now() + Duration::from_secs(20);
        while !process.log().contains("attached") {
            if process.ended()?.is_some() || Instant::now() > limit {
                bail!("{program} at {interface}:\n{}", process.log());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(process)
    }
}
