//! `lb-ctl zero`: counters.

use crate::{
    command::service::{Selector, unknown},
    store::Store,
};
use anyhow::Result;

/// Start the counters and rates of one service, or of all, at zero.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl zero -t 192.168.2.200:80")]
pub struct Args {
    #[command(flatten)]
    service: Selector,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let only = self.service.optional()?;
        let mut store = Store::lock()?;
        match only {
            Some(name) => {
                let version = store.version(&name.key())?.ok_or_else(|| unknown(name))?;
                store.zero(&[version.record.id].into())
            }
            None => {
                let ids = store.versions()?.iter().map(|version| version.record.id).collect();
                store.zero(&ids)
            }
        }
    }
}
