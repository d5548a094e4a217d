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
    let number = history.remember(&command_line(env::args()), undoes, &before, &after)?;
    Ok((history, number))
}

/// What was typed; of this program's names, those of ipvsadm.
fn command_line(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<_> = words.collect();
    let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
    match name.starts_with("ipvsadm") {
        true => words[0] = name,
        false => _ = words.remove(0),
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::command_line;

    #[test]
    fn ipvsadm_s_names_are_a_part_of_what_was_typed() {
        let line = |words: &str| command_line(words.split(' ').map(str::to_owned));
        assert_eq!(line("/usr/sbin/ipvsadm -C"), "ipvsadm -C");
        assert_eq!(line("ipvsadm-restore"), "ipvsadm-restore");
        assert_eq!(line("./lb-ctl ipvsadm -C"), "ipvsadm -C");
        assert_eq!(line("lb-ctl clear"), "clear");
    }
}
