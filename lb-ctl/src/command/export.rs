//! `lb-ctl export`: a configuration file of what there is.

use crate::{
    configuration::{self, Configuration},
    store::Store,
};
use anyhow::Result;
use std::io::{self, Write as _};

/// Print the configuration as a file to edit, for lb-ctl check, diff and apply.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl export > /etc/lb-ctl/services.toml")]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let configuration = Configuration::of_store(&Store::open()?)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        configuration::write_body(&mut out, &configuration)?;
        Ok(out.flush()?)
    }
}
