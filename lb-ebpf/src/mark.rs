//! The firewall mark that `lb-ctl mark` gives a packet.
//!
//! Rules name a source, a destination, ports, a protocol and an interface. [`compile`] makes tables of
//! them in which nothing is searched: a class (interface and protocol), the longest prefix of the
//! destination, the longest of the source, and a range of ports, by halving.

#[cfg(not(target_arch = "bpf"))]
mod compile;

#[cfg(not(target_arch = "bpf"))]
pub use compile::{Compiled, best, compile, is_of};

use crate::{
    Tables,
    packet::{Flow, Packet},
};
use lb_common::{
    limits::MARK_RANGES,
    mark::{ClassKey, Found, Prefix},
    settings::Settings,
};

/// The mark of a packet; 0 for none.
#[inline(always)]
pub fn of<T: Tables>(tables: &T, packet: &Packet) -> u32 {
    let generation = tables.settings().map_or(0, Settings::marks);
    if generation == 0 {
        return 0;
    }
    let flow = &packet.flow;
    let Some(class) = class(tables, generation, packet.interface, flow) else { return 0 };
    let Some(sources) = tables.prefix(&Prefix::new(class, flow.destination)) else { return 0 };
    let Some(ranges) = tables.prefix(&Prefix::new(sources.first, flow.source)) else { return 0 };
    port(tables, *ranges, u16::from_be(flow.destination_port))
}

/// The table of destinations of the packet's class: with its interface and protocol where rules name
/// them, else without.
#[inline(always)]
fn class<T: Tables>(tables: &T, generation: u32, interface: u32, flow: &Flow) -> Option<u32> {
    for (interface, protocol) in [(interface, flow.protocol), (interface, 0), (0, flow.protocol), (0, 0)] {
        if let Some(class) = tables.class(&ClassKey { generation, interface, protocol }) {
            return Some(class);
        }
    }
    None
}

/// Steps of halving: what the table holds at most.
const STEPS: u32 = MARK_RANGES.ilog2();

#[inline(always)]
fn port<T: Tables>(tables: &T, ranges: Found, port: u16) -> u32 {
    // The last range that does not begin above the port is among `count` from `first` on.
    let Found { mut first, mut count } = ranges;
    for _ in 0..STEPS {
        if count <= 1 {
            break;
        }
        let half = count / 2;
        match tables.range(first + half) {
            Some(range) if range.first <= port => {
                first += half;
                count -= half;
            }
            _ => count = half,
        }
    }
    match tables.range(first) {
        Some(range) if range.first <= port && port <= range.last => range.mark,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostTables;
    use lb_common::{address::Address, mark::Rule};
    use proptest::prelude::*;
    use std::{net::IpAddr, vec::Vec};

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn rule(destination: &str, length: u8, ports: (u16, u16), mark: u32) -> Rule {
        let destination = address(destination);
        let destination_length = if destination.is_ipv4() { 96 + length } else { length };
        Rule {
            destination,
            destination_length,
            first_port: ports.0,
            last_port: ports.1,
            mark,
            ..Rule::default()
        }
    }

    fn marked(rules: &[Rule], packet: &Packet) -> u32 {
        let mut tables = HostTables::new(16, 1);
        tables.marks = compile(rules, 7, 0).unwrap();
        tables.settings.marks = [7, 0];
        of(&tables, packet)
    }

    fn packet(source: &str, destination: &str, port: u16) -> Packet {
        let flow = Flow {
            source: address(source),
            destination: address(destination),
            destination_port: port.to_be(),
            protocol: 6,
            ..Flow::default()
        };
        Packet { flow, interface: 2, ..Packet::default() }
    }

    #[test]
    fn the_longest_destination_wins_then_the_longest_source() {
        let everything = Rule { first_port: 0, last_port: u16::MAX, mark: 1, ..Rule::default() };
        let mut from = rule("10.1.0.0", 16, (0, u16::MAX), 3);
        (from.source, from.source_length) = (address("192.168.0.0"), 96 + 16);
        let rules =
            [everything, rule("10.1.0.0", 16, (80, 443), 2), from, rule("2001:db8::", 32, (80, 80), 4)];
        for (source, destination, port, mark) in [
            ("1.2.3.4", "9.9.9.9", 80, 1),
            ("1.2.3.4", "10.1.2.3", 80, 2),
            ("1.2.3.4", "10.1.2.3", 79, 1),
            ("192.168.5.5", "10.1.2.3", 80, 3),
            ("192.168.5.5", "10.2.2.3", 80, 1),
            ("fd00::1", "2001:db8::5", 80, 4),
            ("fd00::1", "2001:db8::5", 81, 1),
        ] {
            assert_eq!(
                marked(&rules, &packet(source, destination, port)),
                mark,
                "{source} {destination} {port}"
            );
        }
    }

    #[test]
    fn ten_thousand_rules_make_as_many_entries() {
        let rules: Vec<Rule> = (0..10_000u32)
            .map(|number| {
                let destination = IpAddr::from((0x0a00_0000 | number).to_be_bytes()).into();
                Rule {
                    destination,
                    destination_length: 128,
                    last_port: u16::MAX,
                    mark: number + 1,
                    protocol: 6,
                    ..Rule::default()
                }
            })
            .collect();
        let compiled = compile(&rules, 1, 0).unwrap();
        assert_eq!(
            (compiled.classes.len(), compiled.prefixes.len(), compiled.ranges.len()),
            (1, 20_000, 10_000)
        );
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        // Few bits, so that prefixes nest.
        let prefix = || {
            (0u8..4, 0u32..16).prop_map(|(bits, address)| {
                let kept = if bits == 0 { 0 } else { address >> (4 - bits) << (4 - bits) };
                let octets = [10, 0, 0, (kept << 4) as u8];
                match bits {
                    0 => (Address::UNSPECIFIED, 0),
                    bits => (Address::from(IpAddr::from(octets)), 96 + 24 + bits),
                }
            })
        };
        (prefix(), prefix(), 0u16..8, 0u16..4, 0usize..3, 0u32..3, 1u32..9).prop_map(
            |(source, destination, first_port, more, protocol, interface, mark)| Rule {
                source: source.0,
                source_length: source.1,
                destination: destination.0,
                destination_length: destination.1,
                first_port,
                last_port: first_port + more,
                protocol: [0, 6, 17][protocol],
                interface,
                mark,
                ..Rule::default()
            },
        )
    }

    proptest! {
        #[test]
        fn the_tables_say_what_the_rules_say(
            rules in prop::collection::vec(any_rule(), 1..12), from in 0u8..16, to in 0u8..16, port in 0u16..12, udp: bool, interface in 1u32..4,
        ) {
            let mut packet = packet(&std::format!("10.0.0.{}", from << 4), &std::format!("10.0.0.{}", to << 4), port);
            packet.flow.protocol = if udp { 17 } else { 6 };
            packet.interface = interface;
            let covers = |prefix: Address, length: u8, address: Address| {
                let bits = |address: Address| u128::from_be_bytes(address.octets());
                (bits(prefix) ^ bits(address)).leading_zeros() >= length.into()
            };
            let matching = rules.iter().filter(|rule| {
                covers(rule.source, rule.source_length, packet.flow.source)
                    && covers(rule.destination, rule.destination_length, packet.flow.destination)
                    && (rule.first_port..=rule.last_port).contains(&port)
                    && [0, packet.flow.protocol].contains(&u32::from(rule.protocol))
                    && [0, interface].contains(&rule.interface)
            });
            // Two rules may differ in nothing but their marks; lb-ctl refuses the second.
            let mut seen = std::collections::HashSet::new();
            prop_assume!(rules.iter().all(|rule| seen.insert(Rule { mark: 0, ..*rule })));
            prop_assert_eq!(marked(&rules, &packet), best(matching).map_or(0, |rule| rule.mark));
        }
    }
}
