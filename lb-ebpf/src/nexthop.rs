//! Where a packet leaves: the kernel's route, remembered in the connection.
//!
//! Asking the kernel costs more than everything else that a packet needs, so its answer is kept and
//! asked for again when it is [`FRESH`] no longer. A changed route or neighbour heals by that.

use crate::{
    Frame, Reason, Route, Steps, Tables,
    connection::Tracked,
    packet::Packet,
    wire::{
        ethernet::Ethernet,
        tcp::{Tcp, flags::ACK},
    },
};
use lb_common::{
    address::Address,
    backend::method,
    bucket::Direction,
    connection::{Connection, NextHop, exit},
    device,
};

/// Ticks for which an answer counts: half a second.
pub const FRESH: u32 = 30;

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
    if !is_fresh(hop, now) {
        return tables.refresh(frame, packet, tracked, now);
    }
    if hop.exit == exit::KERNEL { Err(Reason::KernelDevice) } else { Ok(()) }
}

/// Whether a next hop is known, and since when it still counts.
#[inline(always)]
pub fn is_fresh(hop: &NextHop, now: u32) -> bool {
    hop.interface != 0 && now.wrapping_sub(hop.checked) < FRESH
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
        Direction::Forward => (connection.client, connection.backend),
        Direction::Reply => (connection.service, connection.client),
    };
    let method = connection.method();
    let index = connection.backend_index;
    let hop = hop(connection, tracked.direction);
    match tables.route(frame.interface(), source, destination, packet.flow.protocol as u8) {
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
            hop.checked = now;
            if hop.exit == exit::KERNEL {
                Err(Reason::KernelDevice)
            } else if may_be_lost(frame, packet, method) && tables.is_probe_due(interface, destination) {
                Err(Reason::KernelProbe)
            } else {
                Ok(())
            }
        }
        Route::NoNeighbour { interface, address } => {
            if method == method::TUNNEL {
                set_source(tables, index, interface, address);
            }
            hop.interface = 0;
            Err(Reason::KernelNeighbour)
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
    if interface == frame.interface() && (flags & device::flags::TRANSMIT != 0 || frame.keeps_buffer()) {
        exit::TRANSMIT
    } else if flags & device::flags::REDIRECT != 0 || frame.keeps_buffer() {
        // Generic XDP hands a whole socket buffer to the interface: every interface takes that.
        exit::REDIRECT
    } else {
        exit::KERNEL
    }
}

/// Puts the next hop's addresses into the frame.
#[inline(always)]
pub fn address_frame<F: Frame>(frame: &mut F, hop: &NextHop) -> Result<(), Reason> {
    let header: Ethernet = frame.load(0).ok_or(Reason::RewriteFailed)?;
    frame.store(
        0,
        Ethernet { destination: words(hop.destination), source: words(hop.source), kind: header.kind },
    )
}

#[inline(always)]
fn words(mac: [u8; 6]) -> [u16; 3] {
    bytemuck::cast(mac)
}
