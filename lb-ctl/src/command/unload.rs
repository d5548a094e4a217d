//! `lb-ctl unload`: takes the balancer away.

use crate::{
    lock::Lock,
    program::{attachment, object, pins::Pins},
};
use anyhow::{Context as _, Result};
use std::fs;

/// Detach the balancer and remove all of it: services, connections, counters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl unload")]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let pins = Pins::here()?;
        let lock = Lock::take(pins.cookie)?;
        let cleaned = pins.clean()?;
        match pins.loaded() {
            Ok(loaded) => {
                // Under the other name, what is left by an interruption is known to be no load.
                let directory = pins.unfinished();
                fs::rename(loaded, &directory).context("cannot unload")?;
                attachment::detach(&directory)?;
                object::disarm(&directory)?;
                pins.clean()?;
                println!("unloaded");
            }
            Err(_) if cleaned => println!("removed what an interrupted load or unload had left"),
            Err(error) => {
                lock.remove()?;
                return Err(error);
            }
        }
        pins.forget();
        object::forget_log();
        // Left by a trace that was killed. One that runs removes it itself.
        if let Ok(trace) = Lock::take_trace(pins.cookie)? {
            trace.remove()?;
        }
        lock.remove()
    }
}
