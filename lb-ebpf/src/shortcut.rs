//! The short way of a plain packet: one that changes nothing but its own bytes, of a connection that
//! stands and whose next hop is known. Nearly every packet is one.
//!
//! It does what the long way does for such a packet, without a function call and with every offset
//! known to the compiler. At the first sign of anything else it gives up, before it has changed
//! anything, and the long way starts from the beginning.

use crate::{
    Frame, Outcome, Reason, Tables,
    forward::{nat, partial, route},
    index, nexthop,
    open::{key, may_open},
    packet::{Flow, Packet, bits},
    wire::{
        ethernet::{self, Ethernet},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};
use lb_common::{
    backend::{
        method::{NAT, ROUTE},
        state::AVAILABLE,
    },
    bucket::Direction,
    connection::{
        exit,
        flags::UNTOLD,
        state::{self, ESTABLISHED},
    },
    protocol,
    settings::Settings,
    sysctl::Sysctl,
    time::remaining,
};

/// What becomes of a plain packet; `None` when it has to go the long way.
#[inline(always)]
#[expect(clippy::if_same_then_else, reason = "each copy has the offsets of its family as constants")]
pub fn handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Outcome> {
    let settings = tables.settings()?;
    if settings.services == 0 {
        return Some(Outcome::of(Reason::NoServices));
    }
    let header: Ethernet = frame.load(0)?;
    if header.is_group() || frame.has_tag() {
        return None;
    }
    let packet = match header.kind {
        ethernet::IPV4 => plain_ipv4(frame)?,
        ethernet::IPV6 => plain_ipv6(frame)?,
        _ => return None,
    };
    if packet.is_ipv4() {
        forward(frame, tables, settings, &packet)
    } else {
        forward(frame, tables, settings, &packet)
    }
}

#[inline(always)]
fn plain_ipv4<F: Frame>(frame: &F) -> Option<Packet> {
    let header: Ipv4 = frame.load(ethernet::LENGTH)?;
    let is_plain =
        header.version_length == 0x45 && header.fragment & (ipv4::OFFSET | ipv4::MORE_FRAGMENTS) == 0;
    if !is_plain || header.ttl <= 1 {
        return None;
    }
    let flow = Flow {
        source: header.source_address(),
        destination: header.destination_address(),
        source_port: 0,
        destination_port: 0,
        protocol: header.protocol as u32,
    };
    let end = ethernet::LENGTH as u32 + u16::from_be(header.length) as u32;
    plain(frame, flow, ipv4::LENGTH, end, header.ttl, bits::IPV4)
}

#[inline(always)]
fn plain_ipv6<F: Frame>(frame: &F) -> Option<Packet> {
    let header: Ipv6 = frame.load(ethernet::LENGTH)?;
    if header.version_flow.to_ne_bytes()[0] >> 4 != 6 || header.hop_limit <= 1 {
        return None;
    }
    let flow = Flow {
        source: header.source_address(),
        destination: header.destination_address(),
        source_port: 0,
        destination_port: 0,
        protocol: header.next as u32,
    };
    let end = (ethernet::LENGTH + ipv6::LENGTH) as u32 + u16::from_be(header.length) as u32;
    plain(frame, flow, ipv6::LENGTH, end, header.hop_limit, 0)
}

#[inline(always)]
fn plain<F: Frame>(frame: &F, flow: Flow, length: usize, end: u32, ttl: u8, bits: u8) -> Option<Packet> {
    if !matches!(flow.protocol as u8, protocol::TCP | protocol::UDP) || !frame.holds(end as usize) {
        return None;
    }
    let network = ethernet::LENGTH as u32;
    let transport = network + length as u32;
    let mut packet = Packet {
        flow,
        network,
        transport,
        end,
        interface: frame.interface(),
        mark: frame.mark(),
        service: 0,
        tracked: 0,
        ttl,
        tcp_flags: 0,
        bits,
        chunk: 0,
    };
    packet.transport(frame).ok()?;
    Some(packet)
}

#[inline(always)]
fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
) -> Option<Outcome> {
    let hash = index::hash(&packet.flow, settings);
    // A SYN most often has no connection, and a hint would be one cache line more to wait for.
    let found = match packet.tcp_flags & SYN {
        0 => index::recall(tables, &packet.flow, hash),
        _ => index::find(tables, &packet.flow, hash),
    };
    let Some(found) = found else { return foreign(tables, settings, packet) };
    let now = tables.now();
    if packet.flow.protocol as u8 == protocol::TCP
        && (found.word as u8 != ESTABLISHED || packet.tcp_flags & (SYN | FIN | RST | ACK) != ACK)
    {
        return None;
    }
    let connection = found.connection;
    let method = connection.method();
    if method != NAT && (method != ROUTE || found.direction == Direction::Reply) {
        return None;
    }
    if connection.flags & UNTOLD != 0 {
        return None;
    }
    let backend = tables.backend(connection.backend_index)?;
    if remaining(connection.expires, now) <= 0 || backend.state != AVAILABLE {
        return None;
    }
    let after = nat::after(tables, connection, &packet.flow, found.direction);
    let expires = now.wrapping_add(settings.timeouts[state::timeout(found.word as u8)]);
    let is_later = connection.expires != expires;
    if partial::is_partial(frame, packet).ok()? {
        return None;
    }
    let index = connection.backend_index;
    let place = &mut connection.expires;
    let hop = match found.direction {
        Direction::Forward => &connection.to_backend,
        Direction::Reply => &connection.to_client,
    };
    if !nexthop::counts(frame, tables, hop, now)
        || hop.exit == exit::KERNEL
        || !nexthop::fits(frame, packet, hop)
    {
        return None;
    }
    // From here on the packet is this way's.
    if is_later {
        *place = expires;
    }
    if let Some(traffic) = tables.traffic(index) {
        traffic.count(found.direction == Direction::Forward, packet.length() as u64);
    }
    let sent = match method {
        NAT => nat::send(frame, packet, &after, hop),
        _ => route::send(frame, packet, hop),
    };
    Some(sent.into())
}

/// A packet without a connection: most often it is none of ours.
#[inline(always)]
fn foreign<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> Option<Outcome> {
    if settings.sysctl(Sysctl::NatIcmpSend) != 0 {
        return None;
    }
    if !may_open(settings, packet) {
        return Some(Outcome::of(Reason::MidStream));
    }
    match tables.service(&key(&packet.flow)) {
        // A firewall mark may make it a service's, or a service for more ports than one.
        None if packet.mark == 0 && settings.marks() == 0 && settings.catch_all == 0 => {
            Some(Outcome::of(Reason::NotBalanced))
        }
        _ => None,
    }
}
