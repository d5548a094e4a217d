//! Text ↔ types: addresses, services, scheduler flags. Every command reads and writes through here.

pub mod mark;
mod mask;
mod resolver;
mod service;
mod unicast;

pub use crate::cli::Usage;
pub use mask::{ipv4_mask, ipv6_mask, mask_text};
pub use resolver::{host_name, ipv4_host, port_name, port_number};
pub use service::ServiceName;
pub use unicast::{is_of_one_host, is_unicast};

use anyhow::Result;
use lb_common::{
    protocol,
    scheduler::{Scheduler, flags},
    service::engine,
    sysctl::{Sysctl, WITHOUT_EFFECT},
    tunnel::kind,
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs},
};

/// Ends a command with a [`Usage`] error.
macro_rules! usage {
    ($($words:tt)*) => { return Err($crate::spec::Usage(format!($($words)*)).into()) };
}
pub(crate) use usage;

/// A protocol that services balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `-t`.
    Tcp,
    /// `-u`.
    Udp,
    /// `--sctp-service`.
    Sctp,
}

impl Protocol {
    /// Its IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Sctp => protocol::SCTP,
        }
    }

    /// Its name in lower case, as in `/etc/services`.
    pub const fn name(self) -> &'static str {
        protocol_name(self.number())
    }

    /// The option that selects it.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Tcp => "-t",
            Self::Udp => "-u",
            Self::Sctp => "--sctp-service",
        }
    }
}

/// The name of a protocol number that a map holds.
pub const fn protocol_name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::SCTP => "sctp",
        _ => "ip",
    }
}

/// An address and a port, written `192.168.2.200:80` or `[2001:db8::80]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, host order.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Numeric(self.address);
        match self.address {
            IpAddr::V4(_) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(_) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// An address as `inet_ntop` writes it: behind 96 bits of zero the rest is written as IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Numeric(pub IpAddr);

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(v6) if matches!(v6.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0) => {
                write!(f, "::{}", Ipv4Addr::from_bits(v6.to_bits() as u32))
            }
            address => address.fmt(f),
        }
    }
}

impl Endpoint {
    /// Reads an endpoint: `ADDRESS[:PORT]`, where the address may be a host name and the port a
    /// service name. `None` for a port that was not written.
    pub fn parse(text: &str, protocol: Protocol) -> Result<(IpAddr, Option<u16>)> {
        let (host, port) = split(text)?;
        Ok((resolve_host(host, text)?, port.map(|port| resolve_port(port, protocol, text)).transpose()?))
    }
}

/// Splits at the colon before the port; brackets are around an IPv6 address.
fn split(text: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, after)) = rest.split_once(']') else {
            usage!("'{text}': the bracket is not closed; write [2001:db8::80]:80");
        };
        return match after.strip_prefix(':') {
            _ if host.parse::<Ipv6Addr>().is_err() => {
                usage!("'{text}': '{host}' is not an IPv6 address; write [2001:db8::80]:80")
            }
            None if after.is_empty() => Ok((host, None)),
            None => usage!("'{text}': unexpected '{after}' after the bracket; write [{host}]:80"),
            Some(port) => Ok((host, Some(port))),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            usage!("'{text}': an IPv6 address needs brackets; write [2001:db8::80]:80")
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

/// The address that `host`, a part of `text`, stands for.
pub fn resolve_host(host: &str, text: &str) -> Result<IpAddr> {
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        // What looks like a number is a mistyped address, and no name server need be asked.
        Err(_) if host.is_empty() || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            usage!("'{text}': '{host}' is not an IPv4 address; write 192.168.2.200:80")
        }
        Err(_) => {
            let found: Vec<_> = match (host, 0).to_socket_addrs() {
                Ok(found) => found.map(|found| found.ip()).collect(),
                Err(_) => vec![],
            };
            match found.iter().find(|ip| ip.is_ipv4()).or(found.first()) {
                Some(ip) => *ip,
                None => usage!("'{text}': host name '{host}' is not known; write the address"),
            }
        }
    };
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            usage!("'{text}': a v4-mapped address; write it as IPv4")
        }
        address => Ok(address),
    }
}

fn resolve_port(port: &str, protocol: Protocol, text: &str) -> Result<u16> {
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return match port.parse() {
            Ok(number) => Ok(number),
            Err(_) => usage!("'{text}': port {port} is out of range; ports are 0 to 65535"),
        };
    }
    match port_number(port, protocol) {
        Some(number) => Ok(number),
        None => {
            usage!("'{text}': '{port}' is no {} service in /etc/services; write a number", protocol.name())
        }
    }
}

/// Reads `-s`.
pub fn parse_scheduler(text: &str) -> Result<Scheduler> {
    match Scheduler::from_name(text) {
        Some(scheduler) => Ok(scheduler),
        None => {
            let known: Vec<_> = Scheduler::NAMES.iter().map(|(_, name)| *name).collect();
            usage!("'{text}' is no scheduler; one of: {}", known.join(" "))
        }
    }
}

/// The names of the scheduler flags, by bit.
const FLAGS: [(u8, &str, &str, &str); 3] = [
    (flags::FALLBACK, "sh-fallback", "mh-fallback", "flag-1"),
    (flags::PORT, "sh-port", "mh-port", "flag-2"),
    (flags::THIRD, "flag-3", "flag-3", "flag-3"),
];

/// Reads `-b`: names separated by commas; nothing is no flag. A scheduler's names are its own.
pub fn parse_flags(text: &str, scheduler: Scheduler) -> Result<u8> {
    let mut all = 0;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let Some((flag, sh, mh, number)) =
            FLAGS.iter().find(|(_, sh, mh, number)| [sh, mh, number].contains(&&name))
        else {
            usage!(
                "'{name}' is no scheduler flag; one of: sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3"
            )
        };
        let fits = name == *number
            || name == *sh && scheduler == Scheduler::Sh
            || name == *mh && scheduler == Scheduler::Mh;
        if !fits {
            usage!("flag '{name}' does not go with scheduler {}; add -s {}", scheduler.name(), &name[..2]);
        }
        all |= flag;
    }
    Ok(all)
}

/// Writes the flags as ipvsadm names them for this scheduler; empty for none.
pub fn flags_text(scheduler: Scheduler, set: u8) -> String {
    let mut names = vec![];
    for (flag, sh, mh, number) in FLAGS {
        if set & flag != 0 {
            names.push(match scheduler {
                Scheduler::Sh => sh,
                Scheduler::Mh => mh,
                _ => number,
            });
        }
    }
    names.join(",")
}

/// The flags that ipvsadm shows: those that this scheduler has names for.
pub fn shown_flags(scheduler: Scheduler, set: u8) -> String {
    match scheduler {
        Scheduler::Sh | Scheduler::Mh => flags_text(scheduler, set & !flags::THIRD),
        _ => flags_text(scheduler, set),
    }
}

/// Reads `--pe`.
pub fn parse_engine(text: &str) -> Result<u8> {
    match text {
        "sip" => Ok(engine::SIP),
        _ => usage!("'{text}' is no persistence engine; there is sip"),
    }
}

/// The name of a persistence engine, if it is one.
pub const fn engine_name(number: u8) -> Option<&'static str> {
    match number {
        engine::SIP => Some("sip"),
        _ => None,
    }
}

/// The kinds of tunnels, by ipvsadm's names.
const TUNNELS: [(u8, &str); 3] = [(kind::IPIP, "ipip"), (kind::GUE, "gue"), (kind::GRE, "gre")];

/// Reads `--tun-type`.
pub fn parse_tunnel(text: &str) -> Result<u8> {
    match TUNNELS.iter().find(|(_, name)| *name == text) {
        Some((kind, _)) => Ok(*kind),
        None => usage!("--tun-type: '{text}' is no tunnel; one of: ipip gue gre"),
    }
}

/// The name of a kind of tunnel.
pub fn tunnel_name(number: u8) -> &'static str {
    TUNNELS.iter().find(|(kind, _)| *kind == number).map_or("n/a", |(_, name)| name)
}

/// Reads the name of a sysctl that has an effect here.
pub fn parse_sysctl(name: &str) -> Result<Sysctl> {
    let sysctl = Sysctl::ALL.iter().find(|sysctl| sysctl.name() == name);
    let inert = WITHOUT_EFFECT.iter().find(|(inert, _)| *inert == name);
    match (sysctl, inert) {
        (Some(sysctl), _) => Ok(*sysctl),
        (None, Some((_, why))) => usage!("{name} changes nothing here: {why}"),
        (None, None) => usage!("'{name}' is no sysctl of IPVS; lb-ctl sysctl shows all"),
    }
}

/// Reads a number of an option between 0 and `most`.
pub fn parse_number(option: &str, text: &str, most: u32) -> Result<u32> {
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => usage!("{option}: '{text}' is not a number from 0 to {most}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn flags_survive_the_round_trip(flags in 0u8..8, number in 0u8..14) {
            let scheduler = Scheduler::from_number(number).unwrap();
            prop_assert_eq!(parse_flags(&flags_text(scheduler, flags), scheduler).unwrap(), flags);
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:.\\[\\]-]{0,24}") {
            let _ = split(&text);
        }
    }

    #[test]
    fn addresses_are_written_as_by_inet_ntop() {
        for text in ["::1", "::ff", "::0.1.0.128", "::10.0.0.1", "::1:0:0", "fd00::1:80", "10.0.0.1"] {
            assert_eq!(Numeric(text.parse().unwrap()).to_string(), text);
        }
        assert_eq!(Endpoint { address: "::1:80".parse().unwrap(), port: 80 }.to_string(), "[::0.1.0.128]:80");
    }

    #[test]
    fn names_of_ports_and_hosts_are_resolved() {
        let parse = |text| Endpoint::parse(text, Protocol::Tcp).unwrap();
        assert_eq!(parse("localhost:8080"), (IpAddr::from([127, 0, 0, 1]), Some(8080)));
        if std::path::Path::new("/etc/services").exists() {
            assert_eq!(parse("10.0.0.1:https").1, Some(443));
            assert_eq!(port_name(443, protocol::TCP).as_deref(), Some("https"));
        }
    }

    #[test]
    fn an_unknown_scheduler_lists_the_known() {
        let message = parse_scheduler("wlcc").unwrap_err().to_string();
        assert!(
            message.contains("'wlcc'") && message.contains("rr wrr lc wlc sed nq fo ovf twos"),
            "{message}"
        );
    }
}
