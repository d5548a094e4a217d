//! Connections, from `/proc/net/ip_vs_conn` (`ip_vs_conn_seq_show`): nothing else tells them.

use anyhow::{Context as _, Result};
use lb_common::{address::Address, connection::state, protocol};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

const PATH: &str = "/proc/net/ip_vs_conn";

/// A line of the list. Ports are in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// IP protocol number; 0 for a persistence template of a firewall mark.
    pub protocol: u8,
    /// The client; port 0 for a persistence template.
    pub client: (Address, u16),
    /// The service.
    pub service: (Address, u16),
    /// The backend.
    pub backend: (Address, u16),
    /// [`state`]; NONE for a word that is no state of TCP or UDP.
    pub state: u8,
    /// Seconds until it ends.
    pub seconds: u32,
}

/// Every connection that IPVS holds in this network namespace.
pub fn entries() -> Result<Vec<Entry>> {
    let list = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    list.lines()
        .skip(1)
        .map(|line| entry(line).with_context(|| format!("{PATH}: a line of another form: {line}")))
        .collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace();
    let mut next = || words.next();
    let protocol = match next()? {
        "TCP" => protocol::TCP,
        "UDP" => protocol::UDP,
        "SCTP" => protocol::SCTP,
        _ => 0,
    };
    let client = (address(next()?)?, port(next()?)?);
    let service = (address(next()?)?, port(next()?)?);
    let backend = (address(next()?)?, port(next()?)?);
    let word = next()?;
    let state = state::NAMES.iter().position(|name| *name == word).unwrap_or_default() as u8;
    Some(Entry { protocol, client, service, backend, state, seconds: next()?.parse().ok()? })
}

/// Eight hexadecimal digits, or an IPv6 address, which the kernel may put in brackets.
fn address(text: &str) -> Option<Address> {
    let address: IpAddr = if text.contains(':') {
        text.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok()?.into()
    } else {
        Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?).into()
    };
    Some(address.into())
}

fn port(text: &str) -> Option<u16> {
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_families_are_read() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let v4 = entry("TCP C0A8020A 9C40 C0A802C8 0050 C0A8216F 1F90 ESTABLISHED     899").unwrap();
        assert_eq!(v4.client, (address("192.168.2.10"), 40_000));
        assert_eq!(v4.backend, (address("192.168.33.111"), 8_080));
        assert_eq!((v4.protocol, v4.state, v4.seconds), (protocol::TCP, state::ESTABLISHED, 899));
        let v6 = entry(
            "UDP 2001:0db8:0002:0000:0000:0000:0000:0010 9C40 2001:0db8:0002:0000:0000:0000:0000:0200 0035 \
             2001:0db8:0033:0000:0000:0000:0000:0111 0035 UDP             298",
        )
        .unwrap();
        assert_eq!(v6.service, (address("2001:db8:2::200"), 53));
        assert_eq!(v6.state, state::UDP);
        assert_eq!(entry("TCP C0A8020A"), None);
    }
}
