//! `lb-ctl clear`: everything.

use crate::{store::Change, transaction};
use anyhow::Result;

/// Delete every service.
///
/// Timeouts stay. The host answers what then comes for old connections, as with IPVS.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl clear && lb-ctl list -n")]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        transaction::make(Change::clear)
    }
}
