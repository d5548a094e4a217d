//! `lb-ctl rollback`: undoes the last change.

use crate::report::say;
use crate::{
    configuration::Configuration, history::History, report, store::Change, transaction::commit_undoing,
};
use anyhow::{Result, bail};
use std::collections::HashSet;

/// Undo the last change. Again: the one before.
///
/// Only what that change changed is put back, all at once. When something has changed it since, nothing is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl history && lb-ctl rollback")]
pub struct Args {
    /// Show everything that was put back, not the first lines only
    #[arg(long)]
    all: bool,
}

/// How many lines of what was put back are shown.
const FIRST: usize = 20;

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let mut change = Change::begin()?;
        let now = Configuration::of_change(&change);
        let history = History::here()?;
        let mut undone = HashSet::new();
        for number in history.numbers().into_iter().rev() {
            let Some(entry) = history.entry(number) else { continue };
            if let Some(other) = entry.about.undoes {
                undone.insert(other);
                continue;
            }
            if undone.contains(&number) {
                continue;
            }
            // A command that was killed has left an entry, and perhaps no change.
            let Some(difference) = entry.undoing(&now)? else { continue };
            difference.ask(&mut change)?;
            commit_undoing(change, Some(number))?;
            say!("undid change {number}: {}", entry.about.command);
            let mut out = anstream::stdout().lock();
            return match self.all {
                true => report::difference::write(&mut out, &difference),
                false => report::difference::write_first(&mut out, &difference, FIRST),
            };
        }
        bail!("there is no change to undo; lb-ctl history lists those that are known")
    }
}
