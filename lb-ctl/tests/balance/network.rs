//! The two interfaces of the namespace under test, with their neighbours and routes.

use super::namespace::run;
use crate::scenario::{BOTH, CLIENT_MAC, INSIDE, INSIDE_MAC, OUTSIDE, OUTSIDE_MAC, WEB_MAC};
use std::net::SocketAddr;

/// Makes them in the namespace that the calling thread is in.
pub fn set_up() {
    let ip = |line: &str| run("ip", &line.split_whitespace().collect::<Vec<_>>());
    let mac = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
    ip("link set lo up");
    run("sysctl", &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    for (name, index, own) in [("outside", OUTSIDE, OUTSIDE_MAC), ("inside", INSIDE, INSIDE_MAC)] {
        ip(&format!("link add {name} index {index} address {} type veth peer name far-{name}", mac(own)));
        ip(&format!("link set far-{name} up"));
        ip(&format!("link set {name} up"));
    }
    for (address, device) in [
        ("192.168.2.200/24", "outside"),
        ("192.168.33.100/24", "inside"),
        ("2001:db8:2::200/64", "outside"),
        ("2001:db8:33::100/64", "inside"),
    ] {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        ip(&format!("address add {address} dev {device} {nodad}"));
    }
    for ends in BOTH {
        for (text, device, neighbour) in [
            (ends.client, "outside", CLIENT_MAC),
            (ends.web, "inside", WEB_MAC),
            (ends.other, "inside", WEB_MAC),
        ] {
            let address = text.parse::<SocketAddr>().unwrap().ip();
            ip(&format!("neighbour replace {address} lladdr {} dev {device} nud permanent", mac(neighbour)));
        }
    }
}
