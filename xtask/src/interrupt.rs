//! Ctrl-C, SIGTERM and SIGHUP become an error that unwinds, so that every guard on the way cleans up.

use std::{
    process,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Result, ensure};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first signal only asks to stop; the second one ends the process at once.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let set = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                process::exit(130);
            }
        });
        if let Err(error) = set {
            eprintln!("warning: Ctrl-C will not clean up: {error}");
        }
    });
}

/// Called between steps: an error once somebody wants us to stop.
pub fn check() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}
