//! From bytes to what the packet path decides by.

use crate::{
    Frame, Reason, Tables,
    wire::{ethernet, ethernet::Ethernet, ethernet::Tag, ipv4, ipv4::Ipv4, ipv6, ipv6::Ipv6, tcp, tcp::Tcp, udp::Udp},
};
use bytemuck::{Pod, Zeroable};
use lb_common::{
    address::Address,
    fragment::{FragmentKey, FragmentPorts},
    protocol,
};

/// What identifies the packets of one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub protocol: u8,
}

/// Whether a packet is a piece of a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    Whole,
    /// The first piece, with the transport header.
    First,
    /// A later piece: no transport header.
    Later,
}

/// An IP packet, parsed. Offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Addresses, ports (0 where the protocol has none) and protocol.
    pub flow: Flow,
    /// Offset of the IP header.
    pub network: usize,
    /// Offset of the transport header.
    pub transport: usize,
    /// Offset of the end of the IP packet.
    pub end: usize,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// Whether it is IPv4.
    pub is_ipv4: bool,
    /// Whether no router may fragment it.
    pub dont_fragment: bool,
    /// Whether it is a piece of a larger packet.
    pub fragment: Fragment,
}

impl Packet {
    /// Parses a frame. What is not understood is left to the host, with the reason.
    #[inline(always)]
    pub fn parse<F: Frame, T: Tables>(frame: &F, tables: &T) -> Result<Self, Reason> {
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
        let mut packet = match kind {
            ethernet::IPV4 => Self::ipv4(frame, network, &mut key)?,
            ethernet::IPV6 => Self::ipv6(frame, network, &mut key)?,
            _ => return Err(Reason::NotIp),
        };
        if !frame.holds(packet.end) {
            return Err(Reason::TruncatedIp);
        }
        if let Fragment::Later = packet.fragment {
            let ports = tables.fragment(&packet.fragment_key(key)).ok_or(Reason::FragmentUnknown)?;
            packet.flow.source_port = ports.source;
            packet.flow.destination_port = ports.destination;
            return Ok(packet);
        }
        packet.transport(frame)?;
        if let Fragment::First = packet.fragment {
            let (source, destination) = (packet.flow.source_port, packet.flow.destination_port);
            let ports = FragmentPorts { source, destination, seen: tables.now() };
            tables.remember_fragment(&packet.fragment_key(key), &ports);
        }
        Ok(packet)
    }

    /// Parses the packet that an ICMP error at `network` quotes. It may be cut short after the
    /// first eight bytes of its transport header.
    #[inline(always)]
    pub fn quoted<F: Frame>(frame: &F, network: usize, is_ipv4: bool) -> Result<Self, Reason> {
        let mut key = FragmentKey::zeroed();
        let mut packet = match is_ipv4 {
            true => Self::ipv4(frame, network, &mut key)?,
            false => Self::ipv6(frame, network, &mut key)?,
        };
        if packet.fragment == Fragment::Later {
            return Err(Reason::IcmpToHost);
        }
        let ports: Udp = frame.load(packet.transport).ok_or(Reason::TruncatedTransport)?;
        packet.flow.source_port = ports.source;
        packet.flow.destination_port = ports.destination;
        Ok(packet)
    }

    #[inline(always)]
    fn ipv4<F: Frame>(frame: &F, network: usize, key: &mut FragmentKey) -> Result<Self, Reason> {
        let header: Ipv4 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        let header_length = header.header_length().ok_or(Reason::TruncatedIp)?;
        let length = u16::from_be(header.length) as usize;
        if length < header_length {
            return Err(Reason::TruncatedIp);
        }
        let fragment = match (header.fragment & ipv4::OFFSET != 0, header.fragment & ipv4::MORE_FRAGMENTS != 0) {
            (true, _) => Fragment::Later,
            (false, true) => Fragment::First,
            (false, false) => Fragment::Whole,
        };
        key.identification = header.identification as u32;
        Ok(Self {
            flow: Flow {
                source: Address::from_ipv4(header.source),
                destination: Address::from_ipv4(header.destination),
                source_port: 0,
                destination_port: 0,
                protocol: header.protocol,
            },
            network,
            transport: network + header_length,
            end: network + length,
            ttl: header.ttl,
            tcp_flags: 0,
            is_ipv4: true,
            dont_fragment: header.fragment & ipv4::DONT_FRAGMENT != 0,
            fragment,
        })
    }

    #[inline(always)]
    fn ipv6<F: Frame>(frame: &F, network: usize, key: &mut FragmentKey) -> Result<Self, Reason> {
        let header: Ipv6 = frame.load(network).ok_or(Reason::TruncatedIp)?;
        if header.version_flow.to_ne_bytes()[0] >> 4 != 6 {
            return Err(Reason::TruncatedIp);
        }
        let mut protocol = header.next;
        let mut transport = network + ipv6::LENGTH;
        let mut fragment = Fragment::Whole;
        for step in 0..=MAX_EXTENSIONS {
            let fixed = match protocol {
                ipv6::kind::FRAGMENT => true,
                ipv6::kind::HOP_BY_HOP | ipv6::kind::ROUTING | ipv6::kind::DESTINATION => false,
                _ => break,
            };
            let extension: ipv6::Extension = frame.load(transport).ok_or(Reason::TruncatedIp)?;
            // RFC 8200 §4.5: what follows in a later fragment is data, whatever its kind says.
            if step == MAX_EXTENSIONS || fragment == Fragment::Later {
                return Err(Reason::ExtensionHeaders);
            }
            protocol = extension.next;
            transport += ipv6::EXTENSION_LENGTH;
            if fixed {
                key.identification = extension.identification;
                if extension.fragment & ipv6::OFFSET != 0 {
                    fragment = Fragment::Later;
                    break;
                } else if extension.fragment & ipv6::MORE_FRAGMENTS != 0 {
                    fragment = Fragment::First;
                }
            } else {
                transport += extension.length as usize * 8;
            }
        }
        Ok(Self {
            flow: Flow {
                source: address(header.source),
                destination: address(header.destination),
                source_port: 0,
                destination_port: 0,
                protocol,
            },
            network,
            transport,
            end: network + ipv6::LENGTH + u16::from_be(header.length) as usize,
            ttl: header.hop_limit,
            tcp_flags: 0,
            is_ipv4: false,
            dont_fragment: true,
            fragment,
        })
    }

    /// Reads the ports, and makes sure that the transport header lies within the IP packet.
    #[inline(always)]
    fn transport<F: Frame>(&mut self, frame: &F) -> Result<(), Reason> {
        match self.flow.protocol {
            protocol::TCP => {
                let header: Tcp = self.header(frame)?;
                let length = (header.length >> 4) as usize * 4;
                if length < tcp::LENGTH || self.transport + length > self.end {
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
            protocol::ICMP | protocol::ICMPV6 => {}
            _ => return Err(Reason::NotBalanced),
        }
        Ok(())
    }

    #[inline(always)]
    fn header<F: Frame, H: Pod>(&self, frame: &F) -> Result<H, Reason> {
        if self.transport + size_of::<H>() > self.end {
            return Err(Reason::TruncatedTransport);
        }
        frame.load(self.transport).ok_or(Reason::TruncatedTransport)
    }

    #[inline(always)]
    fn fragment_key(&self, key: FragmentKey) -> FragmentKey {
        FragmentKey {
            source: self.flow.source,
            destination: self.flow.destination,
            protocol: self.flow.protocol as u32,
            ..key
        }
    }

    /// Length of the IP packet in bytes.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.end - self.network
    }

    /// Whether the frame carries a VLAN tag.
    #[inline(always)]
    pub fn is_tagged(&self) -> bool {
        self.network != ethernet::LENGTH
    }
}

/// Extension headers that are followed. Real packets carry one or two; each look costs the verifier.
const MAX_EXTENSIONS: usize = 4;

#[inline(always)]
fn address(words: [u32; 4]) -> Address {
    #[cfg(target_endian = "little")]
    let join = |first: u32, second: u32| first as u64 | (second as u64) << 32;
    #[cfg(target_endian = "big")]
    let join = |first: u32, second: u32| (first as u64) << 32 | second as u64;
    Address { words: [join(words[0], words[1]), join(words[2], words[3])] }
}
