//! The packets of the cases: valid, 80 bytes long.

use etherparse::PacketBuilder;
use std::net::IpAddr;

/// Bytes of a packet.
pub const LENGTH: usize = 80;

/// A packet, as the restoring program takes it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Pattern {
    /// The packet.
    pub packet: [u64; LENGTH / 8],
    /// Flows to rotate through, a power of two; 0 for one.
    pub flows: u32,
    /// Offset of 16 bits of the source address.
    pub address: u32,
    /// Offset of the source port.
    pub port: u32,
    /// Packets so far.
    pub count: u32,
}

// SAFETY: plain data without padding.
unsafe impl aya::Pod for Pattern {}

/// TCP flags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// The first packet of a connection.
    Syn,
    /// Any later one.
    Ack,
}

/// A TCP packet, from one end to the other.
pub fn tcp(from: (&str, u16), to: (&str, u16), flags: Flags, flows: u32) -> Pattern {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (ip, address, port) = match (from.0.parse().unwrap(), to.0.parse().unwrap()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (ethernet.ipv4(from.octets(), to.octets(), 64), 28, 34),
        (IpAddr::V6(from), IpAddr::V6(to)) => (ethernet.ipv6(from.octets(), to.octets(), 64), 34, 54),
        _ => panic!("two families"),
    };
    let tcp = ip.tcp(from.1, to.1, 1, 1024);
    let tcp = if flags == Flags::Syn { tcp.syn() } else { tcp.ack(1) };
    let mut bytes = Vec::new();
    let data = vec![0; LENGTH - tcp.size(0)];
    tcp.write(&mut bytes, &data).unwrap();
    Pattern { packet: bytemuck::pod_read_unaligned(&bytes), flows, address, port, count: 0 }
}
