//! Checksums, judged by an independent parser.

use etherparse::{NetSlice, SlicedPacket, TransportSlice, checksum::Sum16BitWords};

/// Whether every checksum of a frame is right; `None` where the parser finds nothing to judge.
pub fn checksums(frame: &[u8]) -> Option<bool> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (pseudo, is_header_right) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            let sum = Sum16BitWords::new().add_4bytes(header.source).add_4bytes(header.destination);
            (sum, header.calc_header_checksum() == header.header_checksum)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let sum = Sum16BitWords::new().add_16bytes(header.source()).add_16bytes(header.destination());
            (sum, true)
        }
        NetSlice::Arp(_) => return None,
    };
    if packet.is_ip_payload_fragmented() {
        return Some(is_header_right);
    }
    let (bytes, protocol) = match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => (tcp.slice(), 6),
        TransportSlice::Udp(udp) if udp.checksum() == 0 => return Some(is_header_right),
        TransportSlice::Udp(udp) => (udp.slice(), 17),
        TransportSlice::Icmpv4(icmp) => (icmp.slice(), 0),
        TransportSlice::Icmpv6(icmp) => (icmp.slice(), 58),
    };
    let start = match protocol {
        0 => Sum16BitWords::new(),
        _ => pseudo.add_2bytes([0, protocol]).add_4bytes((bytes.len() as u32).to_be_bytes()),
    };
    Some(is_header_right && start.add_slice(bytes).ones_complement() == 0)
}
