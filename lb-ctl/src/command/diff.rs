//! `lb-ctl diff`: what would a configuration file change?

use crate::{
    configuration::{self, Configuration, Difference},
    report,
    spec::Usage,
    store::Store,
};
use anyhow::Result;
use std::{path::PathBuf, process::ExitCode};

/// Show what lb-ctl apply would change. Exit status: 0 nothing, 1 something, 2 it cannot be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl diff /etc/lb-ctl/services.toml || lb-ctl apply /etc/lb-ctl/services.toml")]
pub struct Args {
    /// The file; - is the standard input
    file: PathBuf,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let difference = self.difference().map_err(|error| Usage(format!("{error:#}")))?;
        report::difference::write(&mut anstream::stdout().lock(), &difference)?;
        Ok(if difference.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn difference(&self) -> Result<Difference> {
        let wanted = configuration::read(&self.file)?.configuration()?;
        Ok(Difference::between(&Configuration::of_store(&Store::open()?)?, &wanted))
    }
}
