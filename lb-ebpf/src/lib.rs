//! The packet path of the balancer, as pure code over two traits: [`Frame`] (the bytes) and
//! [`Tables`] (maps, clock, chance, routes). It names no kernel interface, so all of it runs under
//! plain `cargo test`; `main.rs` and `kernel/` wrap it for XDP.
#![no_std]
#![deny(unsafe_code)]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod answer;
pub mod checksum;
pub mod connection;
pub mod forward;
pub mod frame;
#[cfg(not(target_arch = "bpf"))]
pub mod host;
pub mod icmp;
pub mod index;
pub mod nexthop;
pub mod packet;
#[cfg(not(target_arch = "bpf"))]
pub mod plan;
pub mod schedule;
pub mod state;
pub mod sweep;
pub mod tables;
pub mod wire;

use lb_common::{backend, bucket::Direction, protocol, service::ServiceKey, settings::Settings};

pub use frame::Frame;
pub use lb_common::reason::Reason;
pub use tables::{Route, Tables};

/// What becomes of a packet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// For a packet that is redirected: the interface index. 0 for all others.
    pub interface: u32,
}

impl Outcome {
    /// An outcome that needs no interface.
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self { reason, interface: 0 }
    }
}

/// The path of a packet.
#[inline(always)]
pub fn handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Outcome {
    match try_handle(frame, tables) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::of(reason),
    }
}

#[inline(always)]
fn try_handle<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Result<Outcome, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    if settings.services == 0 {
        return Err(Reason::NoServices);
    }
    let packet = packet::Packet::parse(frame, tables)?;
    let now = tables.now();
    if matches!(packet.flow.protocol, protocol::ICMP | protocol::ICMPV6) {
        return icmp::handle(frame, tables, &packet, settings, now);
    }

    let hash = index::hash(&packet.flow, settings);
    let mut known = index::find(tables, &packet.flow, hash);
    if let Some(found) = &known
        && (found.is_expired(now) || found.direction == Direction::Forward && found.is_renewed_by(&packet))
    {
        found.end(tables, settings);
        known = None;
    }
    let mut found = match known {
        Some(found) => found,
        None => match open(tables, &packet, hash, settings, now) {
            Err(Reason::NoBackend) => return Ok(answer::unreachable(frame, tables, &packet)),
            opened => opened?,
        },
    };

    let forward = found.direction == Direction::Forward;
    let backend = found.connection.backend_index;
    if tables.backend(backend).is_some_and(|backend| backend.state == backend::state::AVAILABLE) {
        if let Some(traffic) = tables.traffic(backend) {
            traffic.count(forward, packet.length() as u64);
        }
    } else if forward {
        // As IPVS does: silently, and without restarting the timer. Replies still get through.
        return Err(Reason::BackendRemoved);
    }
    found.advance(tables, &packet, settings, now);
    Ok(forward::nat::forward(frame, tables, &mut found, &packet, now))
}

/// Makes a connection for a packet that has none, if it belongs to a service and may start one.
#[inline(always)]
fn open<'a, T: Tables>(
    tables: &'a T,
    packet: &packet::Packet,
    hash: u64,
    settings: &Settings,
    now: u32,
) -> Result<index::Found<'a>, Reason> {
    use wire::tcp::flags::{RST, SYN};
    let flow = &packet.flow;
    if flow.protocol == protocol::TCP && packet.tcp_flags & (SYN | RST) != SYN {
        return Err(Reason::MidStream);
    }
    let key = ServiceKey {
        address: flow.destination,
        mark: 0,
        port: flow.destination_port,
        protocol: flow.protocol,
        reserved: 0,
    };
    let service = tables.service(&key).ok_or(Reason::NotBalanced)?;
    let request = schedule::Request {
        client: flow.source,
        client_port: flow.source_port,
        destination: flow.destination,
        destination_port: flow.destination_port,
    };
    let member = schedule::choose(tables, service, &request).ok_or(Reason::NoBackend)?;
    connection::create(tables, flow, hash, &member, settings, now)
}
