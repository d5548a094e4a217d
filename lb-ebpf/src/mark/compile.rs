//! From rules to tables.
//!
//! A more specific prefix gets the rules of all that contain it, so that one look-up by the longest
//! prefix is enough.

use lb_common::{
    address::Address,
    limits::{MARK_PREFIXES, MARK_RANGES},
    mark::{ClassKey, Found, Prefix, Range, Rule},
};
use std::{cmp::Reverse, collections::BTreeSet, vec, vec::Vec};

/// The tables of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// From classes to tables of destinations.
    pub classes: Vec<(ClassKey, u32)>,
    /// Each with the bits of its address that count.
    pub prefixes: Vec<(Prefix, u8, Found)>,
    /// Where [`Found`] points.
    pub ranges: Vec<Range>,
}

/// Bits of a table's number that count tables; the others are the generation's lowest.
const TABLE_BITS: u32 = 20;

/// Whether a table belongs to a generation, or to one that is over for long.
pub const fn is_of(table: u32, generation: u32) -> bool {
    table >> TABLE_BITS == generation << TABLE_BITS >> TABLE_BITS
}

/// Makes the tables; `None` when they would be larger than the maps, which hold two generations.
/// `first_range` is where the ranges will lie.
pub fn compile(rules: &[Rule], generation: u32, first_range: u32) -> Option<Compiled> {
    let mut compiled = Compiled::default();
    let mut tables = 0;
    let mut next_table = || {
        tables += 1;
        (tables < 1 << TABLE_BITS).then_some(generation << TABLE_BITS | tables)
    };
    let named = |of: fn(&Rule) -> u32| -> BTreeSet<u32> { rules.iter().map(of).chain([0]).collect() };
    for interface in named(|rule| rule.interface) {
        for protocol in named(|rule| rule.protocol.into()) {
            let applies = |rule: &&Rule| {
                [0, interface].contains(&rule.interface) && [0, protocol].contains(&u32::from(rule.protocol))
            };
            let class: Vec<&Rule> = rules.iter().filter(applies).collect();
            // Even without a rule, a packet of this class must not fall to a wider one that lacks some:
            // wider ones have fewer.
            if class.is_empty() {
                continue;
            }
            let table = next_table()?;
            compiled.classes.push((ClassKey { generation, interface, protocol }, table));
            for (destination, length, of_destination) in
                nested(&class, |r| (r.destination, r.destination_length))
            {
                let sources = next_table()?;
                let found = Found { first: sources, count: 0 };
                compiled.prefixes.push((Prefix::new(table, destination), length, found));
                for (source, length, of_source) in nested(&of_destination, |r| (r.source, r.source_length)) {
                    let ranges = ports(&of_source);
                    let first = first_range + compiled.ranges.len() as u32;
                    let found = Found { first, count: ranges.len() as u32 };
                    compiled.prefixes.push((Prefix::new(sources, source), length, found));
                    compiled.ranges.extend(ranges);
                    if compiled.prefixes.len() > MARK_PREFIXES as usize / 2
                        || compiled.ranges.len() > MARK_RANGES as usize / 2
                    {
                        return None;
                    }
                }
            }
        }
    }
    Some(compiled)
}

/// Every prefix of the rules, with the rules of all prefixes that contain it.
fn nested<'a>(
    rules: &[&'a Rule],
    prefix: impl Fn(&Rule) -> (Address, u8),
) -> Vec<(Address, u8, Vec<&'a Rule>)> {
    let mut sorted: Vec<_> = rules.iter().map(|rule| (prefix(rule), *rule)).collect();
    // A prefix comes right before those that it contains.
    sorted.sort_by_key(|((address, length), _)| (address.octets(), *length));
    let mut all: Vec<(Address, u8, Vec<&Rule>)> = Vec::new();
    // Positions in `all` of the prefixes around the present one, the widest first.
    let mut around: Vec<usize> = vec![];
    for ((address, length), rule) in sorted {
        if let Some((last, last_length, rules)) = all.last_mut()
            && (*last, *last_length) == (address, length)
        {
            rules.push(rule);
            continue;
        }
        while around.last().is_some_and(|&outer| !contains(all[outer].0, all[outer].1, address)) {
            around.pop();
        }
        let mut inherited = around.last().map_or_else(Vec::new, |&outer| all[outer].2.clone());
        inherited.push(rule);
        around.push(all.len());
        all.push((address, length, inherited));
    }
    all
}

fn contains(prefix: Address, length: u8, address: Address) -> bool {
    let bits = |address: Address| u128::from_be_bytes(address.octets());
    let differing = (bits(prefix) ^ bits(address)).leading_zeros();
    differing >= length.into()
}

/// The order of rules that match the same packet, the one that wins last: by the length of the
/// destination's prefix, of the source's, by a named protocol, a named interface, the fewest ports, and at last
/// by the lowest of these.
fn rank(rule: &Rule) -> impl Ord + use<> {
    (
        (rule.destination_length, rule.source_length),
        (rule.protocol != 0, rule.interface != 0),
        Reverse(rule.last_port - rule.first_port),
        Reverse(rule.first_port),
    )
}

/// The rule that wins among those that match.
pub fn best<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<&'a Rule> {
    rules.max_by_key(|rule| rank(rule))
}

/// The marks of all ports, by rules that match but for their ports.
fn ports(rules: &[&Rule]) -> Vec<Range> {
    let mut starts: BTreeSet<u32> = BTreeSet::new();
    for rule in rules {
        starts.extend([u32::from(rule.first_port), u32::from(rule.last_port) + 1]);
    }
    let starts: Vec<u32> = starts.into_iter().collect();
    let mut ranges: Vec<Range> = Vec::new();
    for pair in starts.windows(2) {
        let (first, last) = (pair[0] as u16, (pair[1] - 1) as u16);
        let matching =
            rules.iter().copied().filter(|rule| rule.first_port <= first && last <= rule.last_port);
        let Some(rule) = best(matching) else { continue };
        match ranges.last_mut() {
            Some(before) if before.mark == rule.mark && u32::from(before.last) + 1 == pair[0] => {
                before.last = last;
            }
            _ => ranges.push(Range { first, last, mark: rule.mark }),
        }
    }
    ranges
}
