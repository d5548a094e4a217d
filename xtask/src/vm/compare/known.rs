//! Where we differ from IPVS and mean to. The reasons stand in `docs/ipvsadm.md`, with the script's name.

use super::transcript::Difference;

/// A script, and what either side's version of the line contains.
const KNOWN: [(&str, &str); 5] = [
    ("server: quiesced", "ICMP 3 code 3, TTL 63"),
    ("server: over its threshold", "ICMP 3 code 3, TTL 63"),
    ("service: without a server", "ICMP 3 code 3, TTL 63"),
    ("server: down", "in progress"),
    ("server: down", "ICMP 3 code 1"),
];

/// The differences that are known, and those that are not.
pub fn sorted(script: &str, differences: Vec<Difference>) -> (Vec<Difference>, Vec<Difference>) {
    differences.into_iter().partition(|Difference { theirs, ours }| {
        KNOWN.iter().any(|(name, part)| *name == script && (theirs.contains(part) || ours.contains(part)))
    })
}
