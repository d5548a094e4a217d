//! When the emulated machine stood still: its host had no time for it, or for one of its threads.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

/// How long a look at the clock should be away from the next.
const STEP: Duration = Duration::from_millis(50);
/// Shorter ones change nothing that a script can see: TCP repeats after 200 ms, and what it repeats moves states.
const LONG: Duration = Duration::from_millis(150);

/// Looks at the clock until it is dropped.
pub struct Stalls {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    ended: AtomicBool,
    /// When a stall was over, and how long it had been.
    stalls: Mutex<Vec<(Instant, Duration)>>,
}

impl Stalls {
    pub fn watch() -> Self {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let mut last = Instant::now();
            while !shared.ended.load(Relaxed) {
                sleep(STEP);
                let now = Instant::now();
                let late = now.duration_since(last).saturating_sub(STEP);
                if late > STEP {
                    shared.stalls.lock().unwrap_or_else(PoisonError::into_inner).push((now, late));
                }
                last = now;
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// The longest that was over after this moment.
    pub fn longest(&self, since: Instant) -> Duration {
        let stalls = self.seen.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        stalls.iter().filter(|(end, _)| *end >= since).map(|(_, late)| *late).max().unwrap_or_default()
    }
}

/// Whether a script that saw such a stall may differ by that.
pub fn is_long(stall: Duration) -> bool {
    stall >= LONG
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.seen.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
