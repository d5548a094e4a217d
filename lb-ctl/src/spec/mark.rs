//! Rules of firewall marks, written as `lb-ctl mark add` takes them.

use super::usage;
use anyhow::Result;
use clap::Parser;
use lb_common::{
    address::Address,
    mark::{NAME, Rule},
    protocol,
};
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Which packets a rule is for; what is not named does not matter.
#[derive(Debug, Default, clap::Args)]
pub struct Selector {
    /// Source address or prefix
    #[arg(short, long, value_name = "ADDRESS[/LENGTH]")]
    source: Option<String>,
    /// Destination address or prefix
    #[arg(short, long, value_name = "ADDRESS[/LENGTH]")]
    destination: Option<String>,
    /// Protocol: tcp, udp or sctp
    #[arg(short, long, value_name = "NAME")]
    protocol: Option<String>,
    /// Destination port, or the first and the last
    #[arg(long, value_name = "PORT[:PORT]")]
    dport: Option<String>,
    /// Interface that the packet comes in by
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,
}

/// A line of a file of rules.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[arg(allow_hyphen_values = true)]
    mark: String,
    #[command(flatten)]
    selector: Selector,
}

/// Reads a line that [`text`] has written.
pub fn parse_line(line: &str) -> Result<Rule> {
    match Line::try_parse_from(line.split_whitespace()) {
        Ok(line) => line.selector.rule(&line.mark),
        Err(error) => {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            usage!("'{line}': {first}")
        }
    }
}

impl Selector {
    /// The rule that gives these packets a mark.
    pub fn rule(&self, mark: &str) -> Result<Rule> {
        let mark = match mark.parse() {
            Ok(mark) if mark > 0 => mark,
            _ => usage!("'{mark}' is no firewall mark; write a number from 1 to {}", u32::MAX),
        };
        let mut rule = Rule { mark, ..EVERYTHING };
        if let Some(text) = &self.source {
            (rule.source, rule.source_length) = parse_prefix(text)?;
        }
        if let Some(text) = &self.destination {
            (rule.destination, rule.destination_length) = parse_prefix(text)?;
        }
        if let Some(text) = &self.protocol {
            rule.protocol = parse_protocol(text)?;
        }
        if let Some(text) = &self.dport {
            (rule.first_port, rule.last_port) = parse_ports(text)?;
        }
        if let Some(text) = &self.interface {
            rule.name = parse_interface(text)?;
        }
        check_families(&rule)?;
        Ok(rule)
    }
}

/// What is for every packet.
pub const EVERYTHING: Rule = Rule {
    source: Address::UNSPECIFIED,
    destination: Address::UNSPECIFIED,
    interface: 0,
    mark: 0,
    first_port: 0,
    last_port: u16::MAX,
    source_length: 0,
    destination_length: 0,
    protocol: 0,
    reserved: 0,
    name: [0; NAME],
};

/// What is said of packets. No two rules say the same.
pub fn conditions(rule: &Rule) -> Rule {
    Rule { mark: 0, ..unplaced(rule) }
}

/// A rule as it was said, without the index that its interface has here.
pub fn unplaced(rule: &Rule) -> Rule {
    Rule { interface: 0, ..*rule }
}

/// Refuses a rule for no packet.
pub fn check_families(rule: &Rule) -> Result<()> {
    let Rule { source, source_length, destination, destination_length, .. } = rule;
    if *source_length != 0 && *destination_length != 0 && source.is_ipv4() != destination.is_ipv4() {
        usage!("a source and a destination of two families: no packet has both");
    }
    Ok(())
}

/// A prefix as it is written, the whole address with its length too; `None` is everything.
pub fn prefix_text(address: Address, length: u8) -> Option<String> {
    let ip = IpAddr::from(address);
    (length != 0).then(|| format!("{ip}/{}", if ip.is_ipv4() { length - 96 } else { length }))
}

/// The ports as they are written; `None` is all of them.
pub fn ports_text(rule: &Rule) -> Option<String> {
    match (rule.first_port, rule.last_port) {
        (0, u16::MAX) => None,
        (first, last) if first == last => Some(first.to_string()),
        (first, last) => Some(format!("{first}:{last}")),
    }
}

/// The protocol's name; `None` is all of them.
pub fn protocol_text(rule: &Rule) -> Option<String> {
    (rule.protocol != 0).then(|| super::protocol_name(rule.protocol).to_owned())
}

/// The interface's name; `None` is all of them.
pub fn interface_text(rule: &Rule) -> Option<String> {
    let length = rule.name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
    (length != 0).then(|| String::from_utf8_lossy(&rule.name[..length]).into_owned())
}

/// A rule as `lb-ctl mark add` takes it.
pub fn text(rule: &Rule) -> String {
    let mut text = rule.mark.to_string();
    for (option, value) in [
        ("-s", prefix_text(rule.source, rule.source_length)),
        ("-d", prefix_text(rule.destination, rule.destination_length)),
        ("-p", protocol_text(rule)),
        ("--dport", ports_text(rule)),
        ("-i", interface_text(rule)),
    ] {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(text, " {option} {value}");
        }
    }
    text
}

/// The address of a prefix and the bits that count, an IPv4 address being 96 bits longer.
pub fn parse_prefix(text: &str) -> Result<(Address, u8)> {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(address) = address.parse::<IpAddr>() else {
        usage!("'{text}' is no address or prefix; write 192.168.2.0/24 or 2001:db8::/32")
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length.map(str::parse::<u8>) {
        None => most,
        Some(Ok(length)) if length <= most => length,
        Some(_) => usage!("'{text}': the length of the prefix is a number from 0 to {most}"),
    };
    let first = match address {
        IpAddr::V4(v4) => {
            Ipv4Addr::from(v4.to_bits() & u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => IpAddr::from(Ipv6Addr::from(
            v6.to_bits() & u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0),
        )),
    };
    if first != address {
        usage!("'{text}' has bits behind the prefix; write {first}/{length}");
    }
    Ok((address.into(), if address.is_ipv4() { 96 + length } else { length }))
}

/// Reads a port, or the first and the last.
pub fn parse_ports(text: &str) -> Result<(u16, u16)> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => usage!("--dport: '{text}' is no port and no range of ports; write 80 or 80:443"),
    }
}

/// Reads a protocol that services have.
pub fn parse_protocol(text: &str) -> Result<u8> {
    Ok(match text {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        other => usage!("-p: '{other}' is no protocol that services have; one of: tcp udp sctp"),
    })
}

/// Reads the name of an interface, which need not be there (`dev_valid_name`).
pub fn parse_interface(text: &str) -> Result<[u8; NAME]> {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control() || ['/', ':'].contains(&letter);
    if text.is_empty() || text.len() >= NAME || [".", ".."].contains(&text) || text.contains(is_odd) {
        usage!("-i: '{text}' cannot be the name of an interface; ip link lists those there are");
    }
    let mut name = [0; NAME];
    name[..text.len()].copy_from_slice(text.as_bytes());
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rule_survives_the_round_trip(
            v6: bool, from: (u128, u8), to: (u128, u8), kind in 0usize..4, ports: (u16, u16), mark in 1u32..,
            interface in prop::sample::select(vec!["", "eth0", "bond-0.vln.4094"]),
        ) {
            let prefix = |(bits, length): (u128, u8)| {
                let most = if v6 { 128 } else { 32 };
                let length = length % (most + 1);
                let kept = (bits | 1 << 96) & u128::MAX.checked_shl(u32::from(most - length)).unwrap_or(0);
                let address: IpAddr = if v6 {
                    Ipv6Addr::from(kept).into()
                } else {
                    Ipv4Addr::from(kept as u32 & u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0)).into()
                };
                match if v6 { length } else { length + 96 } {
                    0 => (Address::UNSPECIFIED, 0),
                    length => (Address::from(address), length),
                }
            };
            let ((source, source_length), (destination, destination_length)) = (prefix(from), prefix(to));
            let name = if interface.is_empty() { [0; NAME] } else { parse_interface(interface).unwrap() };
            let rule = Rule {
                name, source, source_length, destination, destination_length,
                protocol: [0, protocol::TCP, protocol::UDP, protocol::SCTP][kind],
                first_port: ports.0.min(ports.1), last_port: ports.0.max(ports.1), mark,
                ..Rule::default()
            };
            prop_assert_eq!(parse_line(&text(&rule)).unwrap(), rule);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_fix() {
        for (line, part) in [
            ("0 -d 10.0.0.1", "'0'"),
            ("x -d 10.0.0.1", "'x'"),
            ("1 -d 10.0.0.1/8", "write 10.0.0.0/8"),
            ("1 -d 10.0.0.0/33", "from 0 to 32"),
            ("1 -d host", "'host'"),
            ("1 -d 10.0.0.0/8 -s 2001:db8::/32", "two families"),
            ("1 -p icmp", "'icmp'"),
            ("1 --dport 443:80", "'443:80'"),
            ("1 -i eth0:1", "'eth0:1'"),
            ("1 -i sixteen-letters-", "'sixteen-letters-'"),
            ("1 -x", "unexpected argument"),
        ] {
            let message = parse_line(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
