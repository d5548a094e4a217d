//! What was changed, when, and by which command: a bounded list of files, a change each.
//!
//! A file is one line of JSON about the change and two configurations, of what it replaced and of
//! what it put there. It is written before the change is made, and not forced to the disk: what it
//! tells of does not outlive the machine's memory either.

mod entry;

pub use entry::{About, Entry};

use crate::{configuration::Configuration, program::namespace};
use anyhow::{Context as _, Result};
use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

/// The most changes that are remembered.
const ENTRIES: usize = 100;
/// The most bytes that they take.
const BYTES: u64 = 64 << 20;
/// Where, unless `LB_STATE` names another directory.
const STATE: &str = "/var/lib/lb-ctl";
const SUFFIX: &str = ".change";

/// The changes of the balancer in this network namespace.
pub struct History {
    directory: PathBuf,
}

impl History {
    /// That of this network namespace. Nothing need be there.
    pub fn here() -> Result<Self> {
        let state = env::var_os("LB_STATE").map_or_else(|| PathBuf::from(STATE), PathBuf::from);
        Ok(Self { directory: state.join("history").join(namespace::cookie()?.to_string()) })
    }

    /// Numbers of all changes that are remembered, oldest first.
    pub fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(SUFFIX)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// A change; `None` when its file is damaged or gone.
    pub fn entry(&self, number: u64) -> Option<Entry> {
        Entry::parse(number, &fs::read_to_string(self.path(number)).ok()?)
    }

    /// What is known of a change, without what it changed.
    pub fn about(&self, number: u64) -> Option<About> {
        let mut line = String::new();
        BufReader::new(File::open(self.path(number)).ok()?).read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Remembers a change; its number. The oldest are forgotten for it.
    pub fn remember(
        &self,
        command: &str,
        undoes: Option<u64>,
        before: &Configuration,
        after: &Configuration,
    ) -> Result<u64> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot create {}", self.directory.display()))?;
        let mut numbers = self.numbers();
        let number = numbers.last().unwrap_or(&0) + 1;
        let text = Entry::text(command, undoes, before, after)?;
        self.make_room(&mut numbers, text.len() as u64);
        let path = self.path(number);
        let unfinished = path.with_extension("new");
        let written = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // Half a file takes room and says nothing.
            let _ = fs::remove_file(&unfinished);
        }
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(number)
    }

    /// Forgets a change that was not made after all.
    pub fn forget(&self, number: u64) {
        // A change that was never made is recognised by its effects anyway.
        let _ = fs::remove_file(self.path(number));
    }

    fn make_room(&self, numbers: &mut Vec<u64>, needed: u64) {
        let size = |number: &u64| fs::metadata(self.path(*number)).map_or(0, |about| about.len());
        let mut total = needed + numbers.iter().map(size).sum::<u64>();
        let mut forgotten = 0;
        for number in numbers.iter() {
            if numbers.len() - forgotten < ENTRIES && total <= BYTES {
                break;
            }
            total -= size(number);
            self.forget(*number);
            forgotten += 1;
        }
        numbers.drain(..forgotten);
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(Path::new(&format!("{number}{SUFFIX}")))
    }
}
