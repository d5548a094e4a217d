//! What one side did and saw, a line each, and what two of them differ in.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// By how many seconds the remaining time of a connection may differ though both sides ran in step: either
/// shows whole seconds of its own clock.
const ROUNDING: f64 = 1.0;

/// The lines of one script on one side.
pub struct Transcript {
    /// When the script began.
    pub began: Instant,
    /// Each with the time since then.
    lines: Vec<(Duration, String)>,
    /// The script did not come to its end.
    pub failed: bool,
}

/// One line, as each side has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub theirs: Option<String>,
    pub ours: Option<String>,
}

impl Transcript {
    pub fn begin() -> Self {
        Self { began: Instant::now(), lines: Vec::new(), failed: false }
    }

    /// Adds text, which may be many lines.
    pub fn say(&mut self, text: impl Display) {
        let at = self.began.elapsed();
        self.lines.extend(text.to_string().lines().map(|line| (at, line.to_owned())));
    }

    pub fn count(&self) -> usize {
        self.lines.len()
    }

    pub fn last(&self) -> &str {
        self.lines.last().map_or("", |(_, line)| line)
    }

    /// Why the script did not come to its end.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.failed = true;
        self.say(format!("{error:#}"));
    }

    /// Where ours is not the same: what is left when as many lines as possible are taken for the same.
    pub fn differences(&self, ours: &Self) -> Vec<Difference> {
        let (rows, columns) = (self.lines.len(), ours.lines.len());
        let drift = drift(self, ours);
        let is_same = |row: usize, column: usize| {
            same(&self.lines[row].1, &ours.lines[column].1, drift[row.min(column)])
        };
        // The most pairs that the rest of both may have, from each place on.
        let mut most = vec![vec![0; columns + 1]; rows + 1];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                most[row][column] = match is_same(row, column) {
                    true => most[row + 1][column + 1] + 1,
                    false => most[row + 1][column].max(most[row][column + 1]),
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        let (mut differences, mut theirs_alone, mut ours_alone) = (Vec::new(), Vec::new(), Vec::new());
        while row < rows || column < columns {
            if row < rows && column < columns && is_same(row, column) {
                pair(&mut differences, &mut theirs_alone, &mut ours_alone);
                (row, column) = (row + 1, column + 1);
            } else if column == columns || row < rows && most[row + 1][column] >= most[row][column + 1] {
                theirs_alone.push(self.lines[row].1.clone());
                row += 1;
            } else {
                ours_alone.push(ours.lines[column].1.clone());
                column += 1;
            }
        }
        pair(&mut differences, &mut theirs_alone, &mut ours_alone);
        differences
    }
}

/// What stands between two lines that are the same, side by side.
fn pair(differences: &mut Vec<Difference>, theirs: &mut Vec<String>, ours: &mut Vec<String>) {
    let (mut theirs, mut ours) = (theirs.drain(..), ours.drain(..));
    loop {
        let difference = Difference { theirs: theirs.next(), ours: ours.next() };
        if difference == (Difference { theirs: None, ours: None }) {
            break;
        }
        differences.push(difference);
    }
}

/// For each line, how far the two sides may have come out of step since a connection's last packet, in seconds.
/// That came between two earlier lines, or after the beginning: the widest of all these.
fn drift(theirs: &Transcript, ours: &Transcript) -> Vec<f64> {
    let (mut least, mut greatest) = (0.0_f64, 0.0_f64);
    let ahead = theirs.lines.iter().zip(&ours.lines).map(|((their, _), (our, _))| {
        let ahead = their.as_secs_f64() - our.as_secs_f64();
        (least, greatest) = (least.min(ahead), greatest.max(ahead));
        (ahead - least).max(greatest - ahead)
    });
    ahead.collect()
}

/// To the byte, but for the remaining time of a connection.
fn same(one: &str, two: &str, drift: f64) -> bool {
    if one == two {
        return true;
    }
    match (connection(one), connection(two)) {
        (Some((seconds, rest)), Some((others, other_rest))) => {
            rest == other_rest && (seconds - others).abs() <= ROUNDING + drift
        }
        _ => false,
    }
}

/// The seconds in a line of the connection table, and the rest of the line.
fn connection(line: &str) -> Option<(f64, (&str, &str))> {
    let (protocol, rest) = line.split_once(' ')?;
    // Two digits, a colon, two digits, and the blank after them, which belongs to the columns.
    let (minutes, rest) = rest.split_once(':')?;
    let (seconds, rest) = rest.split_at_checked(2)?;
    Some((minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?, (protocol, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_times_may_differ_as_far_as_the_sides_were_out_of_step_and_nothing_else_may() {
        let line =
            |time| format!("TCP {time}  TIME_WAIT   192.168.2.10:1 192.168.2.200:80  192.168.33.111:80");
        assert!(same(&line("01:59"), &line("02:00"), 0.0));
        assert!(!same(&line("01:59"), &line("02:01"), 0.9));
        assert!(same(&line("01:59"), &line("02:01"), 1.1));
        assert!(!same(&line("01:59"), &line("01:59 "), 9.0));
        assert!(!same(&line("01:59"), &line("01:58").replace("TIME_WAIT", "CLOSE    "), 9.0));
        assert!(!same("  -> 192.168.33.111:80  Masq 1", "  -> 192.168.33.111:80  Masq 2", 9.0));
    }

    fn transcript(lines: &[(u64, &str)]) -> Transcript {
        let lines = lines.iter().map(|(at, line)| (Duration::from_secs(*at), (*line).to_owned()));
        Transcript { lines: lines.collect(), ..Transcript::begin() }
    }

    #[test]
    fn the_widest_step_since_the_beginning_counts() {
        let theirs = transcript(&[(1, "a"), (9, "b"), (10, "c"), (20, "d")]);
        let ours = transcript(&[(1, "a"), (2, "b"), (3, "c"), (20, "d")]);
        assert_eq!(drift(&theirs, &ours), [0.0, 7.0, 7.0, 7.0]);
    }

    #[test]
    fn a_line_more_is_one_difference() {
        let (theirs, ours) = (["a", "b", "d", "e"], ["a", "c", "b", "d", "f"]);
        let of =
            |lines: &[&'static str]| transcript(&lines.iter().map(|line| (0, *line)).collect::<Vec<_>>());
        let differences = of(&theirs).differences(&of(&ours));
        let as_text = |line: &Option<String>| line.clone().unwrap_or_default();
        let pairs: Vec<_> =
            differences.iter().map(|one| (as_text(&one.theirs), as_text(&one.ours))).collect();
        assert_eq!(pairs, [(String::new(), "c".to_owned()), ("e".to_owned(), "f".to_owned())]);
    }
}
