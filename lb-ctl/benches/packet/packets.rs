//! The packets of the benchmarks: valid, 80 bytes long.

use etherparse::PacketBuilder;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a packet.
pub const LENGTH: usize = 80;
/// Where the IPv4 header ends.
const IPV4_END: usize = 34;

/// A packet, as the restoring program takes it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Pattern {
    /// The packet.
    pub packet: [u64; LENGTH / 8],
    /// Flows to rotate through, a power of two, IPv4 only; 0 for one.
    pub flows: u32,
    /// Packets so far.
    pub count: u32,
    /// Sums of what the checksums of IPv4 and of TCP cover, but for what changes with the flow.
    sums: [u32; 2],
}

// SAFETY: plain data without padding.
unsafe impl aya::Pod for Pattern {}

/// TCP flags.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flags {
    /// The first packet of a connection.
    Syn,
    /// Any later one.
    Ack,
}

/// Source and destination of a frame.
#[derive(Clone, Copy)]
pub struct Macs(pub [u8; 6], pub [u8; 6]);

/// A TCP packet, from one end to the other.
pub fn tcp(macs: Macs, from: SocketAddr, to: SocketAddr, flags: Flags, flows: u32) -> Pattern {
    let ethernet = PacketBuilder::ethernet2(macs.0, macs.1);
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("two families"),
    };
    let tcp = ip.tcp(from.port(), to.port(), 1, 1024);
    let tcp = if flags == Flags::Syn { tcp.syn() } else { tcp.ack(1) };
    let mut bytes = Vec::new();
    let data = vec![0; LENGTH - tcp.size(0)];
    tcp.write(&mut bytes, &data).unwrap();
    Pattern { packet: bytemuck::pod_read_unaligned(&bytes), flows, count: 0, sums: sums(bytes) }
}

/// Meaningless for IPv6, whose flow does not change.
fn sums(mut bytes: Vec<u8>) -> [u32; 2] {
    // Both checksums, half of the source address, the source port.
    for offset in [24, 50, 28, 34] {
        bytes[offset..offset + 2].fill(0);
    }
    let length = (LENGTH - IPV4_END) as u16;
    let pseudo = sum(&bytes[26..IPV4_END]) + sum(&[0, bytes[23]]) + sum(&length.to_be_bytes());
    [sum(&bytes[14..IPV4_END]), pseudo + sum(&bytes[IPV4_END..])]
}

/// Of 16-bit words in this machine's order: one's complement does not mind (RFC 1071 §2).
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]]))).sum()
}
