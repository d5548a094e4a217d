//! Tunnels (`-i`): the packet goes to the backend inside another (`ip_vs_tunnel_xmit`). The backend has
//! the service's address too, unwraps the packet, and answers the client by itself.

use super::{partial, route};
use crate::{
    Frame, Outcome, Reason, Tables, checksum, index,
    nexthop::{self, Exit},
    packet::{Packet, bits},
    wire::{
        ethernet::{self, Ethernet, Tag},
        gre::{self, Gre},
        gue::{self, Gue, RemoteChecksum},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        tcp,
        udp::{self, Udp},
    },
};
use bytemuck::Zeroable;
use lb_common::{
    address::Address,
    connection::Connection,
    protocol,
    tunnel::{Tunnel, flags, kind},
};

/// Wraps a client's packet, and decides how it leaves.
#[inline(always)]
pub fn forward<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    connection: &Connection,
    mut exit: Exit,
) -> Result<Outcome, Reason> {
    let backend = tables.backend(connection.backend_index).ok_or(Reason::Raced)?;
    if backend.source == Address::UNSPECIFIED {
        return Err(Reason::TunnelSource);
    }
    let hop = &connection.to_backend;
    let mut wrapping = Wrapping {
        tunnel: backend.tunnel,
        source: backend.source,
        destination: connection.backend,
        port: source_port(tables, packet),
        identification: tables.random() as u16,
        ttl: packet.ttl.wrapping_sub(1),
        is_remote: false,
        is_kept: false,
    };
    let mtu = (hop.mtu as u32).saturating_sub(wrapping.length());
    if hop.interface != 0 && !nexthop::fits_in(frame, packet, mtu) {
        exit = Err(Reason::KernelFragment);
        if packet.bits & bits::DONT_FRAGMENT != 0 && !packet.is_icmp() && frame.segment().is_some() {
            return Ok(Outcome { reason: Reason::TooBig, detail: mtu });
        }
    }
    if packet.is_tagged() || frame.has_tag() {
        exit = Err(Reason::KernelVlan);
    }
    if partial::is_partial(frame, packet)? {
        wrapping.is_kept = exit.is_err() || frame.keeps_buffer();
        wrapping.is_remote = wrapping.may_be_remote()
            && packet.length() + wrapping.length() + gue::REMOTE_CHECKSUM_LENGTH as u32 <= hop.mtu as u32;
        if !wrapping.is_kept && !wrapping.is_remote {
            partial::complete(frame, packet, &packet.flow, false)?;
        }
    }
    if exit.is_err() {
        // The kernel takes the TTL of what it forwards down itself.
        wrapping.ttl = packet.ttl;
    }
    wrapping.wrap(frame, packet)?;
    exit?;
    nexthop::address_frame(frame, hop)?;
    Ok(nexthop::leave(hop))
}

/// The source port of GUE: of the dynamic range (RFC 6335 §6), and the same for all packets of a flow.
#[inline(always)]
fn source_port<T: Tables>(tables: &T, packet: &Packet) -> u16 {
    let hash = tables.settings().map_or(0, |settings| index::hash(&packet.flow, settings));
    (0xc000 | (hash >> 48) as u16 & 0x3fff).to_be()
}

/// What is put around a packet.
struct Wrapping {
    tunnel: Tunnel,
    source: Address,
    destination: Address,
    /// Source port of GUE, network order.
    port: u16,
    /// For an IPv4 packet that may be fragmented.
    identification: u16,
    /// TTL or hop limit of the outer header.
    ttl: u8,
    /// Whether the far end completes the packet's checksum.
    is_remote: bool,
    /// Whether the kernel completes the packet's checksum after us.
    is_kept: bool,
}

impl Wrapping {
    /// Bytes of everything that is put in front.
    #[inline(always)]
    fn length(&self) -> u32 {
        let network = if self.destination.is_ipv4() { ipv4::LENGTH } else { ipv6::LENGTH };
        (network + self.inner_length()) as u32
    }

    /// Bytes of what is between the two IP headers.
    #[inline(always)]
    fn inner_length(&self) -> usize {
        match self.tunnel.kind {
            kind::GUE if self.is_remote => udp::LENGTH + gue::LENGTH + gue::REMOTE_CHECKSUM_LENGTH,
            kind::GUE => udp::LENGTH + gue::LENGTH,
            kind::GRE if self.tunnel.flags & flags::CSUM != 0 => gre::LENGTH + gre::CHECKSUM_LENGTH,
            kind::GRE => gre::LENGTH,
            _ => 0,
        }
    }

    #[inline(always)]
    fn may_be_remote(&self) -> bool {
        self.tunnel.kind == kind::GUE && self.tunnel.flags & flags::REMCSUM != 0 && !self.is_kept
    }

    /// Puts everything in front of the packet, whose TTL it takes down first.
    #[inline(always)]
    fn wrap<F: Frame>(&self, frame: &mut F, packet: &Packet) -> Result<(), Reason> {
        route::decrement(frame, packet)?;
        let service = service(frame, packet)?;
        let kind = if self.destination.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
        grow(frame, packet, self.length() as usize, kind, self.tunnel.kind)?;

        let network = packet.network as usize;
        let end = packet.end as usize + self.length() as usize;
        let length = self.inner_length() + packet.length() as usize;
        let inner = if packet.is_ipv4() { protocol::IPIP } else { protocol::IPV6 };
        let outer = match self.tunnel.kind {
            kind::GUE => protocol::UDP,
            kind::GRE => protocol::GRE,
            _ => inner,
        };
        let transport = if self.destination.is_ipv4() {
            let keeps = packet.is_ipv4() && packet.bits & bits::DONT_FRAGMENT != 0;
            let header = Ipv4 {
                version_length: 0x45,
                service,
                length: ((ipv4::LENGTH + length) as u16).to_be(),
                identification: if keeps { 0 } else { self.identification },
                fragment: if keeps { ipv4::DONT_FRAGMENT } else { 0 },
                ttl: self.ttl,
                protocol: outer,
                checksum: 0,
                source: self.source.ipv4(),
                destination: self.destination.ipv4(),
            };
            frame.store(network, header.summed())?;
            network + ipv4::LENGTH
        } else {
            let header = Ipv6 {
                version_flow: (0x6000_0000 | (service as u32) << 20).to_be(),
                length: (length as u16).to_be(),
                next: outer,
                hop_limit: self.ttl,
                source: bytemuck::cast(self.source.words),
                destination: bytemuck::cast(self.destination.words),
            };
            frame.store(network, header)?;
            network + ipv6::LENGTH
        };
        match self.tunnel.kind {
            kind::GUE => self.gue(frame, packet, transport, end, inner),
            kind::GRE => self.gre(frame, packet, transport, end),
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn gue<F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
        at: usize,
        end: usize,
        inner: u8,
    ) -> Result<(), Reason> {
        let length = (end - at) as u32;
        let header = Udp {
            source: self.port,
            destination: self.tunnel.port,
            length: (length as u16).to_be(),
            checksum: 0,
        };
        let words = if self.is_remote { gue::REMOTE_CHECKSUM_LENGTH / 4 } else { 0 };
        let flags = if self.is_remote { gue::PRIVATE } else { 0 };
        frame.store(at, header)?;
        frame.store(at + udp::LENGTH, Gue { length: words as u8, protocol: inner, flags })?;
        if self.is_remote {
            let start = packet.transport - packet.network;
            let offset =
                if packet.flow.protocol as u8 == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
            let option = RemoteChecksum {
                flags: gue::REMOTE_CHECKSUM,
                start: (start as u16).to_be(),
                place: (start as u16 + offset as u16).to_be(),
            };
            frame.store(at + udp::LENGTH + gue::LENGTH, option)?;
        }
        if self.tunnel.flags & (flags::CSUM | flags::REMCSUM) == 0 {
            return Ok(());
        }
        let pseudo = checksum::pseudo_header(self.source, self.destination, protocol::UDP as u32, length);
        let sum = self.sum(frame, packet, at, end, pseudo)?;
        frame.store(at + udp::CHECKSUM, if sum == 0 { 0xffff } else { sum })
    }

    #[inline(always)]
    fn gre<F: Frame>(&self, frame: &mut F, packet: &Packet, at: usize, end: usize) -> Result<(), Reason> {
        let kind = if packet.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
        if self.tunnel.flags & flags::CSUM == 0 {
            return frame.store(at, Gre { flags: 0, kind });
        }
        frame.store(at, Gre { flags: gre::CHECKSUM_PRESENT, kind })?;
        frame.store(at + gre::LENGTH, 0u32)?;
        let sum = self.sum(frame, packet, at, end, 0)?;
        frame.store(at + gre::LENGTH, sum)
    }

    /// The checksum of everything from `at` on, with `start` added. A checksum in there that the kernel
    /// will complete makes the segment that it covers sum up to the complement of its pseudo-header.
    #[inline(always)]
    fn sum<F: Frame>(
        &self,
        frame: &F,
        packet: &Packet,
        at: usize,
        end: usize,
        start: u64,
    ) -> Result<u16, Reason> {
        let (end, start) = match self.is_kept {
            true => {
                let open = partial::pseudo_header(packet, &packet.flow);
                let transport = packet.transport as usize + self.length() as usize;
                (transport, start + (!checksum::fold(open)) as u64)
            }
            false => (end, start),
        };
        checksum::of_frame(frame, at, end, start).ok_or(Reason::RewriteFailed)
    }
}

/// DSCP and ECN of the outer header (RFC 3168 §9.1.1, full functionality): those of the packet, but
/// that the mark of congestion is not taken along.
#[inline(always)]
fn service<F: Frame>(frame: &F, packet: &Packet) -> Result<u8, Reason> {
    const MASK: u8 = 0b11;
    const CONGESTION: u8 = 0b11;
    const CAPABLE: u8 = 0b10;
    let network = packet.network as usize;
    let service = if packet.is_ipv4() {
        let header: Ipv4 = frame.load(network).ok_or(Reason::RewriteFailed)?;
        header.service
    } else {
        let header: Ipv6 = frame.load(network).ok_or(Reason::RewriteFailed)?;
        (u32::from_be(header.version_flow) >> 20) as u8
    };
    Ok(if service & MASK == CONGESTION { service & !MASK | CAPABLE } else { service })
}

/// Makes room for `bytes` in front of the IP packet: those of a tunnel, with an outer header of `kind`.
#[inline(always)]
fn grow<F: Frame>(frame: &mut F, packet: &Packet, bytes: usize, kind: u16, tunnel: u8) -> Result<(), Reason> {
    let network = packet.network as usize;
    let mut link: Ethernet = frame.load(0).ok_or(Reason::RewriteFailed)?;
    let mut tags: [Tag; 2] = [
        frame.load(ethernet::LENGTH).unwrap_or(Tag::zeroed()),
        frame.load(ethernet::LENGTH + ethernet::TAG_LENGTH).unwrap_or(Tag::zeroed()),
    ];
    match network {
        ethernet::LENGTH => link.kind = kind,
        18 => tags[0].kind = kind,
        _ => tags[1].kind = kind,
    }
    frame.encapsulate(bytes, kind == ethernet::IPV4, tunnel)?;
    frame.store(0, link)?;
    if network > ethernet::LENGTH {
        frame.store(ethernet::LENGTH, tags[0])?;
    }
    if network > ethernet::LENGTH + ethernet::TAG_LENGTH {
        frame.store(ethernet::LENGTH + ethernet::TAG_LENGTH, tags[1])?;
    }
    Ok(())
}
