//! Tells a backend behind full NAT who the client is: an option of TCP on the client's packets, until the
//! backend's answer to one of them was seen. Its kernel looks for it on the packet that completes the handshake.
//!
//! A packet that has no room for the option goes without. None is refused because of it.

use super::partial;
use crate::{
    Frame, Reason, Tables,
    checksum::{self, Change},
    connection::Tracked,
    nexthop::Exit,
    packet::Packet,
    wire::{
        ethernet::{self, Ethernet},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        tcp::{
            self, Tcp,
            flags::{RST, SYN},
        },
        toa,
    },
};
use lb_common::{bucket::Direction, connection::flags::UNTOLD, protocol};

/// The longest TCP header (RFC 9293 §3.1).
const LONGEST: usize = 60;
/// What every way takes, for a packet whose way is not known yet: the least MTU of IPv6.
const LEAST_MTU: u32 = 1280;

/// Puts the option into a packet that has room for it and may need it. `packet` is parsed from the frame
/// before and describes it afterwards.
#[inline(always)]
pub fn insert<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &mut Packet,
    tracked: Tracked,
    exit: Exit,
) -> Result<(), Reason> {
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    let is_wanted = connection.flags & UNTOLD != 0
        && tracked.direction == Direction::Forward
        && packet.flow.protocol as u8 == protocol::TCP
        && packet.tcp_flags & (SYN | RST) == 0
        && packet.is_whole()
        && packet.ttl > 1;
    let (network, option) = match packet.is_ipv4() {
        true => (ipv4::LENGTH, toa::IPV4_LENGTH),
        false => (ipv6::LENGTH, toa::IPV6_LENGTH),
    };
    // Tags, IP options and extension headers would have to be moved along.
    let is_plain = packet.transport as usize == ethernet::LENGTH + network;
    let hop = &connection.to_backend;
    let mtu = if hop.interface != 0 { hop.mtu as u32 } else { LEAST_MTU };
    if !is_wanted || !is_plain || packet.length() + option as u32 > mtu {
        return Ok(());
    }
    let is_partial = partial::is_partial(frame, packet)?;
    // The kernel would look for the checksum where it was.
    let is_kept = exit.is_err() || frame.keeps_buffer();
    if is_kept && (is_partial || partial::is_bare(frame, packet)?) {
        return Ok(());
    }
    let at = ethernet::LENGTH + network;
    let link: Ethernet = frame.load(0).ok_or(Reason::RewriteFailed)?;
    let mut segment: Tcp = frame.load(at).ok_or(Reason::RewriteFailed)?;
    if (segment.length >> 4) as usize * 4 + option > LONGEST {
        return Ok(());
    }
    let (client, port) = (connection.client, connection.client_port);
    let before = segment.length;
    segment.length += (option as u8 / 4) << 4;
    let sized = |length: u32| (length as u16).to_be();
    let length = packet.end - packet.transport;
    let head = [toa::KIND, option as u8];
    let mut change = Change::default()
        .word(sized(length), sized(length + option as u32))
        .word(u16::from_ne_bytes([before, 0]), u16::from_ne_bytes([segment.length, 0]))
        .word(0, u16::from_ne_bytes(head))
        .word(0, port);
    if packet.is_ipv4() {
        let mut header: Ipv4 = frame.load(ethernet::LENGTH).ok_or(Reason::RewriteFailed)?;
        let longer = (u16::from_be(header.length) + option as u16).to_be();
        header.checksum = Change::default().word(header.length, longer).apply(header.checksum);
        header.length = longer;
        change = change.double(0, client.ipv4());
        if frame.grow(option).is_err() {
            return Ok(());
        }
        frame.store(ethernet::LENGTH, header)?;
        frame.store(
            at + tcp::LENGTH,
            toa::Ipv4 { kind: head[0], length: head[1], port, address: client.ipv4() },
        )?;
    } else {
        let mut header: Ipv6 = frame.load(ethernet::LENGTH).ok_or(Reason::RewriteFailed)?;
        header.length = (u16::from_be(header.length) + option as u16).to_be();
        let address: [u32; 4] = bytemuck::cast(client.words);
        for word in address {
            change = change.double(0, word);
        }
        if frame.grow(option).is_err() {
            return Ok(());
        }
        frame.store(ethernet::LENGTH, header)?;
        frame.store(at + tcp::LENGTH, toa::Ipv6 { kind: head[0], length: head[1], port, address })?;
    }
    packet.end += option as u32;
    segment.checksum = match is_partial {
        true => checksum::fold(partial::pseudo_header(packet, &packet.flow)),
        false => change.apply(segment.checksum),
    };
    frame.store(0, link)?;
    frame.store(at, segment)
}
