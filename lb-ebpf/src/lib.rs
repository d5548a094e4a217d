//! The packet path of the balancer, as pure code over two traits: [`Frame`] (the bytes) and
//! [`Tables`] (maps, clock, chance, routes). It names no kernel interface, so all of it runs under
//! plain `cargo test`; `main.rs` and `kernel/` wrap it for XDP.
#![no_std]
#![deny(unsafe_code)]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod accept;
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
use forward::plain;
use lb_common::{
    backend::method,
    bucket::Direction,
    connection::flags::{ONE_PACKET, UNTOLD},
    stage::Stage,
};
use open::{Choice, how};
use packet::{Packet, bits::UNSOUGHT};

pub use accept::accept;
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

/// What comes after a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another one.
    Stage(Stage),
    /// Nothing.
    End(Outcome),
}

/// The path of a packet.
#[inline(always)]
pub fn handle<F: Frame, T: Steps>(frame: &mut F, tables: &T) -> Outcome {
    let next = shortcut::handle(frame, tables);
    go_on(frame, tables, next)
}

/// The path of a packet that is not plain, and good for those that are.
pub fn long_way<F: Frame, T: Steps>(frame: &mut F, tables: &T) -> Outcome {
    go_on(frame, tables, Next::Stage(Stage::Find))
}

/// Goes through the stages. In the kernel each is a program of its own, which ends in the next.
#[inline(always)]
pub fn go_on<F: Frame, T: Steps>(frame: &mut F, tables: &T, mut next: Next) -> Outcome {
    let Some(packet) = tables.packet() else { return Outcome::of(Reason::Unfinished) };
    loop {
        next = match next {
            Next::Stage(Stage::Find) => find(frame, tables, packet),
            Next::Stage(Stage::Open) => open(frame, tables, packet),
            Next::Stage(Stage::Send) => Next::End(send(frame, tables, packet)),
            Next::Stage(Stage::Accept) => accept(frame, tables, packet),
            Next::End(outcome) => return outcome,
        }
    }
}

/// Parses a packet, into `packet`, and finds its connection, or else the service that it may open one of.
#[inline(always)]
pub fn find<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &mut Packet) -> Next {
    match try_find(frame, tables, packet) {
        Ok(stage) => Next::Stage(stage),
        Err(reason) => Next::End(Outcome::of(reason)),
    }
}

#[inline(always)]
fn try_find<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &mut Packet) -> Result<Stage, Reason> {
    let settings = tables.settings().filter(|settings| settings.services != 0).ok_or(Reason::NoServices)?;
    tables.fill(frame, packet)?;
    let tracked = match packet.is_icmp() {
        true => tables.track_quoted(frame, packet),
        false => tables.track(packet, tables.now()),
    };
    match tracked {
        Ok(tracked) => {
            packet.tracked = tracked.code();
            Ok(Stage::Send)
        }
        Err(Reason::MidStream) if open::is_unasked(tables, settings, packet) => {
            packet.service = open::UNASKED;
            Ok(Stage::Open)
        }
        Err(Reason::MidStream) if open::may_open(settings, packet) => {
            if packet.mark == 0 && settings.marks() != 0 {
                packet.mark = tables.mark(packet);
            }
            let service = open::service(tables, settings, packet);
            packet.service = service.ok_or_else(|| open::unserved(packet))?;
            Ok(Stage::Open)
        }
        Err(Reason::MidStream) => Err(open::unopened(tables, settings, packet)),
        Err(reason) => Err(reason),
    }
}

/// Makes a connection for a packet of a service, and counts the packet in it. One that has a connection begins anew.
#[inline(always)]
pub fn open<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Next {
    match try_open(frame, tables, packet) {
        Ok(tracked) => {
            packet.tracked = tracked.code();
            Next::Stage(Stage::Send)
        }
        // There is a connection: the packet opens none, whatever else stood in its way.
        Err(reason)
            if (reason == Reason::Raced || packet.bits & UNSOUGHT != 0) && tables.is_known(packet) =>
        {
            Next::Stage(Stage::Find)
        }
        Err(reason) => {
            if packet.is_quoted() {
                // RFC 1122 §3.2.2: no error about an error. Nor is one routed on (`ip_vs_leave`).
                let reason = if reason == Reason::Bypassed { Reason::NoBackend } else { reason };
                return Next::End(Outcome::of(reason));
            }
            if reason == Reason::Unasked {
                open::answer_in_own_name(tables, packet);
            }
            Next::End(answered(frame, tables, packet, Outcome::of(reason)))
        }
    }
}

#[inline(always)]
fn try_open<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &mut Packet) -> Result<Tracked, Reason> {
    tables.check_arrival(frame, packet, tables.now())?;
    if packet.service == open::UNASKED {
        return Err(Reason::Unasked);
    }
    let mut choice = tables.schedule(frame, packet)?;
    if choice.how & how::FULL_NAT != 0 {
        choice.source = source(tables, packet, choice)?;
    }
    let slot = tables.create(packet, choice)?;
    if packet.is_quoted() {
        // What is to be sent is the error.
        tables.restore(frame, packet)?;
    }
    Ok(Tracked { slot, direction: Direction::Forward })
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

/// Sends a packet of a connection.
#[inline(always)]
pub fn send<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet) -> Outcome {
    let tracked = Tracked::from_code(packet.tracked);
    let outcome = try_send(frame, tables, packet, tracked);
    // Made for this packet alone?
    if tables.connection(tracked.slot).is_some_and(|connection| connection.flags & ONE_PACKET != 0) {
        tables.give_slot(tracked.slot);
    }
    answered(frame, tables, packet, outcome)
}

#[inline(always)]
fn try_send<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &mut Packet, tracked: Tracked) -> Outcome {
    let Some(connection) = tables.connection(tracked.slot) else { return Outcome::of(Reason::Raced) };
    let is_tunnelled = connection.method() == method::TUNNEL;
    if packet.is_icmp() && is_tunnelled && tracked.direction == Direction::Reply {
        return tables.unwrap(frame, packet);
    }
    let exit = nexthop::resolve(frame, tables, tracked, packet, tables.now());
    if let Err(reason @ (Reason::LocalBackend | Reason::DirectReply | Reason::NeighbourSilent)) = exit {
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
    if exit.is_ok()
        && is_rewritten
        && plain::is_plain(frame, packet)
        && let Some(outcome) = tables.forward_plain(frame, packet, tracked)
    {
        return outcome;
    }
    match packet.is_icmp() && is_rewritten {
        true => tables.translate(frame, packet, tracked, exit),
        false => tables.forward(frame, packet, tracked, exit),
    }
}

/// Sends the ICMP error that an outcome calls for, if it does.
#[inline(always)]
fn answered<F: Frame, T: Steps>(frame: &mut F, tables: &T, packet: &Packet, outcome: Outcome) -> Outcome {
    match Answer::to(outcome.reason) {
        Some(answer) => tables.answer(frame, packet, answer, outcome.detail),
        None => outcome,
    }
}
