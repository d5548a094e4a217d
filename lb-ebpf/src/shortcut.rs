//! The short way of a plain packet: one that changes nothing but its own bytes, of a connection that
//! stands and whose next hop is known. Nearly every packet is one.
//!
//! It does what the long way does for such a packet, without a function call and with every offset
//! known to the compiler. At the first sign of anything else it gives up, before it has changed
//! anything, and the long way starts from the beginning: but for a plain packet that opens a connection, which
//! goes to the stage that makes it, and for one whose checksum is partial, which goes to the one that sends.

use crate::{
    Frame, Next, Outcome, Reason, Tables, accept,
    connection::Tracked,
    forward::{nat, partial, route},
    index::{self, Found},
    nexthop,
    open::{key, may_open, remembered},
    packet::{Flow, Packet, bits},
    schedule,
    wire::{
        ethernet::{self, Ethernet},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        tcp::flags::{ACK, FIN, RST, SYN},
    },
};
use lb_common::{
    address::Address,
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
    stage::Stage,
    sysctl::Sysctl,
    time::remaining,
};

/// What becomes of a plain packet, or the stage that it has to go on with: the first, which begins anew, or
/// the one that makes its connection and finds it in [`Tables::packet`].
#[inline(always)]
pub fn handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Next {
    try_handle(frame, tables).unwrap_or(Next::Stage(Stage::Find))
}

/// Each kind of packet has a copy of [`forward`] of its own, in which the compiler knows all offsets.
#[inline(always)]
fn try_handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Next> {
    let settings = tables.settings()?;
    if settings.services == 0 {
        return Some(Next::End(Outcome::of(Reason::NoServices)));
    }
    let header: Ethernet = frame.load(0)?;
    if header.is_group() || frame.has_tag() {
        return None;
    }
    match header.kind {
        ethernet::IPV4 => by_protocol(frame, tables, settings, ipv4(frame)?),
        ethernet::IPV6 => by_protocol(frame, tables, settings, ipv6(frame)?),
        _ => None,
    }
}

/// What a plain network header says.
struct Network {
    source: Address,
    destination: Address,
    protocol: u8,
    /// Of the header, in bytes.
    length: u32,
    /// Offset of the first byte behind the IP packet.
    end: u32,
    ttl: u8,
    /// Of [`Packet::bits`].
    bits: u8,
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F) -> Option<Network> {
    let header: Ipv4 = frame.load(ethernet::LENGTH)?;
    let is_plain =
        header.version_length == 0x45 && header.fragment & (ipv4::OFFSET | ipv4::MORE_FRAGMENTS) == 0;
    let fixed = if header.fragment & ipv4::DONT_FRAGMENT != 0 { bits::DONT_FRAGMENT } else { 0 };
    (is_plain && header.ttl > 1).then_some(Network {
        source: header.source_address(),
        destination: header.destination_address(),
        protocol: header.protocol,
        length: ipv4::LENGTH as u32,
        end: ethernet::LENGTH as u32 + u16::from_be(header.length) as u32,
        ttl: header.ttl,
        bits: bits::IPV4 | fixed,
    })
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F) -> Option<Network> {
    let header: Ipv6 = frame.load(ethernet::LENGTH)?;
    let is_plain = header.version_flow.to_ne_bytes()[0] >> 4 == 6;
    (is_plain && header.hop_limit > 1).then_some(Network {
        source: header.source_address(),
        destination: header.destination_address(),
        protocol: header.next,
        length: ipv6::LENGTH as u32,
        end: (ethernet::LENGTH + ipv6::LENGTH) as u32 + u16::from_be(header.length) as u32,
        ttl: header.hop_limit,
        bits: bits::DONT_FRAGMENT,
    })
}

#[inline(always)]
fn by_protocol<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    settings: &Settings,
    network: Network,
) -> Option<Next> {
    match network.protocol {
        protocol::TCP => {
            let packet = packet(frame, Network { protocol: protocol::TCP, ..network })?;
            forward(frame, tables, settings, &packet)
        }
        protocol::UDP => {
            let packet = packet(frame, Network { protocol: protocol::UDP, ..network })?;
            forward(frame, tables, settings, &packet)
        }
        _ => None,
    }
}

/// A packet that is all there.
#[inline(always)]
fn packet<F: Frame>(frame: &F, header: Network) -> Option<Packet> {
    if !frame.holds(header.end as usize) {
        return None;
    }
    let network = ethernet::LENGTH as u32;
    let mut packet = Packet {
        flow: Flow {
            source: header.source,
            destination: header.destination,
            source_port: 0,
            destination_port: 0,
            protocol: header.protocol as u32,
        },
        network,
        transport: network + header.length,
        end: header.end,
        interface: frame.interface(),
        mark: frame.mark(),
        service: 0,
        tracked: 0,
        ttl: header.ttl,
        tcp_flags: 0,
        bits: header.bits,
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
) -> Option<Next> {
    if packet.tcp_flags & (SYN | ACK) == SYN {
        return first(tables, settings, packet);
    }
    let hash = index::hash(&packet.flow, settings);
    // A hint at what is not there yet would be one cache line more to wait for.
    let mut hints =
        if packet.tcp_flags & SYN == 0 { tables.hints(hash as u32 & settings.hint_mask) } else { None };
    let recalled = hints.as_deref().and_then(|hints| index::recall(tables, hints, &packet.flow, hash));
    let found = match recalled {
        Some(found) => found,
        None => {
            let Some(found) = index::find(tables, &packet.flow, hash) else {
                let (next, service) = foreign(tables, settings, packet);
                if next == OPENS {
                    *tables.packet()? = Packet { service, ..*packet };
                }
                return next;
            };
            if let Some(hints) = &mut hints {
                index::remember(hints, hash, &found);
            }
            found
        }
    };
    // Each direction has a copy as well.
    match found.direction {
        Direction::Forward => {
            standing(frame, tables, settings, packet, Found { direction: Direction::Forward, ..found })
        }
        Direction::Reply => {
            standing(frame, tables, settings, packet, Found { direction: Direction::Reply, ..found })
        }
    }
}

/// A packet of a connection that is there.
#[inline(always)]
fn standing<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    found: Found,
) -> Option<Next> {
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
    let is_partial = partial::is_partial(frame, packet).ok()?;
    let index = connection.backend_index;
    let place = &mut connection.expires;
    let hop = match found.direction {
        Direction::Forward => &mut connection.to_backend,
        Direction::Reply => &mut connection.to_client,
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
    // It takes a loop to complete a checksum, and that takes stack.
    if is_partial {
        let tracked = Tracked { slot: found.slot, direction: found.direction }.code();
        *tables.packet()? = Packet { tracked, ..*packet };
        return Some(Next::Stage(Stage::Send));
    }
    let sent = match method {
        NAT => nat::send(frame, packet, &after, hop),
        _ => route::send(frame, packet, hop),
    };
    Some(Next::End(sent.into()))
}

/// A client's first packet, as a rule. Where it does no harm to choose a backend in vain, the index is only looked
/// into afterwards, so that there is but one wait for both buckets of a new connection.
#[inline(always)]
fn first<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> Option<Next> {
    let (mut next, position) = foreign(tables, settings, packet);
    let mut bits = packet.bits;
    if next == OPENS
        && let Some(service) = tables.record(position)
    {
        if accept::takes(settings, service, packet) {
            next = Some(Next::Stage(Stage::Accept));
        }
        if schedule::is_without_trace(service) {
            bits |= bits::UNSOUGHT;
        }
    }
    if bits & bits::UNSOUGHT == 0
        && index::find(tables, &packet.flow, index::hash(&packet.flow, settings)).is_some()
    {
        return None;
    }
    if let Some(Next::Stage(_)) = next {
        *tables.packet()? = Packet { service: position, bits, ..*packet };
    }
    next
}

/// What [`foreign`] says of a packet that may open a connection.
const OPENS: Option<Next> = Some(Next::Stage(Stage::Open));

/// What becomes of a packet without a connection: most often it is none of ours, or opens one. Then the second number
/// is the place of the service's record.
#[inline(always)]
fn foreign<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> (Option<Next>, u32) {
    if settings.sysctl(Sysctl::NatIcmpSend) != 0 {
        return (None, 0);
    }
    if !may_open(settings, packet) {
        return (Some(Next::End(Outcome::of(Reason::MidStream))), 0);
    }
    // A firewall mark may make it a service's, whatever its port.
    if packet.mark != 0 || settings.marks() != 0 {
        return (None, 0);
    }
    match remembered(tables, settings, &key(&packet.flow)) {
        Some(service) => (OPENS, service),
        // As may a service for more ports than one.
        None if settings.catch_all != 0 => (None, 0),
        None => (Some(Next::End(Outcome::of(Reason::NotBalanced))), 0),
    }
}
