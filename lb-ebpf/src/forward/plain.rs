//! NAT of a plain packet of TCP over IPv4, which is what opens and ends most connections. It does what [`nat::forward`]
//! does for such a packet, in half the instructions: the compiler knows every offset.

use super::{nat, partial};
use crate::{
    Frame, Outcome, Tables,
    connection::Tracked,
    nexthop,
    packet::{Flow, Packet, bits},
    wire::{ethernet, ipv4},
};
use lb_common::protocol;

/// Where the segment begins.
const TRANSPORT: usize = ethernet::LENGTH + ipv4::LENGTH;

/// Whether a packet is such a one.
#[inline(always)]
pub fn is_plain<F: Frame>(frame: &F, packet: &Packet) -> bool {
    packet.flow.protocol as u8 == protocol::TCP
        && packet.bits & !(bits::DONT_FRAGMENT | bits::UNSOUGHT) == bits::IPV4
        && (packet.network, packet.transport) == (ethernet::LENGTH as u32, TRANSPORT as u32)
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
    tracked: Tracked,
) -> Option<Outcome> {
    let packet = Packet {
        flow: Flow { protocol: protocol::TCP.into(), ..packet.flow },
        network: ethernet::LENGTH as u32,
        transport: TRANSPORT as u32,
        bits: bits::IPV4,
        ..*packet
    };
    let connection = tables.connection(tracked.slot)?;
    let after = nat::after(tables, connection, &packet.flow, tracked.direction);
    let hop = nexthop::hop(connection, tracked.direction);
    if !nexthop::fits(frame, &packet, hop) || partial::is_partial(frame, &packet).ok()? {
        return None;
    }
    Some(nat::send(frame, &packet, &after, hop).into())
}
