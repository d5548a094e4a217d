//! What selects a service: an address, or a firewall mark.

use super::{Endpoint, Protocol, usage};
use anyhow::Result;
use lb_common::{address::Address, protocol, service::ServiceKey};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    str::FromStr,
};

/// What selects a service, written `tcp 192.168.2.200:80`, `mark 7` or `mark 7 IPv6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceName {
    /// Packets to an address.
    Address {
        /// Their protocol.
        protocol: Protocol,
        /// The virtual address and port; port 0 is every port.
        endpoint: Endpoint,
    },
    /// Packets of one family with a firewall mark.
    Mark {
        /// The mark.
        mark: NonZeroU32,
        /// Whether it is IPv6's.
        ipv6: bool,
    },
}

/// Stands in [`ServiceKey::protocol`] for the family of a firewall-mark service.
const IPV4: u8 = 4;
const IPV6: u8 = 6;

impl ServiceName {
    /// Reads what follows `-t`, `-u` or `--sctp-service`.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self> {
        let (address, port) = Endpoint::parse(text, protocol)?;
        if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            usage!("'{text}': a service needs an address that clients can send to");
        }
        match port {
            None => usage!("'{text}': the port is missing; write {}", Endpoint { address, port: 80 }),
            Some(port) => Ok(Self::Address { protocol, endpoint: Endpoint { address, port } }),
        }
    }

    /// Reads what follows `-f`.
    pub fn parse_mark(text: &str, ipv6: bool) -> Result<Self> {
        match text.parse() {
            Ok(mark) => Ok(Self::Mark { mark, ipv6 }),
            Err(_) => usage!("'{text}' is no firewall mark; write a number from 1 to {}", u32::MAX),
        }
    }

    /// The key of the map of services.
    pub fn key(self) -> ServiceKey {
        match self {
            Self::Address { protocol, endpoint: Endpoint { address, port } } => ServiceKey {
                address: address.into(),
                port: port.to_be(),
                protocol: protocol.number(),
                ..ServiceKey::default()
            },
            Self::Mark { mark, ipv6 } => ServiceKey {
                address: Address::UNSPECIFIED,
                mark: mark.get(),
                protocol: if ipv6 { IPV6 } else { IPV4 },
                ..ServiceKey::default()
            },
        }
    }

    /// Whether its packets are IPv6.
    pub const fn is_ipv6(self) -> bool {
        match self {
            Self::Address { endpoint, .. } => endpoint.address.is_ipv6(),
            Self::Mark { ipv6, .. } => ipv6,
        }
    }

    /// Its port; 0 is every port, as for a firewall mark.
    pub const fn port(self) -> u16 {
        match self {
            Self::Address { endpoint, .. } => endpoint.port,
            Self::Mark { .. } => 0,
        }
    }

    /// The protocol of its packets; `None` is any.
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(protocol),
            Self::Mark { .. } => None,
        }
    }

    /// The options that select it.
    pub fn options(self) -> String {
        match self {
            Self::Address { protocol, endpoint } => format!("{} {endpoint}", protocol.option()),
            Self::Mark { mark, ipv6: false } => format!("-f {mark}"),
            Self::Mark { mark, ipv6: true } => format!("-f {mark} -6"),
        }
    }
}

impl From<ServiceKey> for ServiceName {
    fn from(key: ServiceKey) -> Self {
        match NonZeroU32::new(key.mark) {
            Some(mark) => Self::Mark { mark, ipv6: key.protocol == IPV6 },
            None => {
                let protocol = match key.protocol {
                    protocol::UDP => Protocol::Udp,
                    protocol::SCTP => Protocol::Sctp,
                    _ => Protocol::Tcp,
                };
                let endpoint = Endpoint { address: key.address.into(), port: u16::from_be(key.port) };
                Self::Address { protocol, endpoint }
            }
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, endpoint } => write!(f, "{} {endpoint}", protocol.name()),
            Self::Mark { mark, ipv6: false } => write!(f, "mark {mark}"),
            Self::Mark { mark, ipv6: true } => write!(f, "mark {mark} IPv6"),
        }
    }
}

impl FromStr for ServiceName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            ["tcp", endpoint] => Self::parse(Protocol::Tcp, endpoint),
            ["udp", endpoint] => Self::parse(Protocol::Udp, endpoint),
            ["sctp", endpoint] => Self::parse(Protocol::Sctp, endpoint),
            ["mark", mark] => Self::parse_mark(mark, false),
            ["mark", mark, "IPv6"] => Self::parse_mark(mark, true),
            _ => {
                usage!("'{text}' is no service; write tcp 192.168.2.200:80, udp [2001:db8::80]:53 or mark 7")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> String {
        ServiceName::parse(Protocol::Tcp, text).unwrap_err().to_string()
    }

    proptest! {
        #[test]
        fn an_address_survives_the_round_trip(kind in 0..3, v6: bool, bits: u128, port in 1u16..) {
            let address: IpAddr =
                if v6 { Ipv6Addr::from(bits).into() } else { Ipv4Addr::from(bits as u32).into() };
            prop_assume!(!address.is_unspecified());
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][kind as usize];
            let name = ServiceName::Address { protocol, endpoint: Endpoint { address, port } };
            prop_assert_eq!(name.to_string().parse::<ServiceName>().unwrap(), name);
            prop_assert_eq!(ServiceName::from(name.key()), name);
        }

        #[test]
        fn a_mark_survives_the_round_trip(mark in 1u32.., ipv6: bool) {
            let name = ServiceName::Mark { mark: NonZeroU32::new(mark).unwrap(), ipv6 };
            prop_assert_eq!(name.to_string().parse::<ServiceName>().unwrap(), name);
            prop_assert_eq!(ServiceName::from(name.key()), name);
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_fix() {
        for (text, part) in [
            ("192.168.2.200", "the port is missing; write 192.168.2.200:80"),
            ("192.168.2.200:65536", "port 65536 is out of range"),
            ("192.168.2.999:80", "'192.168.2.999' is not an IPv4 address"),
            (":80", "'' is not an IPv4 address"),
            ("192.168.2.200:", "'' is no tcp service"),
            ("192.168.2.200:http2x", "'http2x' is no tcp service"),
            ("2001:db8::1:80", "brackets"),
            ("[2001:db8::1", "not closed"),
            ("[2001:db8::1]", "write [2001:db8::1]:80"),
            ("[2001:db8::1]80", "unexpected '80'"),
            ("[::ffff:1.2.3.4]:80", "v4-mapped"),
            ("[10.0.0.1]:80", "not an IPv6 address"),
            ("0.0.0.0:80", "clients"),
        ] {
            assert!(message(text).contains(part), "{text}: {}", message(text));
        }
        for text in ["0", "-1", "4294967296", "seven"] {
            let message = ServiceName::parse_mark(text, false).unwrap_err().to_string();
            assert!(message.contains(&format!("'{text}' is no firewall mark")), "{message}");
        }
    }
}
