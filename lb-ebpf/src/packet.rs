//! From bytes to what the packet path decides by.

use crate::{
    Frame, Reason, Tables, state,
    wire::{
        ethernet, ethernet::Ethernet, ethernet::Tag, ipv4, ipv4::Ipv4, ipv6, ipv6::Ipv6, sctp, sctp::Sctp,
        tcp, tcp::Tcp, udp::Udp,
    },
};
use bytemuck::{Pod, Zeroable};
use core::hint::black_box;
use lb_common::{
    address::Address,
    fragment::{FragmentKey, FragmentPorts},
    protocol,
};

/// What identifies the packets of one direction of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Flow {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, network order.
    pub source_port: u16,
    /// Destination port, network order.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u32,
}

/// An IP packet, parsed. Offsets are bytes from the start of the frame.
///
/// Plain data without padding: the parser is a function of its own in BPF, and fills this in place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Packet {
    /// Addresses, ports (0 where the protocol has none) and protocol.
    pub flow: Flow,
    /// Offset of the IP header.
    pub network: u32,
    /// Offset of the transport header.
    pub transport: u32,
    /// Offset of the end of the IP packet.
    pub end: u32,
    /// Index of the interface that it came in by.
    pub interface: u32,
    /// Its firewall mark, as far as the hook knows one; 0 for none.
    pub mark: u32,
    /// The record of the service that it may open a connection of, once that is found.
    pub service: u32,
    /// [`crate::connection::Tracked::code`] of its connection, once there is one.
    pub tracked: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// Of [`bits`].
    pub bits: u8,
    /// [`crate::state::sctp::Event`] of an SCTP packet's first chunk, [`NO_CHUNK`] if there is none; 0
    /// for other protocols.
    pub chunk: u8,
}

/// An SCTP packet whose first chunk is not there.
pub const NO_CHUNK: u8 = 0xff;

/// What a packet is.
pub mod bits {
    /// IPv4; else IPv6.
    pub const IPV4: u8 = 1;
    /// No router may fragment it.
    pub const DONT_FRAGMENT: u8 = 2;
    /// The first piece of a larger packet, with the transport header.
    pub const FIRST: u8 = 4;
    /// A later piece: no transport header.
    pub const LATER: u8 = 8;
    /// AH or ESP, which follow the connection of UDP port 500 between the same hosts: no transport header.
    pub const FOLLOWS: u8 = 16;
    /// Nobody has looked yet whether it has a connection.
    pub const UNSOUGHT: u8 = 32;
    /// An ICMP error that may open a connection (`schedule_icmp`): its flow is that of the client whose answer it
    /// quotes.
    pub const QUOTED: u8 = 64;
}

impl Packet {
    /// Clears everything, a word at a time: for a plain zero the compiler calls a `memset` that goes byte by byte.
    #[inline(always)]
    fn clear(&mut self) {
        let zero = black_box(0);
        let words: &mut [u64; size_of::<Self>() / 8] = bytemuck::cast_mut(self);
        words.iter_mut().for_each(|word| *word = zero);
    }

    /// Parses a frame. What is not understood is left to the host, with the reason.
    #[inline(always)]
    pub fn fill<F: Frame, T: Tables>(&mut self, frame: &F, tables: &T) -> Result<(), Reason> {
        self.clear();
        self.interface = frame.interface();
        self.mark = frame.mark();
        let header: Ethernet = frame.load(0).ok_or(Reason::TruncatedEthernet)?;
        if header.is_group() {
            return Err(Reason::NotUnicast);
        }
        let mut kind = header.kind;
        let mut network = ethernet::LENGTH;
        for _ in 0..2 {
            if kind == ethernet::VLAN || kind == ethernet::SERVICE_VLAN {
                let tag: Tag = frame.load(network).ok_or(Reason::TruncatedEthernet)?;
                kind = tag.kind;
                network += ethernet::TAG_LENGTH;
            }
        }
        let mut key = FragmentKey::zeroed();
        match kind {
            ethernet::IPV4 => self.ipv4(frame, network, &mut key)?,
            ethernet::IPV6 => self.ipv6(frame, network, &mut key)?,
            _ => return Err(Reason::NotIp),
        }
        if !frame.holds(self.end as usize) {
            return Err(Reason::TruncatedIp);
        }
        if matches!(self.flow.protocol as u8, protocol::AH | protocol::ESP) {
            self.follow();
            return Ok(());
        }
        if self.is_later_fragment() {
            let ports = tables.fragment(&self.fragment_key(key)).ok_or(Reason::FragmentUnknown)?;
            self.flow.source_port = ports.source;
            self.flow.destination_port = ports.destination;
            return Ok(());
        }
        self.transport(frame)?;
        if self.bits & bits::FIRST != 0 {
            let (source, destination) = (self.flow.source_port, self.flow.destination_port);
            let ports = FragmentPorts { source, destination, seen: tables.now() };
            tables.remember_fragment(&self.fragment_key(key), &ports);
        }
        Ok(())
    }

    /// Parses the packet that an ICMP error at `network` quotes. It may be cut short after the
    /// first eight bytes of its transport header.
    #[inline(always)]
    pub fn quoted<F: Frame>(frame: &F, network: usize, is_ipv4: bool) -> Result<Self, Reason> {
        let mut key = FragmentKey::zeroed();
        let mut packet = Self::default();
        match is_ipv4 {
            true => packet.ipv4(frame, network, &mut key)?,
            false => packet.ipv6(frame, network, &mut key)?,
        }
        if packet.is_later_fragment() {
            return Err(Reason::IcmpToHost);
        }
        let ports: Udp = frame.load(packet.transport as usize).ok_or(Reason::TruncatedTransport)?;
        packet.flow.source_port = ports.source;
        packet.flow.destination_port = ports.destination;
        Ok(packet)
    }

    #[inline(always)]
    fn ipv4<F: Frame>(&mut self, frame: &F, network: usize, key: &mut FragmentKey) -> Result<(), Reason> {
        let header: Ipv4 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        let header_length = header.header_length().ok_or(Reason::TruncatedIp)?;
        let length = u16::from_be(header.length) as usize;
        if length < header_length {
            return Err(Reason::TruncatedIp);
        }
        self.flow.source = header.source_address();
        self.flow.destination = header.destination_address();
        self.flow.protocol = header.protocol as u32;
        self.network = network as u32;
        self.transport = (network + header_length) as u32;
        self.end = (network + length) as u32;
        self.ttl = header.ttl;
        self.bits = bits::IPV4;
        if header.fragment & ipv4::DONT_FRAGMENT != 0 {
            self.bits |= bits::DONT_FRAGMENT;
        }
        if header.fragment & ipv4::OFFSET != 0 {
            self.bits |= bits::LATER;
        } else if header.fragment & ipv4::MORE_FRAGMENTS != 0 {
            self.bits |= bits::FIRST;
        }
        key.identification = header.identification as u32;
        Ok(())
    }

    #[inline(always)]
    fn ipv6<F: Frame>(&mut self, frame: &F, network: usize, key: &mut FragmentKey) -> Result<(), Reason> {
        let header: Ipv6 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        if header.version_flow.to_ne_bytes()[0] >> 4 != 6 {
            return Err(Reason::TruncatedIp);
        }
        let mut protocol = header.next;
        let mut transport = network + ipv6::LENGTH;
        let mut fragment = 0;
        for step in 0..=MAX_EXTENSIONS {
            let fixed = match protocol {
                ipv6::kind::FRAGMENT => true,
                ipv6::kind::HOP_BY_HOP | ipv6::kind::ROUTING | ipv6::kind::DESTINATION => false,
                _ => break,
            };
            let extension: ipv6::Extension = frame.load(transport).ok_or(Reason::TruncatedIp)?;
            // RFC 8200 §4.5: what follows in a later fragment is data, whatever its kind says.
            if step == MAX_EXTENSIONS || fragment == bits::LATER {
                return Err(Reason::ExtensionHeaders);
            }
            protocol = extension.next;
            transport += ipv6::EXTENSION_LENGTH;
            if fixed {
                key.identification = extension.identification;
                if extension.fragment & ipv6::OFFSET != 0 {
                    fragment = bits::LATER;
                    break;
                } else if extension.fragment & ipv6::MORE_FRAGMENTS != 0 {
                    fragment = bits::FIRST;
                }
            } else {
                transport += extension.length as usize * 8;
            }
        }
        self.flow.source = header.source_address();
        self.flow.destination = header.destination_address();
        self.flow.protocol = protocol as u32;
        self.network = network as u32;
        self.transport = transport as u32;
        self.end = (network + ipv6::LENGTH) as u32 + u16::from_be(header.length) as u32;
        self.ttl = header.hop_limit;
        self.bits = bits::DONT_FRAGMENT | fragment;
        Ok(())
    }

    /// Reads the ports, and makes sure that the transport header lies within the IP packet.
    #[inline(always)]
    pub fn transport<F: Frame>(&mut self, frame: &F) -> Result<(), Reason> {
        match self.flow.protocol as u8 {
            protocol::TCP => {
                let header: Tcp = self.header(frame)?;
                let length = (header.length >> 4) as u32 * 4;
                if length < tcp::LENGTH as u32 || self.transport + length > self.end {
                    return Err(Reason::TruncatedTransport);
                }
                self.tcp_flags = header.flags;
                self.flow.source_port = header.source;
                self.flow.destination_port = header.destination;
            }
            protocol::UDP => {
                let header: Udp = self.header(frame)?;
                self.flow.source_port = header.source;
                self.flow.destination_port = header.destination;
            }
            protocol::SCTP => {
                let header: Sctp = self.header(frame)?;
                self.flow.source_port = header.source;
                self.flow.destination_port = header.destination;
                self.chunk = self.first_chunk(frame);
            }
            protocol::ICMP | protocol::ICMPV6 => {}
            _ => return Err(Reason::NotBalanced),
        }
        Ok(())
    }

    /// Takes the flow of the key exchange.
    #[inline(always)]
    fn follow(&mut self) {
        self.flow.source_port = KEY_EXCHANGE;
        self.flow.destination_port = KEY_EXCHANGE;
        self.flow.protocol = protocol::UDP as u32;
        self.bits |= bits::FOLLOWS;
    }

    /// The event of an SCTP packet's first chunk; an ABORT behind a cookie counts instead.
    #[inline(always)]
    fn first_chunk<F: Frame>(&self, frame: &F) -> u8 {
        let place = self.transport as usize + sctp::LENGTH;
        let Some(first) = self.chunk(frame, place) else { return NO_CHUNK };
        if matches!(first.kind, sctp::kind::COOKIE_ECHO | sctp::kind::COOKIE_ACK) {
            let length = (u16::from_be(first.length) as usize + 3) & 0xfffc;
            if length >= sctp::CHUNK_LENGTH
                && let Some(second) = self.chunk(frame, place + length)
                && second.kind == sctp::kind::ABORT
            {
                return state::sctp::event(second.kind);
            }
        }
        state::sctp::event(first.kind)
    }

    #[inline(always)]
    fn chunk<F: Frame>(&self, frame: &F, place: usize) -> Option<sctp::Chunk> {
        if place + sctp::CHUNK_LENGTH > self.end as usize { None } else { frame.load(place) }
    }

    #[inline(always)]
    fn header<F: Frame, H: Pod>(&self, frame: &F) -> Result<H, Reason> {
        if self.transport + size_of::<H>() as u32 > self.end {
            return Err(Reason::TruncatedTransport);
        }
        frame.load(self.transport as usize).ok_or(Reason::TruncatedTransport)
    }

    #[inline(always)]
    fn fragment_key(&self, key: FragmentKey) -> FragmentKey {
        FragmentKey {
            source: self.flow.source,
            destination: self.flow.destination,
            protocol: self.flow.protocol,
            ..key
        }
    }

    /// Length of the IP packet in bytes.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        self.end - self.network
    }

    /// Whether it is IPv4.
    #[inline(always)]
    pub fn is_ipv4(&self) -> bool {
        self.bits & bits::IPV4 != 0
    }

    /// Whether it is an ICMP or ICMPv6 message.
    #[inline(always)]
    pub fn is_icmp(&self) -> bool {
        matches!(self.flow.protocol as u8, protocol::ICMP | protocol::ICMPV6)
    }

    /// Whether it is an ICMP error that stands for the packets of a client.
    #[inline(always)]
    pub fn is_quoted(&self) -> bool {
        self.bits & bits::QUOTED != 0
    }

    /// Whether it has a transport header that can be rewritten.
    #[inline(always)]
    pub fn has_transport(&self) -> bool {
        self.bits & (bits::LATER | bits::FOLLOWS) == 0
    }

    /// Whether it is a piece of a larger packet, without a transport header.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.bits & bits::LATER != 0
    }

    /// Whether it is no piece of a larger packet.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.bits & (bits::FIRST | bits::LATER) == 0
    }

    /// Whether the frame carries a VLAN tag.
    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        self.network != ethernet::LENGTH as u32
    }
}

/// The port of the key exchange for AH and ESP (RFC 7296 §2), network order.
const KEY_EXCHANGE: u16 = 500u16.to_be();
/// Extension headers that are followed. Real packets carry one or two; each look costs the verifier.
const MAX_EXTENSIONS: usize = 4;
