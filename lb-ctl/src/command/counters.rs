//! `lb-ctl counters`.

use anyhow::{Result, bail};

/// Not written yet.
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        bail!("not written yet")
    }
}
