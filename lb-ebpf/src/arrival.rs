//! Whether a frame was meant for this machine. A switch floods frames whose receiver it has not learned, and
//! of a pair of balancers with the same services the passive one must not act on those of the active one.
//!
//! The kernel knows the receiver's address only of the interface itself, and a table of addresses would be stale
//! after a change. So the question is asked the other way round: would an answer to this packet leave by
//! the interface that it came in by, and under the address that the frame was sent to?

use crate::{Frame, Reason, Route, Tables, nexthop::FRESH, packet::Packet};

/// The last address on an interface that turned out to be this machine's, for one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Arrival {
    /// The interface.
    pub interface: u32,
    /// Tick at which it was found out.
    pub checked: u32,
    /// The address; the last two bytes are always 0.
    pub mac: u64,
}

/// Interfaces for which an address is remembered at the same time.
pub const ARRIVALS: u32 = 16;
/// What the addresses of virtual routers begin with (RFC 5798 §7.3); the fifth byte is 1 or 2. They may lie
/// on a device of their own above this one.
const VIRTUAL_ROUTER: [u8; 4] = [0x00, 0x00, 0x5e, 0x00];

/// The address of such a router, for packets that need one and have none.
pub const ROUTER: [u16; 3] = [0x0000u16.to_be(), 0x5e00u16.to_be(), 0x0100u16.to_be()];

/// Whether the answer is remembered that a frame was meant for this machine.
#[inline(always)]
pub fn is_known<F: Frame, T: Tables>(frame: &F, tables: &T, now: u32) -> bool {
    receiver(frame).is_some_and(|mac| {
        let interface = frame.interface();
        tables.arrival(interface).is_some_and(|place| place.is_for(interface, mac, now))
    })
}

/// [`Reason::OtherMachine`] for a frame that a switch flooded. Where an answer would leave by another
/// interface (a bridge above this one, a second way to the client) nobody can tell, and it counts as ours.
#[inline(always)]
pub fn check<F: Frame, T: Tables>(frame: &F, tables: &T, packet: &Packet, now: u32) -> Result<(), Reason> {
    let (interface, mac) = (frame.interface(), receiver(frame).ok_or(Reason::TruncatedEthernet)?);
    let place = tables.arrival(interface).ok_or(Reason::Raced)?;
    if place.is_for(interface, mac, now) {
        return Ok(());
    }
    let flow = &packet.flow;
    match tables.route(interface, flow.destination, flow.source, flow.protocol as u8) {
        Route::Hop { interface: exit, source, .. }
            if exit == interface && source != octets(mac) && !is_virtual_router(octets(mac)) =>
        {
            Err(Reason::OtherMachine)
        }
        _ => {
            *place = Arrival { interface, checked: now, mac };
            Ok(())
        }
    }
}

impl Arrival {
    #[inline(always)]
    fn is_for(&self, interface: u32, mac: u64, now: u32) -> bool {
        self.interface == interface && self.mac == mac && now.wrapping_sub(self.checked) < FRESH
    }
}

/// The address that a frame was sent to.
#[inline(always)]
fn receiver<F: Frame>(frame: &F) -> Option<u64> {
    // The first eight bytes of the header, all at once.
    Some(frame.load::<u64>(0)? & u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]))
}

#[inline(always)]
fn octets(mac: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = mac.to_ne_bytes();
    [a, b, c, d, e, f]
}

#[inline(always)]
fn is_virtual_router(mac: [u8; 6]) -> bool {
    let [a, b, c, d, kind, _] = mac;
    [a, b, c, d] == VIRTUAL_ROUTER && matches!(kind, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_a_virtual_one() {
        assert!(is_virtual_router(bytemuck::cast(ROUTER)));
    }
}
