//! The packet path of the balancer, as pure code over two traits: [`Frame`] (the bytes) and
//! [`Tables`] (maps, clock, chance, routes). It names no kernel interface, so all of it runs under
//! plain `cargo test`; `main.rs` and `kernel/` wrap it for XDP.
#![no_std]
#![deny(unsafe_code)]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod adoption;
pub mod answer;
pub mod arrival;
pub mod checksum;
pub mod connection;
pub mod forward;
pub mod frame;
#[cfg(not(target_arch = "bpf"))]
pub mod host;
pub mod icmp;
pub mod index;
pub mod mark;
pub mod nexthop;
pub mod open;
pub mod packet;
pub mod persistence;
#[cfg(not(target_arch = "bpf"))]
pub mod plan;
pub mod schedule;
pub mod shortcut;
pub mod sip;
pub mod snat;
pub mod state;
pub mod sweep;
pub mod tables;
pub mod wire;

use answer::Answer;
use connection::Tracked;
use lb_common::{
    backend::method,
    bucket::Direction,
    connection::flags::{ONE_PACKET, UNTOLD},
};
use open::{Choice, how};
use packet::Packet;

pub use frame::Frame;
pub use lb_common::reason::Reason;
pub use tables::{Route, Steps, Tables};

/// What becomes of a packet, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// For a packet that is redirected, the interface index; for one that is too big, the MTU; 0
    /// for all others.
    pub detail: u32,
}

impl Outcome {
    /// An outcome without a detail.
    #[inline(always)]
    pub const fn of(reason: Reason) -> Self {
        Self { reason, detail: 0 }
    }
}

/// What stopped a packet is its outcome.
impl From<Result<Outcome, Reason>> for Outcome {
    #[inline(always)]
    fn from(result: Result<Outcome, Reason>) -> Self {
        match result {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::of(reason),
        }
    }
}

/// The path of a packet.
#[inline(always)]
pub fn handle<F: Frame, T: Steps>(frame: &mut F, tables: &T) -> Outcome {
    match shortcut::handle(frame, tables) {
        Some(outcome) => outcome,
        None => long_way(frame, tables, &mut Packet::default()),
    }
}

/// The path of a packet that is not plain, and good for those that are. In the kernel it is a program
/// of its own, which the first one ends in. `packet` is room for what is parsed.
#[inline(always)]
pub fn long_way<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Outcome {
    if let Err(reason) = parse(frame, tables, packet) {
        return Outcome::of(reason);
    }
    let outcome = balance(frame, tables, packet);
    match Answer::to(outcome.reason) {
        Some(answer) => tables.answer(frame, packet, answer, outcome.detail),
        None => outcome,
    }
}

#[inline(always)]
fn parse<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &mut Packet) -> Result<(), Reason> {
    match tables.settings() {
        Some(settings) if settings.services != 0 => tables.fill(frame, packet),
        _ => Err(Reason::NoServices),
    }
}

#[inline(always)]
fn balance<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Outcome {
    let now = tables.now();
    let tracked = match packet.is_icmp() {
        true => tables.track_quoted(frame, packet),
        false => match tables.track(packet, now) {
            Err(Reason::MidStream) if may_open(tables, packet) => open(frame, tables, packet, now),
            Err(Reason::MidStream) => Err(open::unopened(tables, packet)),
            known => known,
        },
    };
    let tracked = match tracked {
        Ok(tracked) => tracked,
        Err(reason) => return Outcome::of(reason),
    };
    let outcome = send(frame, tables, packet, tracked, now);
    if is_for_one_packet(tables, tracked) {
        tables.give_slot(tracked.slot);
    }
    outcome
}

/// Whether the connection was made for this packet alone, so that its slot goes back.
#[inline(always)]
fn is_for_one_packet<T: Tables>(tables: &T, tracked: Tracked) -> bool {
    tables.connection(tracked.slot).is_some_and(|connection| connection.flags & ONE_PACKET != 0)
}

/// Sends a packet of a connection.
#[inline(always)]
fn send<F: Frame, T: Steps>(
    frame: &mut F,
    tables: &T,
    packet: &mut Packet,
    tracked: Tracked,
    now: u32,
) -> Outcome {
    let exit = nexthop::resolve(frame, tables, tracked, packet, now);
    if let Err(reason @ (Reason::LocalBackend | Reason::DirectReply)) = exit {
        return Outcome::of(reason);
    }
    let Some(connection) = tables.connection(tracked.slot) else { return Outcome::of(Reason::Raced) };
    // Where the packets of a connection arrive as they were sent, so do the errors about them.
    let is_rewritten = connection.method() == method::NAT;
    if connection.flags & UNTOLD != 0
        && let Err(reason) = tables.tell(frame, packet, tracked, exit)
    {
        return Outcome::of(reason);
    }
    match packet.is_icmp() && is_rewritten {
        true => tables.translate(frame, packet, tracked, exit),
        false => tables.forward(frame, packet, tracked, exit),
    }
}

#[inline(always)]
fn may_open<T: Tables>(tables: &T, packet: &Packet) -> bool {
    tables.settings().is_some_and(|settings| open::may_open(settings, packet))
}

/// Takes what the backend of a new connection will see as the client.
#[inline(always)]
fn source<T: Steps>(tables: &T, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
    let mut taken = tables.take_source(packet, choice);
    for _ in 1..snat::ATTEMPTS {
        if taken != Err(Reason::Raced) {
            break;
        }
        taken = tables.take_source(packet, choice);
    }
    if taken.is_err() {
        persistence::release(tables, choice.template);
    }
    taken
}

/// Makes a connection for a packet that has none, and counts the packet in it.
#[inline(always)]
fn open<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &mut Packet, now: u32) -> Result<Tracked, Reason> {
    if packet.mark == 0 && tables.marks() != 0 {
        packet.mark = tables.mark(packet);
    }
    tables.check_arrival(frame, packet, now)?;
    let mut choice = tables.schedule(frame, packet)?;
    if choice.how & how::FULL_NAT != 0 {
        choice.source = source(tables, packet, choice)?;
    }
    let slot = tables.create(packet, choice)?;
    if choice.how & how::ONE_PACKET != 0 {
        return Ok(Tracked { slot, direction: Direction::Forward });
    }
    tables.track(packet, now)
}
