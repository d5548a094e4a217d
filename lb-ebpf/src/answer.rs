//! ICMP and ICMPv6 errors that the balancer itself sends, in the service's name (RFC 792, RFC 4443,
//! RFC 1191).

use crate::{
    Frame, Outcome, Reason, Tables, checksum,
    packet::Packet,
    wire::{
        ethernet::{self, Ethernet, Tag},
        icmp::{self, Icmp},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
    },
};
use bytemuck::Zeroable;
use lb_common::{device, protocol};

/// What is wrong with the packet.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody can serve it: port unreachable.
    Unreachable = 0,
    /// The TTL or hop limit ends here.
    TimeExceeded = 1,
    /// It is larger than what the way to the backend takes.
    TooBig = 2,
    /// The way to the backend ends at somebody who does not answer: host or address unreachable.
    HostUnreachable = 3,
    /// Nobody has asked for it: port unreachable.
    Unasked = 4,
}

impl Answer {
    /// The answer that a reason calls for.
    #[inline(always)]
    pub const fn to(reason: Reason) -> Option<Self> {
        match reason {
            Reason::NoBackend => Some(Self::Unreachable),
            Reason::TtlExpired => Some(Self::TimeExceeded),
            Reason::TooBig => Some(Self::TooBig),
            Reason::NeighbourSilent => Some(Self::HostUnreachable),
            Reason::Unasked => Some(Self::Unasked),
            _ => None,
        }
    }

    /// The answer of a number.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Unreachable,
            1 => Self::TimeExceeded,
            2 => Self::TooBig,
            3 => Self::HostUnreachable,
            _ => Self::Unasked,
        }
    }

    /// Type and code in ICMP and in ICMPv6.
    #[inline(always)]
    const fn kind(self, is_ipv4: bool) -> (u8, u8) {
        match (self, is_ipv4) {
            (Self::Unreachable | Self::Unasked, true) => (icmp::v4::UNREACHABLE, icmp::v4::PORT),
            (Self::Unreachable | Self::Unasked, false) => (icmp::v6::UNREACHABLE, icmp::v6::PORT),
            (Self::TimeExceeded, true) => (icmp::v4::TIME_EXCEEDED, 0),
            (Self::TimeExceeded, false) => (icmp::v6::TIME_EXCEEDED, 0),
            (Self::TooBig, true) => (icmp::v4::UNREACHABLE, icmp::v4::FRAGMENTATION_NEEDED),
            (Self::TooBig, false) => (icmp::v6::TOO_BIG, 0),
            (Self::HostUnreachable, true) => (icmp::v4::UNREACHABLE, icmp::v4::HOST),
            (Self::HostUnreachable, false) => (icmp::v6::UNREACHABLE, icmp::v6::ADDRESS),
        }
    }

    /// The reason when the answer is sent, and when none may be.
    #[inline(always)]
    const fn reasons(self) -> (Reason, Reason) {
        match self {
            Self::Unreachable => (Reason::AnsweredUnreachable, Reason::NoBackend),
            Self::TimeExceeded => (Reason::AnsweredTimeExceeded, Reason::TtlExpired),
            Self::TooBig => (Reason::AnsweredTooBig, Reason::TooBig),
            Self::HostUnreachable => (Reason::AnsweredHostUnreachable, Reason::NeighbourSilent),
            Self::Unasked => (Reason::AnsweredUnasked, Reason::Unasked),
        }
    }
}

/// TTL or hop limit of what we send.
pub const TTL: u8 = 64;

/// The longest ICMP error (RFC 1812 §4.3.2.3) and the longest ICMPv6 error (RFC 4443 §2.4).
const LONGEST: [usize; 2] = [576, 1280];

/// Turns the frame into the error about it. `mtu` counts for [`Answer::TooBig`] alone.
#[inline(always)]
pub fn send<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    answer: Answer,
    mtu: u32,
) -> Outcome {
    // RFC 1122 §3.2.2: never about a later fragment.
    if packet.is_later_fragment() {
        return Outcome::of(answer.reasons().1);
    }
    if !tables.may_answer() {
        return Outcome::of(Reason::AnswerLimited);
    }
    build(frame, tables, packet, answer, mtu).into()
}

#[inline(always)]
fn build<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    answer: Answer,
    mtu: u32,
) -> Result<Outcome, Reason> {
    let added = icmp::LENGTH + if packet.is_ipv4() { ipv4::LENGTH } else { ipv6::LENGTH };
    let longest = if packet.is_ipv4() { LONGEST[0] } else { LONGEST[1] };
    let length = (added + packet.length() as usize).min(longest);
    let network = packet.network as usize;

    let outer: Ethernet = frame.load(0).ok_or(Reason::RewriteFailed)?;
    let tags: [Tag; 2] = [
        frame.load(ethernet::LENGTH).unwrap_or(Tag::zeroed()),
        frame.load(ethernet::LENGTH + ethernet::TAG_LENGTH).unwrap_or(Tag::zeroed()),
    ];
    // In this order, because a packet that is cut up where it leaves (GSO) is none any more once it is cut.
    frame.truncate(network + length - added)?;
    frame.grow(added)?;
    let interface = frame.interface();
    let flags = tables.device(interface).map_or(0, |device| device.flags);
    let transmit = flags & device::flags::TRANSMIT != 0 || frame.keeps_buffer();
    // A tag that was taken off before XDP saw the frame only comes back if the kernel routes.
    let loses_tag = flags & device::flags::VLANS != 0 && !frame.keeps_buffer();
    let sent = !loses_tag && (transmit || flags & device::flags::REDIRECT != 0);
    // Sent, it goes back where it came from. Passed, it must be for this host, which routes it.
    let header = match sent {
        true => Ethernet { destination: outer.source, source: outer.destination, kind: outer.kind },
        false => outer,
    };
    frame.store(0, header)?;
    if network > ethernet::LENGTH {
        frame.store(ethernet::LENGTH, tags[0])?;
    }
    if network > ethernet::LENGTH + ethernet::TAG_LENGTH {
        frame.store(ethernet::LENGTH + ethernet::TAG_LENGTH, tags[1])?;
    }
    let (kind, code) = answer.kind(packet.is_ipv4());
    // The kernel routes what it is left, and takes one off.
    let ttl = if sent { TTL } else { TTL + 1 };
    write(frame, packet, Icmp { kind, code, checksum: 0, detail: mtu.to_be() }, ttl, length)?;
    let reason = answer.reasons().0;
    Ok(match (sent, transmit) {
        (false, _) => Outcome::of(Reason::AnsweredKernel),
        (true, true) => Outcome::of(reason),
        (true, false) => Outcome { reason, detail: interface },
    })
}

/// Writes the headers of an ICMP message from a packet's destination to its source, where the packet's
/// own IP header was. What follows them is its data; `length` is that of the IP packet.
#[inline(always)]
pub fn write<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    header: Icmp,
    ttl: u8,
    length: usize,
) -> Result<(), Reason> {
    match packet.is_ipv4() {
        true => write_ipv4(frame, packet, header, ttl, length),
        false => write_ipv6(frame, packet, header, ttl, length),
    }
}

#[inline(always)]
fn write_ipv4<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    error: Icmp,
    ttl: u8,
    length: usize,
) -> Result<(), Reason> {
    let header = Ipv4 {
        version_length: 0x45,
        // RFC 1812 §4.3.2.5: precedence 6, internetwork control.
        service: 0xc0,
        length: (length as u16).to_be(),
        identification: 0,
        fragment: 0,
        ttl,
        protocol: protocol::ICMP,
        checksum: 0,
        source: packet.flow.destination.ipv4(),
        destination: packet.flow.source.ipv4(),
    };
    frame.store(packet.network as usize, header.summed())?;
    write_icmp(frame, packet.network as usize + ipv4::LENGTH, packet.network as usize + length, error, 0)
}

#[inline(always)]
fn write_ipv6<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    error: Icmp,
    ttl: u8,
    length: usize,
) -> Result<(), Reason> {
    let payload = length - ipv6::LENGTH;
    let (source, destination) = (packet.flow.destination, packet.flow.source);
    let header = Ipv6 {
        version_flow: 0x6000_0000u32.to_be(),
        length: (payload as u16).to_be(),
        next: protocol::ICMPV6,
        hop_limit: ttl,
        source: bytemuck::cast(source.words),
        destination: bytemuck::cast(destination.words),
    };
    frame.store(packet.network as usize, header)?;
    let pseudo = checksum::pseudo_header(source, destination, protocol::ICMPV6 as u32, payload as u32);
    write_icmp(frame, packet.network as usize + ipv6::LENGTH, packet.network as usize + length, error, pseudo)
}

#[inline(always)]
fn write_icmp<F: Frame>(
    frame: &mut F,
    at: usize,
    end: usize,
    header: Icmp,
    start: u64,
) -> Result<(), Reason> {
    frame.store(at, header)?;
    let checksum = checksum::of_frame(frame, at, end, start).ok_or(Reason::RewriteFailed)?;
    frame.store(at + icmp::CHECKSUM, checksum)
}
