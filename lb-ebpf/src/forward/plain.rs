//! NAT of a plain packet of TCP over IPv4, which is what opens and ends most connections. It does what [`nat::forward`]
//! does for such a packet, in half the instructions: the compiler knows every offset.

use super::{nat, partial};
use crate::{
    Frame, Outcome, Tables, nexthop,
    packet::{Flow, Packet, bits},
    wire::{ethernet, ipv4},
};
use lb_common::{address::Address, bucket::Direction, connection::Connection, protocol};

/// Where the packet begins.
pub const NETWORK: usize = ethernet::LENGTH;
/// Where its segment begins.
pub const TRANSPORT: usize = NETWORK + ipv4::LENGTH;

/// Whether a packet is such a one.
#[inline(always)]
pub fn is_plain<F: Frame>(frame: &F, packet: &Packet) -> bool {
    packet.flow.protocol as u8 == protocol::TCP
        && packet.bits & !(bits::DONT_FRAGMENT | bits::UNSOUGHT) == bits::IPV4
        && (packet.network, packet.transport) == (NETWORK as u32, TRANSPORT as u32)
        && packet.ttl > 1
        && !frame.has_tag()
}

/// Sends a plain packet by its connection's next hop, which is known. `None`, and nothing has changed, where more
/// has to be done than to rewrite it.
#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    connection: &mut Connection,
    direction: Direction,
) -> Option<Outcome> {
    let packet = known(packet);
    let after = nat::after(tables, connection, &packet.flow, direction);
    let hop = nexthop::hop(connection, direction);
    if !nexthop::fits(frame, &packet, hop) {
        return None;
    }
    let sent = match partial::is_partial(frame, &packet).ok()? {
        true => nat::complete(frame, &packet, &after, hop),
        false => nat::send(frame, &packet, &after, hop),
    };
    Some(sent.into())
}

/// A plain packet with what the compiler does not know of it otherwise.
#[inline(always)]
pub fn known(packet: &Packet) -> Packet {
    let Flow { source, destination, .. } = packet.flow;
    Packet {
        flow: Flow {
            source: Address::from_ipv4(source.ipv4()),
            destination: Address::from_ipv4(destination.ipv4()),
            protocol: protocol::TCP.into(),
            ..packet.flow
        },
        network: NETWORK as u32,
        transport: TRANSPORT as u32,
        bits: packet.bits & bits::UNSOUGHT | bits::IPV4,
        ..*packet
    }
}
