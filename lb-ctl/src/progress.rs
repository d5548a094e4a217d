//! A bar on a terminal, for a command that takes longer than one cares to wait.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the command began.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Time counts from here on.
pub fn begin() {
    LazyLock::force(&START);
}

/// Does something with each of many things. `what` is said in front of the bar.
pub fn each<T, E>(
    what: &'static str,
    items: impl ExactSizeIterator<Item = T>,
    mut body: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let bar = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::hidden());
    let mut is_shown = false;
    for item in items {
        if !is_shown && START.elapsed() > PATIENCE {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what);
            // Shows nothing where the standard error is no terminal.
            bar.set_draw_target(ProgressDrawTarget::stderr());
            is_shown = true;
        }
        body(item)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
