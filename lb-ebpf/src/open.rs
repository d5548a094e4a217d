//! A packet without a connection: whose is it, may it start one, and which backend gets it?

use crate::{
    Reason, Tables,
    packet::{Flow, Packet, bits},
    schedule::{self, Request},
    state::sctp::Event,
    wire::tcp::flags::{RST, SYN},
};
use lb_common::{
    protocol,
    service::{Service, ServiceKey},
};

/// The member that a packet's new connection goes to, if the packet belongs to a service: its place in
/// the map of member lists.
#[inline(always)]
pub fn schedule<T: Tables>(tables: &T, packet: &Packet) -> Result<u32, Reason> {
    let flow = &packet.flow;
    let service = service(tables, packet).ok_or(Reason::NotBalanced)?;
    let request = Request {
        client: flow.source,
        destination: flow.destination,
        client_port: flow.source_port,
        destination_port: flow.destination_port,
        reserved: 0,
    };
    schedule::choose(tables, service, &request).ok_or(Reason::NoBackend)
}

/// The service that a client's packet is for: that of its firewall mark before that of its address.
#[inline(always)]
fn service<'a, T: Tables>(tables: &'a T, packet: &Packet) -> Option<&'a Service> {
    if packet.mark != 0
        && let Some(service) = tables.service(&ServiceKey::of_mark(packet.mark, packet.is_ipv4()))
    {
        return Some(service);
    }
    tables.service(&key(&packet.flow))
}

/// The key of the service for exactly this address and port.
#[inline(always)]
pub fn key(flow: &Flow) -> ServiceKey {
    ServiceKey {
        address: flow.destination,
        mark: 0,
        port: flow.destination_port,
        protocol: flow.protocol as u8,
        reserved: 0,
    }
}

/// Whether a packet without a connection may start one: anything but TCP without SYN
/// (`tcp_conn_schedule`), SCTP without INIT (`sctp_conn_schedule`), AH and ESP.
#[inline(always)]
pub fn may_open(packet: &Packet) -> bool {
    match packet.flow.protocol as u8 {
        protocol::TCP => packet.tcp_flags & (SYN | RST) == SYN,
        protocol::SCTP => packet.chunk == Event::Init as u8,
        _ => packet.bits & bits::FOLLOWS == 0,
    }
}

/// Why a packet that belongs to no connection and may start none goes where it goes. IPVS drops all such
/// SCTP; here what is no service's is the host's.
#[inline(always)]
pub fn unopened<T: Tables>(tables: &T, packet: &Packet) -> Reason {
    match packet.flow.protocol as u8 {
        protocol::TCP => Reason::MidStream,
        protocol::SCTP if tables.service(&key(&packet.flow)).is_some() => Reason::Unassociated,
        _ => Reason::NotBalanced,
    }
}
