//! One change that was made.

use crate::configuration::{self, Configuration, Difference, END};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A change.
pub struct Entry {
    /// Its number; later ones are higher.
    pub number: u64,
    /// What is known of it.
    pub about: About,
    /// What it replaced.
    before: Configuration,
    /// What it put there.
    after: Configuration,
}

/// The first line of its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct About {
    /// When it was made.
    pub time: Timestamp,
    /// The command line that made it.
    pub command: String,
    /// The change that it undid.
    pub undoes: Option<u64>,
}

impl Entry {
    /// The text of a new one, of this moment.
    pub fn text(
        command: &str,
        undoes: Option<u64>,
        before: &Configuration,
        after: &Configuration,
    ) -> Result<Vec<u8>> {
        let time = Timestamp::from_second(Timestamp::now().as_second())?;
        let mut text = serde_json::to_vec(&About { time, command: command.to_owned(), undoes })?;
        text.push(b'\n');
        configuration::write(&mut text, before)?;
        configuration::write(&mut text, after)?;
        Ok(text)
    }

    /// Reads one.
    pub fn parse(number: u64, text: &str) -> Option<Self> {
        let (about, rest) = text.split_once('\n')?;
        let about = serde_json::from_str(about).ok()?;
        let (before, rest) = rest.split_once(END)?;
        let (after, rest) = rest.split_once(END)?;
        let (before, after) = (configuration::parse(before).ok()?, configuration::parse(after).ok()?);
        rest.trim().is_empty().then_some(Self { number, about, before, after })
    }

    /// What undoes it, where it is the last that changed what it changed. `None` when it was never
    /// made: its command was killed.
    pub fn undoing(&self, now: &Configuration) -> Result<Option<Difference>> {
        let ours = now.part(&[&self.before, &self.after]);
        if Difference::between(&ours, &self.after).steps.is_empty() {
            return Ok(Some(Difference::between(&self.after, &self.before)));
        }
        if Difference::between(&ours, &self.before).steps.is_empty() {
            return Ok(None);
        }
        let differs = Difference::between(&self.after, &ours);
        let first = differs.steps.first().and_then(|step| step.lines().into_iter().next());
        let (_, what) = first.context("the history contradicts itself")?;
        anyhow::bail!(
            "change {} ({}) cannot be undone: what it changed is no longer as it left it ({what})",
            self.number,
            self.about.command
        )
    }
}
