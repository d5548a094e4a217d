//! Where we differ from IPVS and mean to. The reasons stand in `docs/ipvsadm.md`, with the script's name.

use super::transcript::Difference;

/// A script, and what either side's version of the line contains.
const KNOWN: [(&str, &str); 2] = [
    // The kernel's own error about the packet that it kept while it asked for the server.
    ("server: down", "to 192.168.33.112:8080"),
    ("calls: by Call-ID", "begun by a server"),
];

/// The differences of a script.
pub struct Sorted {
    pub explained: Vec<Difference>,
    pub unexplained: Vec<Difference>,
    /// Those that are known and did not occur.
    pub absent: Vec<&'static str>,
}

/// Tells the differences that are known from those that are not.
pub fn sorted(script: &str, differences: Vec<Difference>) -> Sorted {
    let known = KNOWN.iter().filter(|(name, _)| *name == script).map(|(_, part)| *part);
    let has = |line: &Option<String>, part: &str| line.as_ref().is_some_and(|line| line.contains(part));
    let is =
        |difference: &Difference, part: &str| has(&difference.theirs, part) || has(&difference.ours, part);
    let absent =
        known.clone().filter(|part| !differences.iter().any(|difference| is(difference, part))).collect();
    let (explained, unexplained): (Vec<_>, Vec<_>) =
        differences.into_iter().partition(|difference| known.clone().any(|part| is(difference, part)));
    Sorted { explained, unexplained, absent }
}
