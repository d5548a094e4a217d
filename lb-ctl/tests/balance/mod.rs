//! What the tests of `packets.rs` stand on.
#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../namespace/mod.rs"]
pub mod namespace;

pub mod kernel;
pub mod mutation;

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
