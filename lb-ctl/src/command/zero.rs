//! `lb-ctl zero`: counters.

use crate::{
    command::service::{Selector, unknown},
    spec::ServiceName,
    transaction,
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
        transaction::make(|change| {
            if let Some(name) = only
                && change.version(&name.key()).is_none()
            {
                return Err(unknown(name));
            }
            change.zero(only.map(ServiceName::key).as_ref());
            Ok(())
        })
    }
}
