//! What one side did and saw, a line each, and what two of them differ in.

use std::fmt::Display;

/// By how many seconds the remaining time of a connection may differ: the two sides run beside each
/// other in an emulated machine, not in step.
const TOLERANCE: i64 = 8;
/// The same in a script that waits for what TCP sends again: at twice the time with each attempt.
const WITH_REPETITION: i64 = 20;

/// The lines of one script on one side.
#[derive(Default)]
pub struct Transcript {
    lines: Vec<String>,
    /// The script did not come to its end.
    pub failed: bool,
    /// It waited for what TCP sends again.
    pub repetition: bool,
}

/// One line, as each side has it.
pub struct Difference {
    pub theirs: String,
    pub ours: String,
}

impl Transcript {
    /// Adds text, which may be many lines.
    pub fn say(&mut self, text: impl Display) {
        self.lines.extend(text.to_string().lines().map(str::to_owned));
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Why the script did not come to its end.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.failed = true;
        self.say(format!("{error:#}"));
    }

    /// Where ours is not the same.
    pub fn differences(&self, ours: &Self) -> Vec<Difference> {
        let longer = self.lines.len().max(ours.lines.len());
        let pairs = (0..longer).map(|place| {
            let [theirs, ours] = [self, ours].map(|side| side.lines.get(place).cloned().unwrap_or_default());
            Difference { theirs, ours }
        });
        let tolerance = if self.repetition { WITH_REPETITION } else { TOLERANCE };
        pairs.filter(|Difference { theirs, ours }| !same(theirs, ours, tolerance)).collect()
    }
}

/// To the byte, but for the remaining time of a connection.
fn same(one: &str, two: &str, tolerance: i64) -> bool {
    if one == two {
        return true;
    }
    match (connection(one), connection(two)) {
        (Some((seconds, rest)), Some((others, other_rest))) => {
            rest == other_rest && (seconds - others).abs() <= tolerance
        }
        _ => false,
    }
}

/// The seconds in a line of the connection table, and the rest of the line.
fn connection(line: &str) -> Option<(i64, (&str, &str))> {
    let (protocol, rest) = line.split_once(' ')?;
    // Two digits, a colon, two digits, and the blank after them, which belongs to the columns.
    let (minutes, rest) = rest.split_once(':')?;
    let (seconds, rest) = rest.split_at_checked(2)?;
    Some((minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?, (protocol, rest)))
}

#[cfg(test)]
mod tests {
    use super::TOLERANCE;

    fn same(one: &str, two: &str) -> bool {
        super::same(one, two, TOLERANCE)
    }

    #[test]
    fn remaining_times_may_differ_a_little_and_nothing_else_may() {
        let line =
            |time| format!("TCP {time}  TIME_WAIT   192.168.2.10:1 192.168.2.200:80  192.168.33.111:80");
        assert!(same(&line("01:59"), &line("02:00")));
        assert!(!same(&line("01:59"), &line("02:08")));
        assert!(!same(&line("01:59"), &line("01:59 ")));
        assert!(!same(&line("01:59"), &line("01:58").replace("TIME_WAIT", "CLOSE    ")));
        assert!(!same("  -> 192.168.33.111:80  Masq 1", "  -> 192.168.33.111:80  Masq 2"));
    }
}
