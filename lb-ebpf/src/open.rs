//! A packet without a connection: whose is it, may it start one, and which backend gets it?

use crate::{
    Reason, Tables,
    packet::{Flow, Packet},
    schedule::{self, Request},
    wire::tcp::flags::{RST, SYN},
};
use lb_common::{protocol, service::ServiceKey};

/// The member that a packet's new connection goes to, if the packet belongs to a service: its place in
/// the map of member lists.
#[inline(always)]
pub fn schedule<T: Tables>(tables: &T, packet: &Packet) -> Result<u32, Reason> {
    let flow = &packet.flow;
    let service = tables.service(&key(flow)).ok_or(Reason::NotBalanced)?;
    let request = Request {
        client: flow.source,
        destination: flow.destination,
        client_port: flow.source_port,
        destination_port: flow.destination_port,
        reserved: 0,
    };
    schedule::choose(tables, service, &request).ok_or(Reason::NoBackend)
}

/// The key of the service that a client's packet is for.
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
/// (`tcp_conn_schedule`).
#[inline(always)]
pub fn may_open(packet: &Packet) -> bool {
    packet.flow.protocol as u8 != protocol::TCP || packet.tcp_flags & (SYN | RST) == SYN
}
