//! What the tests of `packets.rs` stand on.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../namespace/mod.rs"]
pub mod namespace;

#[path = "../../src/program/hook.rs"]
mod hook;
pub mod kernel;
mod marks;
pub mod mutation;
pub mod network;

use crate::scenario::BOTH;
use std::net::{IpAddr, SocketAddr};

/// Whether the address of a service or a backend is anywhere in a frame: nothing else can be ours.
pub fn is_ours(frame: &[u8]) -> bool {
    BOTH.iter().flat_map(|ends| [ends.vip, ends.web]).any(|text| {
        let octets = match text.parse::<SocketAddr>().unwrap().ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        frame.windows(octets.len()).any(|window| window == octets)
    })
}

/// Whether a frame carries a VLAN tag.
pub fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8])
}

/// Whether the kernel makes a socket buffer of a frame to test tc with: one that says that it is IP holds a
/// whole IP header.
pub fn is_socket_buffer(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.len() >= 14 + 20,
        [0x86, 0xdd] => frame.len() >= 14 + 40,
        _ => true,
    }
}
