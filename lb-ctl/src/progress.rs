//! A bar on a terminal, for work that takes longer than one cares to wait.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::time::{Duration, Instant};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does something with each of many things.
pub fn each<T>(items: &[T], mut body: impl FnMut(&T) -> Result<()>) -> Result<()> {
    let bar = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::hidden());
    let (start, mut is_shown) = (Instant::now(), false);
    for item in items {
        body(item)?;
        bar.inc(1);
        if !is_shown && start.elapsed() > PATIENCE {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            is_shown = true;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
