//! Transport checksums that a sender on the same machine has left to a network card that there is not:
//! the field holds the sum of the pseudo-header, or, for SCTP, zero.

use super::has_checksum;
use crate::{
    Frame, Reason, checksum,
    packet::{Flow, Packet},
    wire::{sctp, tcp, udp},
};
use lb_common::protocol;

/// Where the transport checksum lies.
#[inline(always)]
pub fn place(packet: &Packet) -> usize {
    let offset = if packet.flow.protocol as u8 == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
    packet.transport as usize + offset
}

/// The sum of a packet's pseudo-header, once its flow is `flow`.
#[inline(always)]
pub fn pseudo_header(packet: &Packet, flow: &Flow) -> u64 {
    checksum::pseudo_header(flow.source, flow.destination, flow.protocol, packet.end - packet.transport)
}

/// Whether the transport checksum is the bare sum of the pseudo-header. One complete checksum in
/// 65,536 looks the same; for it `complete` computes what it was, unless the packet goes to the kernel.
#[inline(always)]
pub fn is_partial<F: Frame>(frame: &F, packet: &Packet) -> Result<bool, Reason> {
    if frame.may_be_partial() { is_bare(frame, packet) } else { Ok(false) }
}

/// Whether the field holds the bare sum of the pseudo-header, by chance or because the checksum is partial.
#[inline(always)]
pub fn is_bare<F: Frame>(frame: &F, packet: &Packet) -> Result<bool, Reason> {
    if !packet.is_whole() || !has_checksum(packet) {
        return Ok(false);
    }
    let present: u16 = frame.load(place(packet)).ok_or(Reason::RewriteFailed)?;
    Ok(checksum::is_fold(pseudo_header(packet, &packet.flow), present))
}

/// Whether the CRC of an SCTP packet is left open. XDP does not complete it: the kernel has to send the
/// packet.
#[inline(always)]
pub fn is_open_sctp<F: Frame>(frame: &F, packet: &Packet) -> bool {
    frame.may_be_partial()
        && packet.flow.protocol as u8 == protocol::SCTP
        && packet.is_whole()
        && frame.load::<u32>(packet.transport as usize + sctp::CHECKSUM) == Some(0)
}

/// Stores a partial checksum as it belongs to a packet whose flow is `flow`: completed, or, where the
/// kernel's socket buffer is `kept` and knows that it is partial, still so. The ports lie there already.
#[inline(always)]
pub fn complete<F: Frame>(frame: &mut F, packet: &Packet, flow: &Flow, kept: bool) -> Result<(), Reason> {
    let place = place(packet);
    let sum = pseudo_header(packet, flow);
    if kept {
        return frame.store(place, checksum::fold(sum));
    }
    frame.store(place, 0u16)?;
    let new = checksum::of_frame(frame, packet.transport as usize, packet.end as usize, sum)
        .ok_or(Reason::RewriteFailed)?;
    frame.store(place, if packet.flow.protocol as u8 == protocol::UDP { checksum::of_udp(new) } else { new })
}
