//! Which backend a new connection goes to: IPVS's schedulers, a file each, by ipvsadm's names.
//!
//! A scheduler answers with a position in the service's member list. The list is ordered newest
//! first, as in IPVS, and every scan goes head to tail and moves on only for something strictly
//! better: among equals the backend added last wins.

pub mod dh;
pub mod fo;
pub mod lblc;
pub mod lblcr;
pub mod lc;
pub mod lightest;
pub mod locality;
pub mod mh;
pub mod nq;
pub mod ovf;
pub mod rr;
pub mod sed;
pub mod sh;
pub mod twos;
pub mod weigh;
pub mod wlc;
pub mod wrr;

use crate::{Steps, Tables, packet::Flow};
use lb_common::{
    address::Address,
    backend::{Backend, Member, flags},
    scheduler::{NO_BACKEND, Scheduler, Turn},
    service::{
        Service,
        flags::{FULL_NAT, ONE_PACKET},
    },
};

/// The member of `service` that a new connection goes to, as its place in the map of member lists;
/// `None` when no backend can take it.
#[inline(always)]
pub fn choose<T: Steps>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    Some(service.first.wrapping_add(position(tables, service, flow)?))
}

/// The position of that member in its list.
#[inline(always)]
fn position<T: Steps>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    // Past an empty list lies another service's.
    if service.count == 0 {
        return None;
    }
    match Scheduler::from_number(service.scheduler)? {
        Scheduler::Rr => rr::choose(tables, service),
        Scheduler::Wrr => wrr::choose(tables, service),
        Scheduler::Lc => lc::choose(tables, service),
        Scheduler::Wlc => wlc::choose(tables, service),
        Scheduler::Sed => sed::choose(tables, service),
        Scheduler::Nq => nq::choose(tables, service),
        Scheduler::Fo => fo::choose(tables, service),
        Scheduler::Ovf => ovf::choose(tables, service),
        Scheduler::Twos => twos::choose(tables, service),
        Scheduler::Dh => dh::choose(tables, service, flow),
        Scheduler::Sh => sh::choose(tables, service, flow),
        Scheduler::Mh => mh::choose(tables, service, flow),
        Scheduler::Lblc | Scheduler::Lblcr => locality::choose(tables, service, flow),
    }
}

/// Whether nothing tells afterwards that a backend was chosen for a packet of this service, so that it may be done
/// in vain: no turn is taken, no template held, no port given out.
#[inline(always)]
pub fn is_without_trace(service: &Service) -> bool {
    use Scheduler::*;
    let scheduler = Scheduler::from_number(service.scheduler);
    is_plain(service) && matches!(scheduler, Some(Lc | Wlc | Sed | Nq | Fo | Ovf | Dh | Sh | Mh))
}

/// Whether a connection of this service needs nothing but a backend: no template, no port, and it outlives its packet.
#[inline(always)]
pub fn is_plain(service: &Service) -> bool {
    service.persistence == 0 && service.flags & (ONE_PACKET | FULL_NAT) == 0
}

/// Marks a backend that has reached its upper threshold. Called after a connection to it has been
/// counted.
#[inline(always)]
pub fn bound(member: &Member, backend: &mut Backend) {
    if member.upper != 0 && connections(backend) >= u64::from(member.upper) {
        backend.flags |= flags::OVERLOAD;
    }
}

/// The backend of a member, if it may be given a connection: its weight is above 0 and it is not
/// overloaded.
///
/// IPVS clears the mark whenever a connection ends. Only schedulers read it, so it is enough to do
/// so here, when one looks: between two looks connections mostly end, and the count that was low
/// enough then is still low enough now.
#[inline(always)]
pub fn available<'a, T: Tables>(tables: &'a T, member: &Member) -> Option<&'a mut Backend> {
    if member.weight == 0 {
        return None;
    }
    let backend = tables.backend(member.backend)?;
    if backend.flags & flags::OVERLOAD != 0 {
        if !has_recovered(member, backend) {
            return None;
        }
        backend.flags &= !flags::OVERLOAD;
    }
    Some(backend)
}

fn has_recovered(member: &Member, backend: &Backend) -> bool {
    let total = connections(backend);
    if member.lower != 0 {
        total < u64::from(member.lower)
    } else {
        member.upper == 0 || total * 4 < u64::from(member.upper) * 3
    }
}

/// Active and inactive connections together (`ip_vs_dest_totalconns`).
#[inline(always)]
fn connections(backend: &Backend) -> u64 {
    u64::from(backend.active()) + u64::from(backend.inactive())
}

/// The load that `lc` and `wlc` compare (`ip_vs_dest_conn_overhead`): an active connection weighs
/// as much as 257 inactive ones, because it is also counted in the total.
#[inline(always)]
fn overhead(backend: &Backend) -> u64 {
    u64::from(backend.active()) * 256 + connections(backend)
}

/// The member at a position of the service's list.
#[inline(always)]
fn member<'a, T: Tables>(tables: &'a T, service: &Service, position: u32) -> Option<&'a Member> {
    if position >= service.count {
        return None;
    }
    tables.member(service.first.wrapping_add(position))
}

/// The weight of the member at a position; 0 while it may not be given a connection.
#[inline(always)]
fn weight<T: Tables>(tables: &T, service: &Service, position: u32) -> u32 {
    match member(tables, service, position) {
        Some(member) if available(tables, member).is_some() => member.weight,
        _ => 0,
    }
}

/// How often a turn is tried: another CPU may take it first. After that two connections
/// share a turn, which unbalances nothing.
const TRIES: u32 = 4;

/// The turn after the one in a word, of `rr` or `wrr`. One without a position says that no backend is available;
/// without a level too, that nothing is to be stored.
#[inline(always)]
pub fn next_turn<T: Tables>(tables: &T, service: &Service, word: u64) -> u64 {
    if service.scheduler == Scheduler::Rr as u8 {
        rr::next(tables, service, word)
    } else {
        wrr::next(tables, service, word)
    }
}

/// Takes the next turn of a service whose scheduler stands at a [`Turn`], and returns the position
/// it stands at then.
#[inline(always)]
fn take_turn<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    let turn = tables.turn(service.id)?;
    let mut seen = turn.word;
    let mut taken = Turn { word: tables.next_turn(service, seen) };
    if taken.position() == 0 && taken.level() == 0 {
        return None;
    }
    // Not through `each`: its callback is a call more, and kernel 6.1 gives the stack to five with
    // at least 32 bytes each, of which wrr would need 544.
    for _ in 0..TRIES {
        match tables.compare_exchange(&mut turn.word, seen, taken.word) {
            Ok(()) => break,
            Err(now) => seen = now,
        }
        taken.word = tables.next_turn(service, seen);
    }
    taken.position().checked_sub(1)
}

/// Whether a turn was written by this version of the service.
#[inline(always)]
const fn is_current(turn: Turn, service: &Service) -> bool {
    turn.generation() == service.generation & 0xffff
}

/// The 32 bits of an address that the hashing schedulers use, host order: an IPv4 address as it
/// is, the four words of an IPv6 address in one.
#[inline(always)]
pub const fn fold(address: Address) -> u32 {
    if address.is_ipv4() {
        return u32::from_be(address.ipv4());
    }
    let words = address.words[0] ^ address.words[1];
    u32::from_be((words >> 32) as u32 ^ words as u32)
}

/// The position in a slot of the service's lookup table, [`BUSY`] if that member may not be given a
/// connection, [`NO_BACKEND`] for an empty slot.
///
/// Plain numbers: of nested `Option`s the compiler copies bytes that were never written, which the
/// verifier refuses.
#[inline(always)]
fn looked_up<T: Tables>(tables: &T, service: &Service, slot: u32) -> u32 {
    let position = tables.lookup(service.table.wrapping_add(slot));
    if position == NO_BACKEND || weight(tables, service, position) != 0 { position } else { BUSY }
}

/// A member that may not be given a connection.
const BUSY: u32 = NO_BACKEND - 1;

/// The position of a slot that may be given a connection.
#[inline(always)]
fn usable(position: u32) -> Option<u32> {
    if position < BUSY { Some(position) } else { None }
}
