//! Direct routing (`-g`): the packet goes to the backend as it is, in a frame for the backend's MAC
//! address. The backend has the service's address too, and answers the client by itself.
//!
//! The kernel cannot take part: it would deliver the packet to this host, whose address the service's
//! is. So what XDP cannot send is lost here, and counted.

use super::partial;
use crate::{
    Frame, Outcome, Reason, answer,
    checksum::Change,
    nexthop::{self, Exit},
    packet::{Flow, Packet, bits},
    wire::{
        icmp::{Icmp, v4, v6},
        ipv4, ipv6,
    },
};
use lb_common::{
    address::Address,
    connection::{Connection, NextHop},
};

/// Sends a client's packet to the backend.
#[inline(always)]
pub fn forward<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    connection: &Connection,
    exit: Exit,
) -> Result<Outcome, Reason> {
    if packet.is_tagged() || frame.has_tag() {
        return Err(Reason::RouteDevice);
    }
    match exit {
        Ok(()) => {}
        Err(Reason::KernelNeighbour | Reason::KernelProbe) => return ask(frame, packet, connection.backend),
        Err(_) => return Err(Reason::RouteDevice),
    }
    let hop = &connection.to_backend;
    if !nexthop::fits(frame, packet, hop) {
        return match packet.bits & bits::DONT_FRAGMENT != 0 && !packet.is_icmp() && frame.segment().is_some()
        {
            true => Ok(Outcome { reason: Reason::TooBig, detail: hop.mtu as u32 }),
            false => Err(Reason::RouteFragment),
        };
    }
    if partial::is_partial(frame, packet)? {
        partial::complete(frame, packet, &packet.flow, frame.keeps_buffer())?;
    }
    send(frame, packet, hop)
}

/// Sends a packet whose checksum is not partial by a next hop that is known.
#[inline(always)]
pub fn send<F: Frame>(frame: &mut F, packet: &Packet, hop: &NextHop) -> Result<Outcome, Reason> {
    decrement(frame, packet)?;
    nexthop::address_frame(frame, hop)?;
    Ok(nexthop::leave(hop))
}

/// Takes the TTL or hop limit down by one.
#[inline(always)]
pub fn decrement<F: Frame>(frame: &mut F, packet: &Packet) -> Result<(), Reason> {
    let network = packet.network as usize;
    let ttl = packet.ttl.wrapping_sub(1);
    if !packet.is_ipv4() {
        return frame.store(network + ipv6::offset::HOP_LIMIT, ttl);
    }
    let place = network + ipv4::offset::CHECKSUM;
    let old: u16 = frame.load(place).ok_or(Reason::RewriteFailed)?;
    // The protocol is the other half of the word, and does not change.
    let change = Change::default().word(u16::from_ne_bytes([packet.ttl, 0]), u16::from_ne_bytes([ttl, 0]));
    frame.store_even(place, change.apply(old))?;
    frame.store_even(network + ipv4::offset::TTL, ttl)
}

/// Turns the packet into one that the kernel forwards to the backend, so that it asks for the MAC
/// address of the next hop: an echo reply that nobody asked for, which the backend ignores.
#[inline(always)]
fn ask<F: Frame>(frame: &mut F, packet: &Packet, backend: Address) -> Result<Outcome, Reason> {
    let kind = if packet.is_ipv4() { v4::ECHO_REPLY } else { v6::ECHO_REPLY };
    let header = Icmp { kind, code: 0, checksum: 0, detail: 0 };
    // Written as an answer is: from the destination of the packet that it answers to its source.
    let inverse = Flow { source: backend, destination: packet.flow.source, ..packet.flow };
    let answered = Packet { flow: inverse, ..*packet };
    // As long as before: a checksum that the kernel has still to fill in lies within the packet.
    answer::write(frame, &answered, header, answer::TTL, packet.length() as usize)?;
    Ok(Outcome::of(Reason::NeighbourAsked))
}
