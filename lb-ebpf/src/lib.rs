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
pub mod open;
pub mod packet;
#[cfg(not(target_arch = "bpf"))]
pub mod plan;
pub mod schedule;
pub mod state;
pub mod sweep;
pub mod tables;
pub mod wire;

use answer::Answer;
use index::Found;
use lb_common::{backend::state::AVAILABLE, bucket::Direction, protocol};

pub use frame::Frame;
pub use lb_common::reason::Reason;
pub use tables::{Route, Steps, Tables};

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
pub fn handle<F: Frame, T: Steps>(frame: &mut F, tables: &T) -> Outcome {
    match try_handle(frame, tables) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::of(reason),
    }
}

#[inline(always)]
fn try_handle<F: Frame, T: Steps>(frame: &mut F, tables: &T) -> Result<Outcome, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    if settings.services == 0 {
        return Err(Reason::NoServices);
    }
    let packet = tables.parse(frame)?;
    if matches!(packet.flow.protocol as u8, protocol::ICMP | protocol::ICMPV6) {
        return Ok(tables.icmp(frame, &packet));
    }

    let now = tables.now();
    let hash = index::hash(&packet.flow, settings);
    let mut known = index::find(tables, &packet.flow, hash);
    if let Some(found) = &known
        && (found.is_expired(now) || found.is_renewed_by(&packet))
    {
        found.end(tables, settings);
        known = None;
    }
    let mut found = match known {
        Some(found) => found,
        None if !open::may_open(&packet) => return Err(Reason::MidStream),
        None => match tables.open(&packet, hash) {
            Ok(slot) => Found::new(tables, slot)?,
            Err(Reason::NoBackend) => return Ok(tables.answer(frame, &packet, Answer::Unreachable, 0)),
            Err(reason) => return Err(reason),
        },
    };

    let forward = found.direction == Direction::Forward;
    let backend = found.connection.backend_index;
    if tables.backend(backend).is_some_and(|backend| backend.state == AVAILABLE) {
        if let Some(traffic) = tables.traffic(backend) {
            traffic.count(forward, packet.length() as u64);
        }
    } else if forward {
        // As IPVS does: silently, and without restarting the timer. Replies still get through.
        return Err(Reason::BackendRemoved);
    }
    found.advance(tables, &packet, settings, now);
    forward::nat::forward(frame, tables, &mut found, &packet, now)
}
