//! NAT (`-m`): the destination is rewritten on the way to the backend, the source on the way back.

use crate::{
    Frame, Outcome, Reason, Tables,
    checksum::{self, Change},
    connection::Tracked,
    nexthop::{self, Exit},
    packet::{Flow, Packet, bits},
    wire::{ipv4, ipv4::Ipv4, ipv6, tcp, udp},
};
use lb_common::{address::Address, bucket::Direction, connection::exit, protocol};

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
    let after = match tracked.direction {
        Direction::Forward => {
            Flow { destination: connection.backend, destination_port: connection.backend_port, ..packet.flow }
        }
        Direction::Reply => {
            Flow { source: connection.service, source_port: connection.service_port, ..packet.flow }
        }
    };
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
    let kept = exit.is_err() || frame.keeps_buffer();
    rewrite(frame, packet, &after, kept)?;
    let reason = match exit {
        Ok(()) => {
            nexthop::address_frame(frame, hop)?;
            if hop.exit == exit::TRANSMIT { Reason::Transmitted } else { Reason::Redirected }
        }
        Err(reason) => {
            // The kernel forwards what is addressed to this host, and takes the TTL down itself.
            return Ok(Outcome::of(reason));
        }
    };
    decrement(frame, packet)?;
    Ok(Outcome { reason, detail: if hop.exit == exit::TRANSMIT { 0 } else { hop.interface } })
}

/// Puts addresses and ports of `after` into the packet and corrects every checksum. `kept` says
/// that the kernel's socket buffer goes along, with what it knows of a partial checksum.
#[inline(always)]
pub fn rewrite<F: Frame>(frame: &mut F, packet: &Packet, after: &Flow, kept: bool) -> Result<(), Reason> {
    let before = &packet.flow;
    let addresses =
        Change::default().address(before.source, after.source).address(before.destination, after.destination);
    if !packet.is_later_fragment() {
        let place = packet.transport as usize
            + match before.protocol as u8 {
                protocol::TCP => tcp::CHECKSUM,
                _ => udp::CHECKSUM,
            };
        let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
        // RFC 768: no checksum was made; it may stay so with IPv4.
        let absent = before.protocol as u8 == protocol::UDP && old == 0;
        if !absent {
            let length = packet.end - packet.transport;
            let partial = frame.may_be_partial()
                && packet.is_whole()
                && old
                    == checksum::fold(checksum::pseudo_header(
                        before.source,
                        before.destination,
                        before.protocol,
                        length,
                    ));
            let mut new = if !partial {
                addresses
                    .word(before.source_port, after.source_port)
                    .word(before.destination_port, after.destination_port)
                    .apply(old)
            } else {
                let pseudo =
                    checksum::pseudo_header(after.source, after.destination, before.protocol, length);
                if kept {
                    checksum::fold(pseudo)
                } else {
                    frame.store(place, 0u16)?;
                    frame.store(packet.transport as usize, ports(after))?;
                    checksum::of_frame(frame, packet.transport as usize, packet.end as usize, pseudo)
                        .ok_or(Reason::RewriteFailed)?
                }
            };
            if before.protocol as u8 == protocol::UDP && new == 0 {
                new = 0xffff;
            }
            frame.store(place, new)?;
        }
        frame.store(packet.transport as usize, ports(after))?;
    }
    let network = packet.network as usize;
    if packet.is_ipv4() {
        let place = network + ipv4::offset::CHECKSUM;
        let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
        frame.store(place, addresses.apply(old))?;
        frame.store(network + ipv4::offset::SOURCE, after.source.ipv4())?;
        frame.store(network + ipv4::offset::DESTINATION, after.destination.ipv4())
    } else {
        frame.store(network + ipv6::offset::SOURCE, halves(after.source))?;
        frame.store(network + ipv6::offset::DESTINATION, halves(after.destination))
    }
}

/// Takes the TTL or hop limit down by one.
#[inline(always)]
pub fn decrement<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), Reason> {
    let network = packet.network as usize;
    if !packet.is_ipv4() {
        return frame.store(network + ipv6::offset::HOP_LIMIT, packet.ttl.wrapping_sub(1));
    }
    let header: Ipv4 = frame.load(network).ok_or(Reason::RewriteFailed)?;
    let word = |ttl: u8| u16::from_ne_bytes([ttl, header.protocol]);
    let change = Change::default().word(word(header.ttl), word(header.ttl.wrapping_sub(1)));
    frame.store(network + ipv4::offset::TTL, header.ttl.wrapping_sub(1))?;
    frame.store(network + ipv4::offset::CHECKSUM, change.apply(header.checksum))
}

/// Both ports as they lie in front of a TCP or UDP header.
#[inline(always)]
fn ports(flow: &Flow) -> [u16; 2] {
    [flow.source_port, flow.destination_port]
}

/// An address in pieces that may be stored at any even offset.
#[inline(always)]
fn halves(address: Address) -> [u32; 4] {
    bytemuck::cast(address.words)
}
