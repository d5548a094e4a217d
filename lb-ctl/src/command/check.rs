//! `lb-ctl check`: is a configuration file right?

use crate::configuration;
use crate::report::say;
use anyhow::Result;
use std::path::PathBuf;

/// Say whether a configuration file is right, without looking at the balancer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl check /etc/lb-ctl/services.toml")]
pub struct Args {
    /// The file; - is the standard input
    file: PathBuf,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let configuration = configuration::read(&self.file)?.configuration()?;
        say!("{}: right", configuration.count());
        Ok(())
    }
}
