//! ICMP errors from between the balancer and a backend, about a packet that was wrapped: the client gets the same
//! error about its own packet (`ip_vs_in_icmp`), with the MTU that is left inside the tunnel.

use super::{Message, PORTS, read};
use crate::{
    Frame, Outcome, Reason, Tables, answer,
    connection::Tracked,
    index,
    packet::Packet,
    wire::{
        ethernet::{self, Ethernet, Tag},
        gre::{self, Gre},
        gue::Gue,
        icmp::{self, Icmp},
        ipv4, ipv6, udp,
    },
};
use bytemuck::Zeroable;
use lb_common::{
    backend::method,
    bucket::Direction,
    protocol,
    settings::Settings,
    tunnel::{Tunnel, kind},
};

/// The connection whose packet was in the tunnel's packet that an ICMP error quotes. The error is for the client.
#[inline(always)]
pub fn track<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    outer: &Packet,
) -> Result<Tracked, Reason> {
    let (inner, tunnel) = carried(frame, packet, outer)?;
    let found =
        index::find(tables, &inner.flow, index::hash(&inner.flow, settings)).ok_or(Reason::IcmpToHost)?;
    let connection = found.connection;
    let backend = tables.backend(connection.backend_index).ok_or(Reason::Raced)?;
    let is_ours = found.direction == Direction::Forward
        && connection.method() == method::TUNNEL
        && (backend.tunnel.kind, backend.tunnel.port) == (tunnel.kind, tunnel.port)
        && (outer.flow.source, outer.flow.destination) == (backend.source, connection.backend);
    if !is_ours {
        return Err(Reason::IcmpToHost);
    }
    if let Some(traffic) = tables.traffic(connection.backend_index) {
        traffic.count(false, packet.length() as u64);
    }
    Ok(Tracked { slot: found.slot, direction: Direction::Reply })
}

/// The packet in the tunnel's packet that an ICMP error quotes, and the kind of tunnel.
#[inline(always)]
fn carried<F: Frame>(frame: &F, packet: &Packet, outer: &Packet) -> Result<(Packet, Tunnel), Reason> {
    let at = outer.transport as usize;
    let is_ipv4 = packet.is_ipv4();
    let own = if is_ipv4 { protocol::IPIP } else { protocol::IPV6 };
    let mut tunnel = Tunnel::default();
    let (place, is_own) = match outer.flow.protocol as u8 {
        protocol::GRE => {
            let header: Gre = frame.load(at).ok_or(Reason::TruncatedTransport)?;
            tunnel.kind = kind::GRE;
            let checksum = if header.flags & gre::CHECKSUM_PRESENT != 0 { gre::CHECKSUM_LENGTH } else { 0 };
            let kind = if is_ipv4 { ethernet::IPV4 } else { ethernet::IPV6 };
            (at + gre::LENGTH + checksum, header.kind == kind)
        }
        protocol::UDP => {
            let header: Gue = frame.load(at + udp::LENGTH).ok_or(Reason::IcmpToHost)?;
            tunnel = Tunnel { kind: kind::GUE, port: outer.flow.destination_port, ..tunnel };
            let words = (header.length & 0x1f) as usize;
            (at + udp::LENGTH + size_of::<Gue>() + words * 4, header.protocol == own)
        }
        number => (at, number == own),
    };
    // What would become an error of the other family is left to the host.
    if !is_own {
        return Err(Reason::IcmpToHost);
    }
    let inner = Packet::quoted(frame, place, is_ipv4)?;
    if inner.transport + PORTS > packet.end {
        return Err(Reason::TruncatedTransport);
    }
    Ok((inner, tunnel))
}

/// Turns such an error into the one for the client, and leaves that to the kernel. Any other error in that direction
/// is about a packet that the client's own network carries, and passes by.
#[inline(always)]
pub fn unwrap<F: Frame>(frame: &mut F, packet: &Packet) -> Result<Outcome, Reason> {
    let Message { header, quoted: outer } = read(frame, packet)?;
    let (inner, _) = carried(frame, packet, &outer).map_err(|_| Reason::DirectReply)?;
    let link = packet.network as usize;
    let added = icmp::LENGTH + if packet.is_ipv4() { ipv4::LENGTH } else { ipv6::LENGTH };
    let length = added + (packet.end - inner.network) as usize;
    let detail = detail(packet, &header, inner.network - outer.network);

    let first: Ethernet = frame.load(0).ok_or(Reason::RewriteFailed)?;
    let tags: [Tag; 2] = [
        frame.load(ethernet::LENGTH).unwrap_or(Tag::zeroed()),
        frame.load(ethernet::LENGTH + ethernet::TAG_LENGTH).unwrap_or(Tag::zeroed()),
    ];
    // The tunnel's headers are longer than nothing, so there is something to take away.
    frame.shrink(inner.network as usize - link - added)?;
    frame.store(0, first)?;
    if link > ethernet::LENGTH {
        frame.store(ethernet::LENGTH, tags[0])?;
    }
    if link > ethernet::LENGTH + ethernet::TAG_LENGTH {
        frame.store(ethernet::LENGTH + ethernet::TAG_LENGTH, tags[1])?;
    }
    let about = Packet { network: link as u32, ..inner };
    let error = Icmp { kind: header.kind, code: header.code, checksum: 0, detail };
    // The kernel routes it, and takes one off.
    answer::write(frame, &about, error, answer::TTL + 1, length)?;
    Ok(Outcome::of(Reason::IcmpErrorKernel))
}

/// What the error says besides type and code: of an MTU, what the tunnel leaves of it.
#[inline(always)]
fn detail(packet: &Packet, header: &Icmp, overhead: u32) -> u32 {
    let (tells_mtu, least) = match packet.is_ipv4() {
        true => (header.kind == icmp::v4::UNREACHABLE && header.code == icmp::v4::FRAGMENTATION_NEEDED, 68),
        false => (header.kind == icmp::v6::TOO_BIG, 0),
    };
    if !tells_mtu {
        return 0;
    }
    let told = u32::from_be(header.detail);
    let mtu = if packet.is_ipv4() { told & 0xffff } else { told };
    // A router that tells none says 0 (RFC 1191 §4); the client then guesses.
    (if mtu > least + overhead { mtu - overhead } else { mtu }).to_be()
}
