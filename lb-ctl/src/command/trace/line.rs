//! A line of the trace: from the program's numbers to words.

use crate::program::interface::Interface;
use lb_common::{
    connection::state,
    protocol,
    reason::{Reason, Verdict},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Names of interfaces by number.
pub type Names = HashMap<u32, String>;

/// The names of all interfaces.
pub fn names(interfaces: &[Interface]) -> Names {
    interfaces.iter().map(|interface| (interface.index, interface.name.clone())).collect()
}

/// In words what the program wrote as numbers, with spaces between: protocol, source, port, destination, port,
/// reason, for what is forwarded the interface; of the packet's connection the state (255: there is none),
/// whether the packet is a reply, and its other end, the backend or of a reply the service, with its port. What it
/// wrote otherwise stays as it is.
pub fn in_words(numbers: &str, names: &Names) -> String {
    read(numbers, names).unwrap_or_else(|| numbers.to_owned())
}

fn read(numbers: &str, names: &Names) -> Option<String> {
    let fields: Vec<_> = numbers.split(' ').collect();
    let [
        number,
        source,
        source_port,
        destination,
        destination_port,
        reason,
        detail,
        state,
        is_reply,
        address,
        port,
    ] = fields[..]
    else {
        return None;
    };
    let protocol = match number.parse().ok()? {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::SCTP => "SCTP",
        protocol::ICMP => "ICMP",
        protocol::ICMPV6 => "ICMPv6",
        _ => number,
    };
    let from = end(source, source_port)?;
    let to = end(destination, destination_port)?;
    let reason = Reason::ALL.get(reason.parse::<usize>().ok()?)?;
    let via = match (reason.verdict(), detail.parse().ok()?) {
        (Verdict::Forward, index) if index != 0 => {
            format!(" ({})", names.get(&index).map_or(detail, String::as_str))
        }
        _ => String::new(),
    };
    let role = if is_reply == "0" { "to backend" } else { "from service" };
    // One number is no index, which says that there is no connection.
    let connection = match state::NAMES.get(state.parse::<usize>().ok()?) {
        Some(name) => format!(", {role} {}, {name}", end(address, port)?),
        None => String::new(),
    };
    let words = reason.words();
    Some(format!("{protocol} {from} > {to}{connection}: {words}{via}"))
}

/// An address with its port, where there is one.
fn end(address: &str, port: &str) -> Option<String> {
    let address: IpAddr = address.parse::<Ipv6Addr>().ok()?.to_canonical();
    match port.parse().ok()? {
        0 => Some(address.to_string()),
        port => Some(SocketAddr::new(address, port).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words() {
        let names = Names::from([(3, "eth1".to_owned())]);
        let line = |numbers: &str| in_words(numbers, &names);
        let redirected = Reason::Redirected as u8;
        let request = "6 ::ffff:192.168.2.10 40000 ::ffff:192.168.2.200 80";
        let backend = "::ffff:192.168.33.112 80";
        assert_eq!(
            line(&format!("{request} {redirected} 3 1 0 {backend}")),
            "TCP 192.168.2.10:40000 > 192.168.2.200:80, to backend 192.168.33.112:80, ESTABLISHED: \
             forwarded to another interface (eth1)"
        );
        let reply = "6 ::ffff:192.168.33.112 80 ::ffff:192.168.2.10 40000";
        assert_eq!(
            line(&format!("{reply} {redirected} 3 5 1 ::ffff:192.168.2.200 80")),
            "TCP 192.168.33.112:80 > 192.168.2.10:40000, from service 192.168.2.200:80, TIME_WAIT: \
             forwarded to another interface (eth1)"
        );
        assert_eq!(
            line("58 fd00::1 0 fd00::2 0 0 1500 255 0 :: 0"),
            "ICMPv6 fd00::1 > fd00::2: not IP: left to the host"
        );
        assert_eq!(line("something else"), "something else");
    }
}
