//! What `lb-ctl` works out when it publishes a version of a service, so that the packet path does
//! not have to: `wrr`'s steps, the lookup tables of `dh`, `sh` and `mh`, and where a scheduler that
//! takes turns goes on.

use crate::schedule::{
    fold,
    mh::{self, START_KEY},
    wrr,
};
use lb_common::{
    address::Address,
    backend::Member,
    block::MEMBERS,
    scheduler::{HASH_BUCKETS, MAGLEV_SLOTS, NO_BACKEND, Scheduler, Turn},
    service::Service,
};
use std::{vec, vec::Vec};

/// Both halves of the key that `mh` hashes the stride of a member's permutation with.
const STRIDE_KEY: u64 = 2_654_446_892;
/// `mh` cuts weights to this many bits (`IP_VS_MH_TAB_BITS`).
const MAGLEV_WEIGHT_BITS: u32 = 6;

/// What of a [`Service`] follows from its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// [`Service::divisor`].
    pub divisor: u32,
    /// [`Service::greatest`].
    pub greatest: u32,
    /// The lookup table: positions in the member list, [`NO_BACKEND`] where no member fills a
    /// slot. [`Scheduler::table_length`] entries.
    pub table: Vec<u32>,
}

/// Plans a service with these members, newest first, each with the address and the port (network
/// order) of its backend.
pub fn plan(scheduler: Scheduler, members: &[(Member, Address, u16)]) -> Plan {
    let weights = || members.iter().map(|(member, ..)| member.weight);
    let (divisor, greatest) = steps(weights());
    Plan {
        divisor,
        greatest,
        table: match scheduler {
            Scheduler::Dh => buckets(members.iter().map(|_| 1)),
            Scheduler::Sh => buckets(weights()),
            Scheduler::Mh => maglev(members),
            _ => Vec::new(),
        },
    }
}

/// Whether the packet path keeps a [`lb_common::block::Block`] for each part of the list.
pub fn has_blocks(scheduler: Scheduler, members: usize) -> bool {
    use Scheduler::*;
    members > MEMBERS as usize && matches!(scheduler, Lc | Wlc | Sed | Nq | Lblc | Lblcr)
}

/// The [`Turn`] of a service whose blocks are kept, as of the version of this generation.
pub fn blocks_kept(generation: u32) -> Turn {
    Turn::new(generation, 1, 0)
}

/// [`Service::start`] of the next version of a service: what an edit of the members leaves of the
/// turn that the service has reached.
///
/// `old` is the version in use, with its turn and its members; `None` for a new service. One whose
/// scheduler changes starts at 0. `next` are the members of the next version.
pub fn start(scheduler: Scheduler, old: Option<(&Service, Turn, &[Member])>, next: &[Member]) -> u32 {
    match (scheduler, old) {
        (Scheduler::Rr, Some((service, turn, members))) => {
            let last = if is_current(turn, service) { turn.position() } else { service.start };
            last_kept(&members[..members.len().min(last as usize)], next)
        }
        (Scheduler::Wrr, Some((service, turn, _))) => {
            let level = if is_current(turn, service) { turn.level() } else { service.start };
            let (divisor, greatest) = steps(next.iter().map(|member| member.weight));
            kept_level(level, divisor, greatest)
        }
        (Scheduler::Wrr, None) => level_after_adding(next),
        _ => 0,
    }
}

/// [`Plan::divisor`] and [`Plan::greatest`].
fn steps(weights: impl Iterator<Item = u32> + Clone) -> (u32, u32) {
    (weights.clone().fold(0, greatest_common_divisor).max(1), weights.max().unwrap_or(0))
}

fn is_current(turn: Turn, service: &Service) -> bool {
    turn.generation() == service.generation & 0xffff
}

/// `rr` stays at the member it used last, wherever that is in the new list; if it has been
/// removed, at the nearest one before it that has not.
fn last_kept(used: &[Member], next: &[Member]) -> u32 {
    used.iter()
        .rev()
        .find_map(|last| next.iter().position(|member| member.backend == last.backend))
        .map_or(0, |position| position as u32 + 1)
}

/// `wrr` goes back to the head of the list at any edit, but keeps the level that it was at, moved
/// to one of the new steps.
fn kept_level(level: u32, divisor: u32, greatest: u32) -> u32 {
    let top = wrr::top(greatest, divisor);
    if level == 0 || level > top {
        top
    } else if divisor > 1 {
        level / divisor * divisor + 1
    } else {
        level
    }
}

/// The level of a new service whose members were added one by one, as ipvsadm adds them: the last
/// in the list first.
fn level_after_adding(members: &[Member]) -> u32 {
    let (mut level, mut divisor, mut greatest) = (0, 0, 0);
    for member in members.iter().rev() {
        divisor = greatest_common_divisor(divisor, member.weight);
        greatest = member.weight.max(greatest);
        level = kept_level(level, divisor.max(1), greatest);
    }
    level
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Fills buckets in the order of the list, over and over, `runs` buckets in a row for each member.
/// A run of 0 is one bucket too.
fn buckets(runs: impl Iterator<Item = u32> + Clone) -> Vec<u32> {
    let round = runs.enumerate().flat_map(|(position, run)| {
        std::iter::repeat_n(position as u32, run.clamp(1, HASH_BUCKETS) as usize)
    });
    let mut table: Vec<u32> = round.cycle().take(HASH_BUCKETS as usize).collect();
    table.resize(HASH_BUCKETS as usize, NO_BACKEND);
    table
}

/// Where a member stands in its permutation of the slots.
struct Permutation {
    slot: u32,
    stride: u32,
    /// Slots it takes when it is its turn; 0 for a member that never had a weight.
    turns: u32,
}

/// Weights count here as they last were above 0, so a quiesced member keeps its slots and a return
/// of its weight moves no client.
fn maglev(members: &[(Member, Address, u16)]) -> Vec<u32> {
    let mut table = vec![NO_BACKEND; MAGLEV_SLOTS as usize];
    // IPVS refuses to plan for more members than slots, and keeps the table it has.
    let first = members.len().saturating_sub(MAGLEV_SLOTS as usize);
    let members = &members[first..];

    let last_weights = || members.iter().map(|(member, ..)| member.last_weight);
    let divisor = last_weights().fold(0, greatest_common_divisor);
    if divisor == 0 {
        return table;
    }
    let greatest = last_weights().max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - greatest.leading_zeros()).saturating_sub(MAGLEV_WEIGHT_BITS);

    let mut permutations: Vec<Permutation> = members
        .iter()
        .map(|(member, address, port)| {
            let key = fold(*address).wrapping_add(u16::from_be(*port).into());
            Permutation {
                slot: mh::hash(key, START_KEY) % MAGLEV_SLOTS,
                stride: mh::hash(key, STRIDE_KEY) % (MAGLEV_SLOTS - 1) + 1,
                turns: ((member.last_weight / divisor) >> shift).max(member.last_weight.min(1)),
            }
        })
        .collect();

    let mut empty = MAGLEV_SLOTS;
    while empty > 0 {
        for (position, permutation) in permutations.iter_mut().enumerate() {
            for _ in 0..permutation.turns.min(empty) {
                // The stride and the number of slots have no common divisor: an empty one comes.
                while table[permutation.slot as usize] != NO_BACKEND {
                    permutation.slot = (permutation.slot + permutation.stride) % MAGLEV_SLOTS;
                }
                table[permutation.slot as usize] = (first + position) as u32;
                empty -= 1;
            }
        }
    }
    table
}
