//! What came of a script.

use std::fmt;

use super::{
    known,
    side::Who,
    transcript::{Difference, Transcript},
};

/// How the two sides compare.
pub struct Verdict {
    lines: usize,
    /// Which sides did not come to their end, and why.
    failed: Vec<String>,
    unexplained: Vec<Difference>,
    /// What the documents tell of.
    explained: Vec<Difference>,
    /// What the documents say and did not happen.
    absent: Vec<&'static str>,
}

impl Verdict {
    pub fn of(name: &str, theirs: &Transcript, ours: &Transcript) -> Self {
        let sides = [(Who::Ipvs, theirs), (Who::Ours, ours)];
        let failed = sides.iter().filter(|(_, half)| half.failed);
        let said = |(who, half): &(Who, &Transcript)| format!("{} failed: {}", who.name(), half.last());
        let sorted = known::sorted(name, theirs.differences(ours));
        Self {
            lines: theirs.count(),
            failed: failed.map(said).collect(),
            unexplained: sorted.unexplained,
            explained: sorted.explained,
            absent: sorted.absent,
        }
    }

    /// Why it does not pass.
    pub fn failure(&self) -> Option<String> {
        match (self.failed.first(), self.unexplained.len(), self.absent.first()) {
            (Some(failed), ..) => Some(failed.clone()),
            (None, 1.., _) => Some(format!("{} lines differ from IPVS", self.unexplained.len())),
            (None, 0, Some(part)) => {
                Some(format!("docs/ipvsadm.md tells of a difference that is none: {part}"))
            }
            (None, 0, None) => None,
        }
    }

    /// Each difference in full.
    pub fn details(&self) -> Vec<String> {
        let differences =
            self.explained.iter().chain(&self.unexplained).flat_map(|Difference { theirs, ours }| {
                [("IPVS", theirs), ("ours", ours)]
                    .map(|(who, line)| format!("{who}: {}", line.as_deref().unwrap_or("(no such line)")))
            });
        self.failed.iter().cloned().chain(differences).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines;
        match self.failure() {
            Some(_) if !self.failed.is_empty() => write!(f, "FAILED"),
            Some(_) if !self.unexplained.is_empty() => write!(f, "DIFFERENT, {lines} lines"),
            Some(failure) => write!(f, "FAILED: {failure}"),
            None if !self.explained.is_empty() => write!(f, "as docs/ipvsadm.md says, {lines} lines"),
            None => write!(f, "same, {lines} lines"),
        }
    }
}
