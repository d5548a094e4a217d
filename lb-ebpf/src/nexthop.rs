//! Where a packet leaves: the kernel's route, remembered in the connection.
//!
//! Asking the kernel costs more than everything else that a packet needs, so its answer is kept, and
//! asked for again when it is [`FRESH`] no longer. A changed route or neighbour heals by that.
//!
//! With many connections that would still be a question for every few packets. So they vouch for each
//! other: an answer stays good while another connection got the same one a short time ago. As soon as
//! one hears something else, all that send by the same neighbour ask for themselves; and each does
//! after [`LASTING`], because the change may concern it alone. Each looks once a tick whether another vouches for it.

pub mod heard;
mod silence;
mod vouched;

use crate::{
    Frame, Outcome, Reason, Route, Steps, Tables,
    connection::Tracked,
    packet::Packet,
    snat,
    wire::{
        tcp::{Tcp, flags::ACK},
        udp::Udp,
    },
};
use core::mem::offset_of;
use lb_common::{
    address::Address,
    backend::method,
    bucket::Direction,
    connection::{Connection, NextHop, exit},
    device,
    neighbour::Neighbour,
    protocol,
};

pub use heard::{HEARD, Heard};

/// Ticks for which an answer counts: half a second.
pub const FRESH: u32 = 30;
/// Ticks for which it counts at most, whatever others hear: five seconds.
pub const LASTING: u32 = 298;

/// Whether XDP can send a packet by the next hop of its connection; if not, why the kernel has to
/// forward it.
pub type Exit = Result<(), Reason>;

/// Makes sure that the next hop of a packet's connection is known.
#[inline(always)]
pub fn resolve<F: Frame, T: Steps>(
    frame: &F,
    tables: &T,
    tracked: Tracked,
    packet: &Packet,
    now: u32,
) -> Exit {
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    match (connection.method(), tracked.direction) {
        (method::NAT, _) | (method::ROUTE | method::TUNNEL, Direction::Forward) => {}
        (_, Direction::Forward) => return Err(Reason::LocalBackend),
        (_, Direction::Reply) => return Err(Reason::DirectReply),
    }
    let hop = hop(connection, tracked.direction);
    if !counts(frame, tables, hop, now) {
        return tables.refresh(frame, packet, tracked, now);
    }
    exit_by(hop)
}

/// Whether XDP can send by a next hop that is known.
#[inline(always)]
fn exit_by(hop: &NextHop) -> Exit {
    if hop.exit == exit::KERNEL { Err(Reason::KernelDevice) } else { Ok(()) }
}

/// Sends a rewritten packet by its next hop.
#[inline(always)]
pub fn leave(hop: &NextHop) -> Outcome {
    match hop.exit {
        exit::TRANSMIT => Outcome::of(Reason::Transmitted),
        _ => Outcome { reason: Reason::Redirected, detail: hop.interface },
    }
}

/// Whether a next hop is known, and still counts for a packet.
#[inline(always)]
pub fn counts<F: Frame, T: Tables>(frame: &F, tables: &T, hop: &mut NextHop, now: u32) -> bool {
    let age = hop.age(now);
    hop.interface != 0
        && (age < FRESH || age < LASTING && vouched::is_vouched(tables, hop, now))
        // The connection's packets may have begun to come in by another interface.
        && (hop.exit != exit::TRANSMIT || hop.interface == frame.interface())
}

#[inline(always)]
fn neighbour(hop: &NextHop) -> Neighbour {
    Neighbour { interface: hop.interface, mac: words(hop.destination), reserved: 0 }
}

/// Whether a packet, or each that the kernel makes of it where it leaves, fits the way to a next hop.
#[inline(always)]
pub fn fits<F: Frame>(frame: &F, packet: &Packet, hop: &NextHop) -> bool {
    fits_in(frame, packet, hop.mtu as u32)
}

/// The same for so many bytes.
#[inline(always)]
pub fn fits_in<F: Frame>(frame: &F, packet: &Packet, mtu: u32) -> bool {
    if packet.length() <= mtu {
        return true;
    }
    let Some(data @ 1..) = frame.segment() else { return false };
    let header = match packet.flow.protocol as u8 {
        protocol::TCP => match frame.load::<Tcp>(packet.transport as usize) {
            Some(header) => (header.length >> 4) as u32 * 4,
            None => return false,
        },
        _ => size_of::<Udp>() as u32,
    };
    packet.transport - packet.network + header + data <= mtu
}

/// The next hop of one direction.
#[inline(always)]
pub fn hop(connection: &mut Connection, direction: Direction) -> &mut NextHop {
    match direction {
        Direction::Forward => &mut connection.to_backend,
        Direction::Reply => &mut connection.to_client,
    }
}

/// Asks the kernel for the next hop.
#[inline(always)]
pub fn refresh<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    now: u32,
) -> Exit {
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    let (source, destination) = match tracked.direction {
        // The outer packet's own.
        Direction::Forward if connection.method() == method::TUNNEL => {
            (Address::UNSPECIFIED, connection.backend)
        }
        Direction::Forward => (snat::replies_to(tables, connection).0, connection.backend),
        Direction::Reply => (connection.service, connection.client),
    };
    let method = connection.method();
    let index = connection.backend_index;
    let hop = hop(connection, tracked.direction);
    let before = *hop;
    let asked = if tracked.direction == Direction::Forward { Address::UNSPECIFIED } else { source };
    let must_ask = match method {
        // The source of its packets comes with the answer.
        method::TUNNEL => true,
        // Else hardly one of the few that may make the kernel use the neighbour would come to it.
        method::ROUTE => may_be_lost(frame, packet, method),
        _ => false,
    };
    if !must_ask && let Some(known) = heard::recent(tables, asked, destination, frame.interface(), now) {
        heard::copy(known, hop);
        return exit_by(hop);
    }
    let known = match tables.route(frame.interface(), source, destination, packet.flow.protocol as u8) {
        Route::Hop { interface, destination, source, mtu, address } => {
            if method == method::TUNNEL {
                set_source(tables, index, interface, address);
            }
            let flags = tables.device(interface).map_or(0, |device| device.flags);
            hop.interface = interface;
            hop.destination = destination;
            hop.source = source;
            // Kernels that report no MTU with a route say 0.
            hop.mtu = if mtu == 0 { u16::MAX } else { mtu };
            // A socket buffer would take its VLAN tag, which XDP does not see, along to the other side.
            let arrival = tables.device(frame.interface()).map_or(0, |device| device.flags);
            hop.exit = match frame.keeps_buffer() && arrival & device::flags::VLANS != 0 {
                true => exit::KERNEL,
                false => exit_of(frame, interface, flags),
            };
            hop.ticks = NextHop::checked_at(now);
            Ok(())
        }
        Route::NoNeighbour { interface, address } => {
            if method == method::TUNNEL {
                set_source(tables, index, interface, address);
            }
            hop.interface = 0;
            let may_answer = tracked.direction == Direction::Forward && method != method::TUNNEL;
            Err(match may_answer && !packet.is_icmp() && silence::is_told(tables, destination, now) {
                true => Reason::NeighbourSilent,
                false => Reason::KernelNeighbour,
            })
        }
        Route::Host => {
            hop.interface = 0;
            Err(if method == method::NAT { Reason::KernelRoute } else { Reason::LocalBackend })
        }
        Route::Other => {
            if method == method::TUNNEL {
                set_source(tables, index, frame.interface(), Address::UNSPECIFIED);
            }
            hop.interface = 0;
            Err(Reason::KernelRoute)
        }
    };
    hop.generation = vouched::vouch(tables, &before, hop, now);
    known?;
    silence::end(tables, destination);
    if let Some(heard) = tables.heard(Heard::place(asked, destination)) {
        *heard = Heard { source: asked, destination, interface: frame.interface(), reserved: 0, hop: *hop };
    }
    exit_by(hop)?;
    if may_be_lost(frame, packet, method) && tables.is_probe_due(neighbour(hop)) {
        Err(Reason::KernelProbe)
    } else {
        Ok(())
    }
}

/// Remembers the source of the packets that are wrapped for a backend: what the route says, else an
/// address of the interface.
#[inline(always)]
fn set_source<T: Tables>(tables: &T, index: u32, interface: u32, address: Address) {
    let Some(backend) = tables.backend(index) else { return };
    let source = match tables.device(interface) {
        Some(device) if address == Address::UNSPECIFIED => device.source(backend.address.is_ipv4()),
        _ => address,
    };
    if backend.source != source {
        backend.source = source;
    }
}

/// Whether a packet may serve to make the kernel use the next hop. With direct routing it is lost by
/// that, so there it is an acknowledgement alone, which the next one makes up for.
#[inline(always)]
fn may_be_lost<F: Frame>(frame: &F, packet: &Packet, method: u32) -> bool {
    if method != method::ROUTE {
        return true;
    }
    let Some(header) = frame.load::<Tcp>(packet.transport as usize) else { return false };
    packet.tcp_flags == ACK
        && packet.is_whole()
        && packet.transport + (header.length >> 4) as u32 * 4 == packet.end
}

#[inline(always)]
fn exit_of<F: Frame>(frame: &F, interface: u32, flags: u32) -> u8 {
    if flags & device::flags::BARE != 0 {
        exit::KERNEL
    } else if interface == frame.interface() && (flags & device::flags::TRANSMIT != 0 || frame.keeps_buffer())
    {
        exit::TRANSMIT
    } else if flags & device::flags::REDIRECT != 0 || frame.keeps_buffer() {
        // Generic XDP hands a whole socket buffer to the interface: every interface takes that.
        exit::REDIRECT
    } else {
        exit::KERNEL
    }
}

/// Puts the next hop's addresses into the frame, which begins with them: twelve bytes, as they lie in the hop.
#[inline(always)]
pub fn address_frame<F: Frame>(frame: &mut F, hop: &NextHop) -> Result<(), Reason> {
    const FIRST: usize = offset_of!(NextHop, destination);
    let longs: &[u64; size_of::<NextHop>() / 8] = bytemuck::cast_ref(hop);
    let words: &[u32; size_of::<NextHop>() / 4] = bytemuck::cast_ref(hop);
    frame.store_even(0, longs[FIRST / 8])?;
    frame.store_even(8, words[(FIRST + 8) / 4])
}

const _: () = assert!(offset_of!(NextHop, source) == offset_of!(NextHop, destination) + 6);

#[inline(always)]
fn words(mac: [u8; 6]) -> [u16; 3] {
    bytemuck::cast(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostFrame, HostTables};
    use std::vec;

    #[test]
    fn a_frame_is_not_sent_back_by_an_interface_it_did_not_come_by() {
        let tables = HostTables::new(16, 16);
        let mut hop = NextHop { interface: 7, ticks: 1000, exit: exit::TRANSMIT, ..NextHop::default() };
        let mut frame = HostFrame::new(vec![]);
        assert!(!counts(&frame, &tables, &mut hop, 1000));
        frame.interface = 7;
        assert!(counts(&frame, &tables, &mut hop, 1000));
    }
}
