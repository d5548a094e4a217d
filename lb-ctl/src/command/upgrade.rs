//! `lb-ctl upgrade`: replaces the program in place.

use crate::report::say;
use crate::{program::replacement, store::Store};
use anyhow::Result;

/// Replace the program by the one in this lb-ctl; services and connections go on.
///
/// It also looks again at what each interface can do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl upgrade")]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let store = Store::lock()?;
        let connections = store.settings.get(0).connections;
        let instances = replacement::replace(store.pins(), connections, None)?;
        replacement::forget_trace(store.pins())?;
        for instance in instances {
            say!("upgraded ({})", instance.variant.mode);
        }
        Ok(())
    }
}
