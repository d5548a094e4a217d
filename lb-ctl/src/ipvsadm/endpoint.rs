//! Addresses and ports as ipvsadm reads them.

use crate::spec::{Protocol, ipv4_host, port_number};
use std::net::{IpAddr, Ipv6Addr};

/// An address, and the port if one was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port, host order.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Reads `HOST[:PORT]`, `[IPV6]:PORT` or an IPv6 address alone. A number alone is no host.
    pub fn parse(text: &str, protocol: Protocol) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, Some(after.strip_prefix(':')?))
            }
            None => (text, None),
        };
        if let Ok(address) = host.parse::<Ipv6Addr>() {
            // An IPv4 address in disguise would be one and the same service.
            let address = address.to_ipv4_mapped().is_none().then_some(IpAddr::V6(address))?;
            return Self { address, port: None }.with_port(port, protocol);
        }
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        Self { address: ipv4_host(host)?.into(), port: None }.with_port(port, protocol)
    }

    fn with_port(self, text: Option<&str>, protocol: Protocol) -> Option<Self> {
        let port = text.map(|text| {
            let number = super::number::number(text, 0, u16::MAX.into()).map(|number| number as u16);
            number.or_else(|| port_number(text, protocol))
        });
        match port {
            Some(None) => None,
            port => Some(Self { port: port.flatten(), ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        let Endpoint { address, port } = Endpoint::parse(text, Protocol::Tcp)?;
        Some((address.to_string(), port))
    }

    #[test]
    fn as_recorded() {
        let some = |address: &str, port| Some((address.to_owned(), port));
        for (text, expected) in [
            ("192.168.2.200:80", some("192.168.2.200", Some(80))),
            ("192.168.2.200", some("192.168.2.200", None)),
            ("10.1:80", some("10.0.0.1", Some(80))),
            ("[2001:db8::]:80", some("2001:db8::", Some(80))),
            ("fd00:33::112", some("fd00:33::112", None)),
            ("[192.168.2.200]:80", some("192.168.2.200", None)),
            ("192.168.2.200:65536", None),
            ("192.168.2.200:http2", None),
            ("192.168.2.999:80", None),
            (":80", None),
            ("80", None),
            ("", None),
            ("[2001:db8::]", None),
            ("[2001:db8::]80", None),
            ("2001:db8:::80", None),
            ("[::ffff:10.0.0.1]:80", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
