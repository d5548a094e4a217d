//! `lb-ctl save`: everything, to be restored.

use crate::{
    configuration::{self, Configuration},
    store::Store,
};
use anyhow::Result;
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Write services, backends and settings to a file, as numbers, for lb-ctl restore.
///
/// The file is replaced as a whole: whatever happens, it holds the old configuration or the new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl save /etc/lb-ctl/saved.toml")]
pub struct Args {
    /// The file; - is the standard output, as is none
    file: Option<PathBuf>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let configuration = Configuration::of_store(&Store::open()?)?;
        match &self.file {
            Some(path) if path != Path::new("-") => {
                configuration::replace(path, |mut out| configuration::write(&mut out, &configuration))
            }
            _ => {
                let mut out = io::BufWriter::new(io::stdout().lock());
                configuration::write(&mut out, &configuration)?;
                Ok(out.flush()?)
            }
        }
    }
}
