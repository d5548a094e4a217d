//! `lb-ctl restore`: what `save` wrote.

use crate::{
    command::apply::reach,
    configuration::{self, Source},
    ipvsadm,
};
use anyhow::Result;
use std::path::PathBuf;

/// Make services, backends and settings what a file of lb-ctl save or of ipvsadm -S says.
///
/// It is one change: packets see the configuration before it or after it, and an error in the file changes
/// nothing. What stays the same is not touched, and connections go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl restore /etc/lb-ctl/saved.toml
  lb-ctl restore /etc/ipvsadm.rules")]
pub struct Args {
    /// The file; - is the standard input
    file: PathBuf,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let source = configuration::read(&self.file)?;
        let wanted = if source.is_written() {
            source.configuration()?
        } else if source.is_of_ipvsadm() {
            ipvsadm::configuration(&source)?
        } else {
            return Err(unwritten(&source));
        };
        reach(&wanted)?;
        Ok(())
    }
}

fn unwritten(source: &Source) -> anyhow::Error {
    source.refused(
        "neither lb-ctl save nor ipvsadm -S has written this whole; lb-ctl apply takes your own files",
    )
}
