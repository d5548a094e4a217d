//! Rules of firewall marks, written as `lb-ctl mark add` takes them.

use super::usage;
use crate::program::interface;
use anyhow::Result;
use clap::Parser;
use lb_common::{address::Address, mark::Rule, protocol};
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
        let everything = (Address::UNSPECIFIED, 0);
        let prefix = |text: &Option<String>| text.as_deref().map_or(Ok(everything), parse_prefix);
        let (source, source_length) = prefix(&self.source)?;
        let (destination, destination_length) = prefix(&self.destination)?;
        if source_length != 0 && destination_length != 0 && source.is_ipv4() != destination.is_ipv4() {
            usage!("a source and a destination of two families: no packet has both");
        }
        let protocol = match self.protocol.as_deref() {
            None => 0,
            Some("tcp") => protocol::TCP,
            Some("udp") => protocol::UDP,
            Some("sctp") => protocol::SCTP,
            Some(other) => usage!("-p: '{other}' is no protocol that services have; one of: tcp udp sctp"),
        };
        let (first_port, last_port) = self.dport.as_deref().map_or(Ok((0, u16::MAX)), parse_ports)?;
        let interface = self.interface.as_deref().map_or(Ok(0), interface_index)?;
        Ok(Rule {
            source,
            source_length,
            destination,
            destination_length,
            protocol,
            first_port,
            last_port,
            interface,
            mark,
            reserved: 0,
        })
    }
}

/// A rule as `lb-ctl mark add` takes it.
pub fn text(rule: &Rule) -> Result<String> {
    let mut text = rule.mark.to_string();
    // Writing to a String cannot fail.
    for (option, address, length) in
        [("-s", rule.source, rule.source_length), ("-d", rule.destination, rule.destination_length)]
    {
        if length != 0 {
            let ip = IpAddr::from(address);
            let _ = write!(text, " {option} {ip}/{}", if ip.is_ipv4() { length - 96 } else { length });
        }
    }
    if rule.protocol != 0 {
        let _ = write!(text, " -p {}", super::protocol_name(rule.protocol));
    }
    match (rule.first_port, rule.last_port) {
        (0, u16::MAX) => {}
        (first, last) if first == last => drop(write!(text, " --dport {first}")),
        (first, last) => drop(write!(text, " --dport {first}:{last}")),
    }
    if rule.interface != 0 {
        let all = interface::all()?;
        let found = all.iter().find(|interface| interface.index == rule.interface);
        let name = found.map_or_else(|| format!("(gone: {})", rule.interface), |found| found.name.clone());
        let _ = write!(text, " -i {name}");
    }
    Ok(text)
}

/// The address of a prefix and the bits that count, an IPv4 address being 96 bits longer.
fn parse_prefix(text: &str) -> Result<(Address, u8)> {
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

fn parse_ports(text: &str) -> Result<(u16, u16)> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => usage!("--dport: '{text}' is no port and no range of ports; write 80 or 80:443"),
    }
}

fn interface_index(name: &str) -> Result<u32> {
    let all = interface::all()?;
    match all.iter().find(|interface| interface.name == name) {
        Some(interface) => Ok(interface.index),
        None => usage!("-i: there is no interface '{name}' in this network namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rule_survives_the_round_trip(
            v6: bool, from: (u128, u8), to: (u128, u8), kind in 0usize..4, ports: (u16, u16), mark in 1u32..,
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
            let rule = Rule {
                source, source_length, destination, destination_length,
                protocol: [0, protocol::TCP, protocol::UDP, protocol::SCTP][kind],
                first_port: ports.0.min(ports.1), last_port: ports.0.max(ports.1), mark,
                ..Rule::default()
            };
            prop_assert_eq!(parse_line(&text(&rule).unwrap()).unwrap(), rule);
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
            ("1 -i none-such", "'none-such'"),
            ("1 -x", "unexpected argument"),
        ] {
            let message = parse_line(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
