//! What reaches a host on the wire: who answers a connection, and how. Only what opens, ends or refuses
//! it: acknowledgements and data come in whatever number timing wants.

use std::{net::Ipv4Addr, num::NonZero};

use anyhow::{Context, Result};
use etherparse::{Icmpv4Slice, IpNumber, LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with},
};

use crate::lab::Namespace;

/// `ETH_P_IP`, in network byte order.
const IPV4: NonZero<u32> = NonZero::new(0x0800_u16.to_be() as u32).unwrap();

/// A packet socket on all devices of a namespace.
pub struct Wire {
    socket: OwnedFd,
    /// Whether a packet from one address to another counts.
    counts: Counts,
}

type Counts = fn(Ipv4Addr, Ipv4Addr) -> bool;

impl Wire {
    /// What the client's host gets from others.
    pub(super) fn of_client(client: &Namespace) -> Result<Self> {
        Self::tap(client, |from, to| to.octets()[..3] == [192, 168, 2] && from.octets()[3] >= 100)
    }

    /// What a server gets.
    pub(super) fn of_server(server: &Namespace) -> Result<Self> {
        Self::tap(server, |_, to| matches!(to.octets(), [192, 168, 33, 111..=255]))
    }

    fn tap(namespace: &Namespace, counts: Counts) -> Result<Self> {
        let protocol = Some(Protocol::from_raw(IPV4));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            namespace.inside(|| socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol))?;
        Ok(Self { socket: socket.context("a packet socket")?, counts })
    }

    /// What came since it was opened or last asked, each kind once.
    pub fn seen(&self) -> Result<String> {
        let mut kinds: Vec<String> = Vec::new();
        let mut frame = [0; 2048];
        loop {
            let length = match recv(&self.socket, &mut frame[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error).context("reading the wire"),
            };
            if let Some(kind) = kind(&frame[..length], self.counts)
                && !kinds.contains(&kind)
            {
                kinds.push(kind);
            }
        }
        Ok(if kinds.is_empty() { "on the wire: nothing".to_owned() } else { kinds.join("\n") })
    }
}

/// `None` for what does not count.
fn kind(frame: &[u8], counts: Counts) -> Option<String> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return None };
    let header = ip.header();
    let (from, to, ttl) = (header.source_addr(), header.destination_addr(), header.ttl());
    if !counts(from, to) {
        return None;
    }
    match packet.transport? {
        TransportSlice::Tcp(tcp) => {
            let all = [("SYN", tcp.syn()), ("FIN", tcp.fin()), ("RST", tcp.rst()), ("ACK", tcp.ack())];
            let set: Vec<_> = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
            (set != ["ACK"] && !set.is_empty()).then(|| {
                format!(
                    "on the wire: {from}:{} to {to}:{}, {}, TTL {ttl}",
                    tcp.source_port(),
                    tcp.destination_port(),
                    set.join(" "),
                )
            })
        }
        TransportSlice::Icmpv4(icmp) => Some(format!(
            "on the wire: {from} to {to}, ICMP {} code {}, TTL {ttl}, about {}",
            icmp.type_u8(),
            icmp.code_u8(),
            subject(&icmp)?
        )),
        _ => None,
    }
}

/// Of the packet that an error quotes: protocol, addresses and ports.
fn subject(icmp: &Icmpv4Slice) -> Option<String> {
    let quoted = LaxSlicedPacket::from_ip(icmp.payload()).ok()?;
    let Some(etherparse::LaxNetSlice::Ipv4(ip)) = &quoted.net else { return None };
    let (header, payload) = (ip.header(), ip.payload().payload);
    let [from, to] =
        [0, 2].map(|at| payload.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]])));
    let protocol = if header.protocol() == IpNumber::TCP { "TCP" } else { "UDP" };
    Some(format!("{protocol} {}:{} to {}:{}", header.source_addr(), from?, header.destination_addr(), to?))
}
