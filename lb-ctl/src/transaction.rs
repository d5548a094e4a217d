//! What one command changes, all at once or not at all, and remembered in the history.

use crate::{configuration::Configuration, history::History, store::Change};
use anyhow::Result;
use std::env;

/// Lets `ask` say what changes, under the lock, and makes it. When `ask` fails, nothing changes.
pub fn make<T>(ask: impl FnOnce(&mut Change) -> Result<T>) -> Result<T> {
    let mut change = Change::begin()?;
    let answer = ask(&mut change)?;
    commit(change)?;
    Ok(answer)
}

/// Makes a change: packets see all of it or nothing.
pub fn commit(change: Change) -> Result<()> {
    commit_undoing(change, None)
}

/// Makes a change that undoes another of the history.
pub fn commit_undoing(mut change: Change, undoes: Option<u64>) -> Result<()> {
    change.prune();
    if change.is_empty() {
        // Counters are no matter of the history.
        return change.commit();
    }
    let remembered = remember(&change, undoes);
    let made = change.commit();
    match (&made, remembered) {
        (Err(_), Ok((history, number))) => history.forget(number),
        (Ok(()), Err(error)) => {
            // The change counts more than its entry: a full disk must not hinder an admin.
            eprintln!("lb-ctl: warning: the change is made, but rollback will not know it: {error:#}");
        }
        _ => {}
    }
    made
}

fn remember(change: &Change, undoes: Option<u64>) -> Result<(History, u64)> {
    let history = History::here()?;
    let (before, after) = Configuration::of_both_sides(change);
    let words: Vec<_> = env::args().skip(1).collect();
    let number = history.remember(&words.join(" "), undoes, &before, &after)?;
    Ok((history, number))
}
