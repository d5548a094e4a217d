//! What reaches a host on the wire: who answers a connection, and how. Only what opens, ends or refuses
//! it: acknowledgements and data come in whatever number timing wants.

use std::{net::IpAddr, num::NonZero};

use anyhow::{Context, Result};
use etherparse::{IpNumber, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with},
};

use crate::lab::{Namespace, VIP, VIP6};

/// `ETH_P_ALL`, in network byte order.
const ALL: NonZero<u32> = NonZero::new(0x0003_u16.to_be() as u32).unwrap();

/// A packet socket on all devices of a namespace.
pub struct Wire {
    socket: OwnedFd,
    /// Whether a packet from one address to another counts.
    counts: Counts,
}

type Counts = fn(IpAddr, IpAddr) -> bool;

impl Wire {
    /// What the client's host gets from others, over IPv4.
    pub(super) fn of_client(client: &Namespace) -> Result<Self> {
        Self::tap(client, |from, to| match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                to.octets()[..3] == [192, 168, 2] && from.octets()[3] >= 100
            }
            _ => false,
        })
    }

    /// What a server gets, also for the service's address.
    pub(super) fn of_server(server: &Namespace) -> Result<Self> {
        Self::tap(server, |_, to| match to {
            IpAddr::V4(own) => matches!(own.octets(), [192, 168, 33, 111..=255]) || to.to_string() == VIP,
            IpAddr::V6(own) => {
                matches!(own.segments(), [0xfd00, 0x33, .., 0x111..=0x255]) || to.to_string() == VIP6
            }
        })
    }

    fn tap(namespace: &Namespace, counts: Counts) -> Result<Self> {
        let protocol = Some(Protocol::from_raw(ALL));
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
    let ip = Ip::of(packet.net.as_ref()?)?;
    if !counts(ip.from, ip.to) {
        return None;
    }
    told(&packet).map(|text| format!("on the wire: {text}"))
}

/// What counts of an IP packet of either family.
struct Ip<'a> {
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    protocol: IpNumber,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn of(net: &NetSlice<'a>) -> Option<Self> {
        let (from, to, ttl, rest) = match net {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                let (from, to) = (header.source_addr().into(), header.destination_addr().into());
                (from, to, header.ttl(), ip.payload())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                let (from, to) = (header.source_addr().into(), header.destination_addr().into());
                (from, to, header.hop_limit(), ip.payload())
            }
            _ => return None,
        };
        Some(Self { from, to, ttl, protocol: rest.ip_number, payload: rest.payload })
    }
}

fn told(packet: &SlicedPacket) -> Option<String> {
    let Ip { from, to, ttl, protocol, payload } = Ip::of(packet.net.as_ref()?)?;
    if let IpNumber::IPV4 | IpNumber::IPV6 = protocol {
        let carried = told(&SlicedPacket::from_ip(payload).ok()?)?;
        return Some(format!("{from} to {to}, TTL {ttl}, a tunnel that carries {carried}"));
    }
    match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => {
            let all = [("SYN", tcp.syn()), ("FIN", tcp.fin()), ("RST", tcp.rst()), ("ACK", tcp.ack())];
            let set: Vec<_> = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
            let ports = (tcp.source_port(), tcp.destination_port());
            (set != ["ACK"] && !set.is_empty())
                .then(|| format!("{from}:{} to {to}:{}, {}, TTL {ttl}", ports.0, ports.1, set.join(" ")))
        }
        TransportSlice::Icmpv4(icmp) => Some(format!(
            "{from} to {to}, ICMP {} code {}, TTL {ttl}, about {}",
            icmp.type_u8(),
            icmp.code_u8(),
            subject(icmp.payload())?
        )),
        // From 128 on they are no errors.
        TransportSlice::Icmpv6(icmp) if icmp.type_u8() < 128 => Some(format!(
            "{from} to {to}, ICMPv6 {} code {}, TTL {ttl}, about {}",
            icmp.type_u8(),
            icmp.code_u8(),
            subject(icmp.payload())?
        )),
        _ => None,
    }
}

/// Of the packet that an error quotes: protocol, addresses and ports.
fn subject(quote: &[u8]) -> Option<String> {
    let quoted = LaxSlicedPacket::from_ip(quote).ok()?;
    let (from, to, number, payload): (IpAddr, IpAddr, _, _) = match quoted.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            let (header, payload) = (ip.header(), ip.payload());
            let ends = (header.source_addr().into(), header.destination_addr().into());
            (ends.0, ends.1, payload.ip_number, payload.payload)
        }
        LaxNetSlice::Ipv6(ip) => {
            let (header, payload) = (ip.header(), ip.payload());
            let ends = (header.source_addr().into(), header.destination_addr().into());
            (ends.0, ends.1, payload.ip_number, payload.payload)
        }
        _ => return None,
    };
    let [source, destination] =
        [0, 2].map(|at| payload.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]])));
    let protocol = if number == IpNumber::TCP { "TCP" } else { "UDP" };
    Some(format!("{protocol} {from}:{} to {to}:{}", source?, destination?))
}
