//! `lb-ctl apply`: makes the balancer what a configuration file says.

use crate::{
    command::{mark, snat_pool},
    configuration::{self, Configuration, Difference},
    report,
    store::Store,
    transaction,
};
use anyhow::Result;
use std::path::PathBuf;

/// Make services, backends and settings what a configuration file says.
///
/// Only what differs is changed, all at once: packets see the configuration before it or after it. Services that
/// the file does not name are deleted; settings that it does not name stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl apply /etc/lb-ctl/services.toml --dry-run")]
pub struct Args {
    /// The file; - is the standard input
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let wanted = configuration::read(&self.file)?.configuration()?;
        let difference = if self.dry_run {
            Difference::between(&Configuration::of_store(&Store::open()?)?, &wanted)
        } else {
            reach(&wanted)?
        };
        report::difference::write(&mut anstream::stdout().lock(), &difference)
    }
}

/// Changes what differs from a configuration; what that was.
pub fn reach(wanted: &Configuration) -> Result<Difference> {
    let difference = transaction::make(|change| {
        let difference = Difference::between(&Configuration::of_change(change), wanted);
        difference.ask(change)?;
        if !change.has_marks() {
            // The same rules may find interfaces that were not there before.
            change.set_marks(change.marks())?;
        }
        Ok(difference)
    })?;
    if let Some(pool) = &wanted.pool {
        snat_pool::warn(pool)?;
    }
    if let Some(marks) = &wanted.marks {
        mark::warn(marks)?;
    }
    Ok(difference)
}
