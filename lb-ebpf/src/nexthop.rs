//! Where a packet leaves: the kernel's route, remembered in the connection.
//!
//! Asking the kernel costs more than everything else that a packet needs, so its answer is kept and
//! asked for again when it is [`FRESH`] no longer. A changed route or neighbour heals by that.

use crate::{Frame, Reason, Route, Tables, packet::Packet, wire::ethernet::Ethernet};
use lb_common::{
    address::Address,
    connection::{NextHop, exit},
    device,
};

/// Ticks for which an answer counts: half a second.
pub const FRESH: u32 = 30;

/// How this packet leaves, by a next hop that may have to be looked up first.
///
/// `Err` says why the kernel has to forward the packet.
#[inline(always)]
pub fn resolve<F: Frame, T: Tables>(
    frame: &F,
    tables: &T,
    hop: &mut NextHop,
    source: Address,
    destination: Address,
    packet: &Packet,
    now: u32,
) -> Result<(), Reason> {
    if hop.interface != 0 && now.wrapping_sub(hop.checked) < FRESH {
        return if hop.exit == exit::KERNEL { Err(Reason::KernelDevice) } else { Ok(()) };
    }
    match tables.route(frame.interface(), source, destination, packet.flow.protocol as u8) {
        Route::Hop { interface, destination, source, mtu } => {
            let flags = tables.device(interface).map_or(0, |device| device.flags);
            hop.interface = interface;
            hop.destination = destination;
            hop.source = source;
            // Kernels that report no MTU with a route say 0.
            hop.mtu = if mtu == 0 { u16::MAX } else { mtu };
            hop.exit = exit_of(frame, interface, flags);
            hop.checked = now;
            if hop.exit == exit::KERNEL {
                Err(Reason::KernelDevice)
            } else if tables.is_probe_due(interface, destination) {
                Err(Reason::KernelProbe)
            } else {
                Ok(())
            }
        }
        Route::NoNeighbour => {
            hop.interface = 0;
            Err(Reason::KernelNeighbour)
        }
        Route::Other => {
            hop.interface = 0;
            Err(Reason::KernelRoute)
        }
    }
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
