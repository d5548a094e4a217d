//! ICMP errors about connections, translated in both directions, so that traceroute and path MTU
//! discovery work through the balancer (`ip_vs_in_icmp`, `ip_vs_nat_icmp`).
//!
//! The packet that an error quotes travelled the other way: an error from the client's side quotes
//! a reply that we sent, and goes on to the backend as if it quoted the backend's own packet.

mod tunnel;

use crate::{
    Frame, Outcome, Reason, Tables,
    checksum::{self, Change},
    connection::Tracked,
    forward::route::decrement,
    index,
    nexthop::{self, Exit},
    packet::{Flow, Packet, bits},
    snat,
    wire::{icmp, icmp::Icmp, ipv4, ipv4::Ipv4, ipv6, ipv6::Ipv6, tcp, udp},
};
use lb_common::{bucket::Direction, protocol, sysctl::Sysctl};

/// The connection that an ICMP error is about. Everything else is left to the host; but with `schedule_icmp` an error
/// about none stands for the packets that one would have, and opens it ([`Reason::MidStream`]).
#[inline(always)]
pub fn track<F: Frame, T: Tables>(frame: &F, tables: &T, packet: &mut Packet) -> Result<Tracked, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let Message { quoted, .. } = read(frame, packet)?;
    match quoted.flow.protocol as u8 {
        protocol::TCP | protocol::UDP | protocol::SCTP => {}
        protocol::IPIP | protocol::IPV6 | protocol::GRE => {
            return tunnel::track(frame, tables, settings, packet, &quoted);
        }
        _ => return Err(Reason::IcmpToHost),
    }
    let inverse = Flow {
        source: quoted.flow.destination,
        destination: quoted.flow.source,
        source_port: quoted.flow.destination_port,
        destination_port: quoted.flow.source_port,
        protocol: quoted.flow.protocol,
    };
    let Some(found) = index::find(tables, &inverse, index::hash(&inverse, settings)) else {
        let tracked = tunnel::track(frame, tables, settings, packet, &quoted);
        if tracked.is_ok() || settings.sysctl(Sysctl::ScheduleIcmp) == 0 {
            return tracked;
        }
        packet.flow = inverse;
        packet.bits |= bits::QUOTED;
        return Err(Reason::MidStream);
    };
    if let Some(traffic) = tables.traffic(found.connection.backend_index) {
        traffic.count(found.direction == Direction::Forward, packet.length() as u64);
    }
    Ok(Tracked { slot: found.slot, direction: found.direction })
}

/// Makes an error that has opened a connection an error again.
#[inline(always)]
pub fn restore<F: Frame>(frame: &F, packet: &mut Packet) -> Result<(), Reason> {
    let network = packet.network as usize;
    let (source, destination, protocol) = if packet.is_ipv4() {
        let header: Ipv4 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        (header.source_address(), header.destination_address(), protocol::ICMP)
    } else {
        let header: Ipv6 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        (header.source_address(), header.destination_address(), protocol::ICMPV6)
    };
    packet.flow =
        Flow { source, destination, source_port: 0, destination_port: 0, protocol: protocol as u32 };
    packet.bits &= !bits::QUOTED;
    Ok(())
}

/// Bytes of two ports.
const PORTS: u32 = 4;

/// An ICMP error, and the packet that it quotes.
struct Message {
    header: Icmp,
    quoted: Packet,
}

/// Reads an ICMP error.
#[inline(always)]
fn read<F: Frame>(frame: &F, packet: &Packet) -> Result<Message, Reason> {
    let header: Icmp = frame.load(packet.transport as usize).ok_or(Reason::TruncatedTransport)?;
    if !is_error(packet, header.kind) || !packet.is_whole() {
        return Err(Reason::IcmpToHost);
    }
    let quoted = Packet::quoted(frame, packet.transport as usize + icmp::LENGTH, packet.is_ipv4())?;
    // What fills up a short frame is no part of the packet, nor of its checksum.
    if quoted.transport + PORTS > packet.end {
        return Err(Reason::TruncatedTransport);
    }
    Ok(Message { header, quoted })
}

#[inline(always)]
fn is_error(packet: &Packet, kind: u8) -> bool {
    match packet.flow.protocol as u8 {
        protocol::ICMP if packet.is_ipv4() => {
            matches!(kind, icmp::v4::UNREACHABLE | icmp::v4::SOURCE_QUENCH | icmp::v4::TIME_EXCEEDED)
        }
        protocol::ICMPV6 if !packet.is_ipv4() => {
            matches!(kind, icmp::v6::UNREACHABLE..=icmp::v6::PARAMETER_PROBLEM)
        }
        _ => false,
    }
}

/// Rewrites an ICMP error about a connection, and decides how it leaves.
#[inline(always)]
pub fn translate<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    exit: Exit,
) -> Outcome {
    try_translate(frame, tables, packet, tracked, exit).into()
}

#[inline(always)]
fn try_translate<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    exit: Exit,
) -> Result<Outcome, Reason> {
    if packet.ttl <= 1 {
        // RFC 1122 §3.2.2: no error about an error.
        return Err(Reason::IcmpTtlExpired);
    }
    let Message { quoted, .. } = read(frame, packet)?;
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    let forward = tracked.direction == Direction::Forward;
    // What is quoted becomes what the addressee has sent: the inverse of what it gets.
    let (outer, inner) = if forward {
        let (source, source_port) = snat::replies_to(tables, connection);
        let inner = Flow {
            source: connection.backend,
            destination: source,
            source_port: connection.backend_port,
            destination_port: source_port,
            ..quoted.flow
        };
        // By full NAT a backend need not know any way but to the balancer.
        let sender = if connection.is_full_nat() { source } else { packet.flow.source };
        (Flow { source: sender, destination: connection.backend, ..packet.flow }, inner)
    } else {
        let inner = Flow {
            source: connection.client,
            destination: connection.service,
            source_port: connection.client_port,
            destination_port: connection.service_port,
            ..quoted.flow
        };
        (Flow { source: connection.service, destination: connection.client, ..packet.flow }, inner)
    };
    requote(frame, packet, &quoted, &outer, &inner)?;
    match exit {
        Ok(()) if !packet.is_tagged() => {
            let hop = nexthop::hop(connection, tracked.direction);
            decrement(frame, packet)?;
            nexthop::address_frame(frame, hop)?;
            Ok(Outcome { reason: Reason::IcmpError, ..nexthop::leave(hop) })
        }
        _ => Ok(Outcome::of(Reason::IcmpErrorKernel)),
    }
}

/// Turns an ICMP error about a packet in a tunnel into one for the client.
#[inline(always)]
pub fn unwrap<F: Frame>(frame: &mut F, packet: &Packet) -> Outcome {
    tunnel::unwrap(frame, packet).into()
}

/// Rewrites the outer addresses, and addresses and ports of the quoted packet with its checksums.
#[inline(always)]
fn requote<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    quoted: &Packet,
    outer: &Flow,
    inner: &Flow,
) -> Result<(), Reason> {
    let ends = Change::default()
        .address(packet.flow.source, outer.source)
        .address(packet.flow.destination, outer.destination);
    let addresses = Change::default()
        .address(quoted.flow.source, inner.source)
        .address(quoted.flow.destination, inner.destination);
    let ports = addresses
        .word(quoted.flow.source_port, inner.source_port)
        .word(quoted.flow.destination_port, inner.destination_port);
    // What the ICMP checksum covers: everything quoted, and in ICMPv6 the outer addresses too.
    let mut covered = ports;
    if packet.is_ipv4() {
        store_ipv4(frame, packet, outer, ends)?;
        let (old, new) = store_ipv4(frame, quoted, inner, addresses)?;
        covered = covered.word(old, new);
    } else {
        store_ipv6(frame, packet, outer)?;
        store_ipv6(frame, quoted, inner)?;
        covered.0 += ends.0;
    }
    frame.store(quoted.transport as usize, [inner.source_port, inner.destination_port])?;
    let place = quoted.transport as usize
        + if inner.protocol as u8 == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
    // The quote may end before TCP's checksum, and never holds all that SCTP's covers.
    if inner.protocol as u8 != protocol::SCTP
        && place + 2 <= packet.end as usize
        && let Some(old) = frame.load::<u16>(place)
        && (old != 0 || inner.protocol as u8 == protocol::TCP)
    {
        let mut new = ports.apply(old);
        if inner.protocol as u8 == protocol::UDP {
            new = checksum::of_udp(new);
        }
        frame.store(place, new)?;
        covered = covered.word(old, new);
    }
    let place = packet.transport as usize + icmp::CHECKSUM;
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    frame.store(place, covered.apply(old))
}

/// Stores both addresses; the header checksum before and after.
#[inline(always)]
fn store_ipv4<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    flow: &Flow,
    change: Change,
) -> Result<(u16, u16), Reason> {
    let place = packet.network as usize + ipv4::offset::CHECKSUM;
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    let new = change.apply(old);
    frame.store(place, new)?;
    frame.store(
        packet.network as usize + ipv4::offset::SOURCE,
        [flow.source.ipv4(), flow.destination.ipv4()],
    )?;
    Ok((old, new))
}

#[inline(always)]
fn store_ipv6<F: Frame>(frame: &mut F, packet: &Packet, flow: &Flow) -> Result<(), Reason> {
    let halves: [[u32; 4]; 2] = [bytemuck::cast(flow.source.words), bytemuck::cast(flow.destination.words)];
    frame.store(packet.network as usize + ipv6::offset::SOURCE, halves)
}
