//! NAT (`-m`): the destination is rewritten on the way to the backend, the source on the way back.

use crate::{
    Frame, Outcome, Reason, Tables,
    checksum::{self, Change},
    connection::Tracked,
    nexthop::{self, Exit},
    packet::{Flow, Packet, bits},
    wire::{ipv4, ipv6, tcp, udp},
};
use lb_common::{
    bucket::Direction,
    connection::{Connection, NextHop, exit},
    protocol,
};

/// Rewrites a packet of a connection, and decides how it leaves.
#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    exit: Exit,
) -> Outcome {
    match try_forward(frame, tables, packet, tracked, exit) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::of(reason),
    }
}

#[inline(always)]
fn try_forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    mut exit: Exit,
) -> Result<Outcome, Reason> {
    let forward = tracked.direction == Direction::Forward;
    if packet.ttl <= 1 {
        // As with IPVS, whose hook for replies comes after the kernel's own check.
        return Err(if forward { Reason::TtlExpired } else { Reason::ReplyTtlExpired });
    }
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    let after = after(connection, &packet.flow, tracked.direction);
    let hop = nexthop::hop(connection, tracked.direction);
    if hop.interface != 0 && packet.length() > hop.mtu as u32 {
        exit = Err(Reason::KernelFragment);
        if packet.bits & bits::DONT_FRAGMENT != 0 && !frame.keeps_buffer() {
            return match forward {
                true => Ok(Outcome { reason: Reason::TooBig, detail: hop.mtu as u32 }),
                false => Err(Reason::ReplyTooBig),
            };
        }
    }
    if packet.is_tagged() {
        exit = Err(Reason::KernelVlan);
    }
    if is_partial(frame, packet)? {
        complete(frame, packet, &after, exit.is_err() || frame.keeps_buffer())?;
    } else {
        update(frame, packet, &after)?;
    }
    match exit {
        Ok(()) => leave(frame, packet, &after, hop),
        // The kernel forwards what is addressed to this host, and takes the TTL down itself.
        Err(reason) => {
            store_addresses(frame, packet, &after, packet.ttl)?;
            Ok(Outcome::of(reason))
        }
    }
}

/// What NAT makes of a packet's flow.
#[inline(always)]
pub fn after(connection: &Connection, flow: &Flow, direction: Direction) -> Flow {
    match direction {
        Direction::Forward => {
            Flow { destination: connection.backend, destination_port: connection.backend_port, ..*flow }
        }
        Direction::Reply => {
            Flow { source: connection.service, source_port: connection.service_port, ..*flow }
        }
    }
}

/// Rewrites a packet whose checksum is not partial, and sends it by a next hop that is known.
#[inline(always)]
pub fn send<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    after: &Flow,
    hop: &NextHop,
) -> Result<Outcome, Reason> {
    update(frame, packet, after)?;
    leave(frame, packet, after, hop)
}

#[inline(always)]
fn leave<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow, hop: &NextHop) -> Result<Outcome, Reason> {
    store_addresses(frame, packet, after, packet.ttl.wrapping_sub(1))?;
    nexthop::address_frame(frame, hop)?;
    Ok(match hop.exit {
        exit::TRANSMIT => Outcome::of(Reason::Transmitted),
        _ => Outcome { reason: Reason::Redirected, detail: hop.interface },
    })
}

/// Where the transport checksum lies.
#[inline(always)]
fn checksum_place(packet: &Packet) -> usize {
    let offset = if packet.flow.protocol as u8 == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
    packet.transport as usize + offset
}

/// The sum of a packet's pseudo-header, once its flow is `flow`.
#[inline(always)]
fn pseudo_header(packet: &Packet, flow: &Flow) -> u64 {
    checksum::pseudo_header(flow.source, flow.destination, flow.protocol, packet.end - packet.transport)
}

/// Whether the transport checksum is the bare sum of the pseudo-header, which the sender left to
/// a network card to complete. One complete checksum in 65,536 looks the same; for it `complete`
/// computes what it was, unless the packet goes to the kernel.
#[inline(always)]
pub fn is_partial<F: Frame>(frame: &F, packet: &Packet) -> Result<bool, Reason> {
    if !frame.may_be_partial() || !packet.is_whole() {
        return Ok(false);
    }
    let present: u16 = frame.load(checksum_place(packet)).ok_or(Reason::RewriteFailed)?;
    Ok(present == checksum::fold(pseudo_header(packet, &packet.flow)))
}

/// Stores the ports of `after`, and a checksum that was partial: completed, or, where the kernel's
/// socket buffer is `kept` and knows that it is partial, still so.
#[inline(always)]
fn complete<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow, kept: bool) -> Result<(), Reason> {
    let place = checksum_place(packet);
    let sum = pseudo_header(packet, after);
    store_ports(frame, packet, after)?;
    if kept {
        return frame.store(place, checksum::fold(sum));
    }
    frame.store(place, 0u16)?;
    let new = checksum::of_frame(frame, packet.transport as usize, packet.end as usize, sum)
        .ok_or(Reason::RewriteFailed)?;
    frame.store(place, present(packet, new))
}

/// Stores the ports of `after` and corrects the transport checksum.
#[inline(always)]
fn update<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow) -> Result<(), Reason> {
    if packet.is_later_fragment() {
        return Ok(());
    }
    let place = checksum_place(packet);
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    // RFC 768: no checksum was made; it may stay so with IPv4.
    if old != 0 || packet.flow.protocol as u8 != protocol::UDP {
        let new = addresses(packet, after)
            .word(packet.flow.source_port, after.source_port)
            .word(packet.flow.destination_port, after.destination_port)
            .apply(old);
        frame.store(place, present(packet, new))?;
    }
    store_ports(frame, packet, after)
}

/// RFC 768: a UDP checksum of zero is sent as ffff, because 0 says that there is none.
#[inline(always)]
fn present(packet: &Packet, checksum: u16) -> u16 {
    if checksum == 0 && packet.flow.protocol as u8 == protocol::UDP { 0xffff } else { checksum }
}

#[inline(always)]
fn addresses(packet: &Packet, after: &Flow) -> Change {
    Change::default()
        .address(packet.flow.source, after.source)
        .address(packet.flow.destination, after.destination)
}

#[inline(always)]
fn store_ports<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow) -> Result<(), Reason> {
    frame.store(packet.transport as usize, [after.source_port, after.destination_port])
}

/// Stores the addresses of `after` and a TTL or hop limit, and corrects the header checksum.
#[inline(always)]
fn store_addresses<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow, ttl: u8) -> Result<(), Reason> {
    let network = packet.network as usize;
    if !packet.is_ipv4() {
        let halves: [[u32; 4]; 2] =
            [bytemuck::cast(after.source.words), bytemuck::cast(after.destination.words)];
        frame.store(network + ipv6::offset::SOURCE, halves)?;
        return frame.store(network + ipv6::offset::HOP_LIMIT, ttl);
    }
    let word = |ttl: u8| u16::from_ne_bytes([ttl, packet.flow.protocol as u8]);
    let change = addresses(packet, after).word(word(packet.ttl), word(ttl));
    let place = network + ipv4::offset::CHECKSUM;
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    frame.store(place, change.apply(old))?;
    frame.store(network + ipv4::offset::TTL, ttl)?;
    frame.store(network + ipv4::offset::SOURCE, [after.source.ipv4(), after.destination.ipv4()])
}

/// Takes the TTL or hop limit down by one.
#[inline(always)]
pub fn decrement<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), Reason> {
    store_addresses(frame, packet, &packet.flow, packet.ttl.wrapping_sub(1))
}
