//! `lb-ctl unload`: takes the balancer away.

use crate::report::say;
use crate::{
    lock::Lock,
    program::{attachment, object, pins::Pins, sysctl},
};
use anyhow::{Context as _, Result};
use std::fs;

/// Detach the balancer and remove all of it: services, connections, counters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl unload")]
pub struct Args {
    /// Remove what is left of loads in other network namespaces whose interfaces are all gone
    #[arg(long)]
    gone: bool,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let pins = Pins::here()?;
        if self.gone {
            return remove_gone(&pins);
        }
        let lock = Lock::take(pins.cookie)?;
        let cleaned = pins.clean()?;
        match pins.loaded() {
            Ok(_) => {
                remove(&pins)?;
                say!("unloaded");
            }
            Err(_) if cleaned => say!("removed what an interrupted load or unload had left"),
            Err(error) => {
                lock.remove()?;
                return Err(error);
            }
        }
        object::forget_log();
        forget(&pins, lock)
    }
}

/// Detaches a load and removes its pins.
fn remove(pins: &Pins) -> Result<()> {
    // Under the other name, what is left by an interruption is known to be no load.
    let directory = pins.unfinished();
    fs::rename(pins.directory(), &directory).context("cannot unload")?;
    attachment::detach(&directory)?;
    object::disarm(&directory)?;
    pins.clean()?;
    Ok(())
}

/// Removes the files around a load that is no more.
fn forget(pins: &Pins, lock: Lock) -> Result<()> {
    pins.forget();
    // Left by a trace that was killed. One that runs removes it itself.
    if let Ok(trace) = Lock::take_trace(pins.cookie)? {
        trace.remove()?;
    }
    lock.remove()
}

/// Namespaces that have ended cannot unload themselves.
fn remove_gone(here: &Pins) -> Result<()> {
    for pins in here.of_all()? {
        let lock = Lock::take(pins.cookie)?;
        // The lock may have been waited for.
        if pins.directory().is_dir() && attachment::all_gone(&pins.directory())? {
            sysctl::forget(pins.cookie)?;
            remove(&pins)?;
            forget(&pins, lock)?;
            say!("removed the load of network namespace {}", pins.cookie);
        }
    }
    Ok(())
}
