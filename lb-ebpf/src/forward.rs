//! How a packet reaches its backend, and its reply the client: one file for each method.

pub mod nat;
pub mod partial;
pub mod plain;
pub mod route;
pub mod toa;
pub mod tunnel;

use crate::{Frame, Outcome, Reason, Steps, connection::Tracked, nexthop::Exit, packet::Packet};
use lb_common::{backend::method, bucket::Direction, protocol};

/// Sends a packet of a connection on by the connection's method.
#[inline(always)]
pub fn forward<F: Frame, T: Steps>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    exit: Exit,
) -> Outcome {
    try_forward(frame, tables, packet, tracked, exit).into()
}

#[inline(always)]
fn try_forward<F: Frame, T: Steps>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    tracked: Tracked,
    exit: Exit,
) -> Result<Outcome, Reason> {
    let connection = tables.connection(tracked.slot).ok_or(Reason::Raced)?;
    if packet.ttl <= 1 {
        return Err(match tracked.direction {
            // RFC 1122 §3.2.2: no error about an error.
            _ if packet.is_icmp() => Reason::IcmpTtlExpired,
            // As with IPVS, whose hook for replies comes after the kernel's own check. The host would take a
            // reply by full NAT, which is for its address.
            Direction::Reply if !connection.is_full_nat() => Reason::ReplyTtlExpired,
            _ => Reason::TtlExpired,
        });
    }
    let exit = match exit {
        Ok(()) if partial::is_open_sctp(frame, packet) && !frame.keeps_buffer() => {
            Err(Reason::KernelChecksum)
        }
        exit => exit,
    };
    match connection.method() {
        method::ROUTE => route::forward(frame, packet, connection, exit),
        method::TUNNEL => tunnel::forward(frame, tables, packet, connection, exit),
        _ => nat::forward(frame, tables, packet, connection, tracked.direction, exit),
    }
}

/// Whether a packet carries the checksum of TCP or UDP.
#[inline(always)]
fn has_checksum(packet: &Packet) -> bool {
    packet.has_transport() && matches!(packet.flow.protocol as u8, protocol::TCP | protocol::UDP)
}
