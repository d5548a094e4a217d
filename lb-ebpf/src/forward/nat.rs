//! NAT (`-m`): the destination is rewritten on the way to the backend, the source on the way back; by full NAT
//! (`--fullnat`) both are, both ways.

use super::partial;
use crate::{
    Frame, Outcome, Reason, Steps, Tables,
    checksum::Change,
    nexthop::{self, Exit},
    packet::{Flow, Packet, bits},
    snat,
    wire::{ipv4, ipv6, sctp},
};
use lb_common::{
    bucket::Direction,
    connection::{Connection, NextHop},
    protocol,
};

/// Rewrites a packet of a connection, and decides how it leaves.
#[inline(always)]
pub fn forward<F: Frame, T: Steps>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    connection: &mut Connection,
    direction: Direction,
    mut exit: Exit,
) -> Result<Outcome, Reason> {
    let after = after(tables, connection, &packet.flow, direction);
    let is_full = connection.is_full_nat();
    let hop = nexthop::hop(connection, direction);
    if hop.interface != 0 && !nexthop::fits(frame, packet, hop) {
        exit = Err(Reason::KernelFragment);
        if packet.bits & bits::DONT_FRAGMENT != 0 && frame.segment().is_some() {
            return match direction {
                Direction::Reply if !is_full => Err(Reason::ReplyTooBig),
                // A reply by full NAT is for this host's address: the host would take it.
                _ => Ok(Outcome { reason: Reason::TooBig, detail: hop.mtu as u32 }),
            };
        }
    }
    if packet.is_tagged() || frame.has_tag() {
        exit = Err(Reason::KernelVlan);
    }
    if partial::is_partial(frame, packet)? {
        store_ports(frame, packet, &after)?;
        partial::complete(frame, packet, &after, exit.is_err() || frame.keeps_buffer())?;
    } else if packet.has_transport() {
        match packet.flow.protocol as u8 {
            protocol::SCTP => update_sctp(frame, tables, packet, &after)?,
            _ => update(frame, packet, &after)?,
        }
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
pub fn after<T: Tables>(tables: &T, connection: &Connection, flow: &Flow, direction: Direction) -> Flow {
    match direction {
        Direction::Forward => {
            let (source, source_port) = snat::replies_to(tables, connection);
            Flow {
                source,
                destination: connection.backend,
                source_port,
                destination_port: connection.backend_port,
                ..*flow
            }
        }
        Direction::Reply => Flow {
            source: connection.service,
            destination: connection.client,
            source_port: connection.service_port,
            destination_port: connection.client_port,
            ..*flow
        },
    }
}

/// Rewrites a packet of TCP or UDP whose checksum is not partial, and sends it by a next hop that is known.
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

/// The same for one whose checksum is partial.
#[inline(always)]
pub fn complete<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    after: &Flow,
    hop: &NextHop,
) -> Result<Outcome, Reason> {
    store_ports(frame, packet, after)?;
    partial::complete(frame, packet, after, frame.keeps_buffer())?;
    leave(frame, packet, after, hop)
}

#[inline(always)]
fn leave<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow, hop: &NextHop) -> Result<Outcome, Reason> {
    store_addresses(frame, packet, after, packet.ttl.wrapping_sub(1))?;
    nexthop::address_frame(frame, hop)?;
    Ok(nexthop::leave(hop))
}

/// Stores the ports of `after` and corrects the checksum of TCP or UDP.
#[inline(always)]
fn update<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow) -> Result<(), Reason> {
    let place = partial::place(packet);
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    let is_udp = packet.flow.protocol as u8 == protocol::UDP;
    // RFC 768: no checksum was made; it may stay so with IPv4.
    if old == 0 && is_udp {
        return store_ports(frame, packet, after);
    }
    let ports = Change::default()
        .word(packet.flow.source_port, after.source_port)
        .word(packet.flow.destination_port, after.destination_port);
    frame.correct(place, addresses(packet, after), ports, is_udp)?;
    frame.store_even(packet.transport as usize, [after.source_port, after.destination_port])
}

/// The same for SCTP, whose CRC covers no address. It is zero where the kernel has yet to make it.
#[inline(always)]
fn update_sctp<F: Frame, T: Steps>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    after: &Flow,
) -> Result<(), Reason> {
    let place = packet.transport as usize + sctp::CHECKSUM;
    let old: u32 = frame.load(packet.transport as usize).ok_or(Reason::RewriteFailed)?;
    let ports = [after.source_port, after.destination_port];
    let new: u32 = bytemuck::cast(ports);
    // A first fragment has the CRC of the whole packet, whose length is not known.
    if packet.is_whole() && old != new && !partial::is_open_sctp(frame, packet) {
        let sum: u32 = frame.load(place).ok_or(Reason::RewriteFailed)?;
        let length = packet.end - packet.transport;
        frame.store(place, tables.update_crc(sum, old, new, length))?;
    }
    store_ports(frame, packet, after)
}

#[inline(always)]
fn addresses(packet: &Packet, after: &Flow) -> Change {
    // Known to the compiler in the shortcut, which the addresses' family is not.
    if packet.is_ipv4() {
        return Change::default()
            .double(packet.flow.source.ipv4(), after.source.ipv4())
            .double(packet.flow.destination.ipv4(), after.destination.ipv4());
    }
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
    frame.store_even(place, change.apply(old))?;
    frame.store_even(network + ipv4::offset::TTL, ttl)?;
    frame.store_even(network + ipv4::offset::SOURCE, [after.source.ipv4(), after.destination.ipv4()])
}
