//! `lb-ctl history`: what was changed.

use crate::history::History;
use crate::report::say;
use anyhow::Result;

/// List the changes that rollback knows, the latest last: number, time and command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl history")]
pub struct Args {}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let history = History::here()?;
        for number in history.numbers() {
            let Some(about) = history.about(number) else { continue };
            let undoes = about.undoes.map(|other| format!(" (undid {other})")).unwrap_or_default();
            say!("{number:>6}  {}  {}{undoes}", about.time, about.command);
        }
        Ok(())
    }
}
