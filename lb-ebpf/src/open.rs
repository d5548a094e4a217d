//! A packet without a connection: whose is it, may it start one, and which backend gets it?

use crate::{
    Reason, Steps, connection,
    packet::Packet,
    schedule::{self, Request},
    wire::tcp::flags::{RST, SYN},
};
use lb_common::{protocol, service::ServiceKey};

/// Makes a connection for a packet that has none, if it belongs to a service and may start one. Its
/// slot.
#[inline(always)]
pub fn open<T: Steps>(tables: &T, packet: &Packet, hash: u64) -> Result<u32, Reason> {
    let flow = &packet.flow;
    let key = ServiceKey {
        address: flow.destination,
        mark: 0,
        port: flow.destination_port,
        protocol: flow.protocol as u8,
        reserved: 0,
    };
    let service = tables.service(&key).ok_or(Reason::NotBalanced)?;
    let request = Request {
        client: flow.source,
        destination: flow.destination,
        client_port: flow.source_port,
        destination_port: flow.destination_port,
        reserved: 0,
    };
    let member = schedule::choose(tables, service, &request).ok_or(Reason::NoBackend)?;
    connection::create(tables, flow, hash, &member)
}

/// Whether a packet without a connection may start one: anything but TCP without SYN
/// (`tcp_conn_schedule`).
#[inline(always)]
pub fn may_open(packet: &Packet) -> bool {
    packet.flow.protocol as u8 != protocol::TCP || packet.tcp_flags & (SYN | RST) == SYN
}
