//! The least loaded member for its weight, which `lc`, `wlc`, `sed` and `nq` look for.
//!
//! Of a long list the best member of each block is remembered ([`Block`]), until the connections of one of the
//! block's members change, and of a very long one the best of each group of blocks too. A look then costs as much as
//! there are groups, and blocks in the few groups that changed, and members in the few blocks; what it
//! finds is what a look at the whole list would.
//!
//! Where loads have only risen since, a look begins at the member that was the best, and ends at one that carries no
//! more for its weight than that one did, the floor: nothing before it carries as little, and nothing after it less. So
//! connections that go round equal members cost a step each.

use super::{available, is_current, member, weigh::Weigh};
use crate::{Steps, Tables};
use lb_common::{
    backend::Backend,
    block::{self, Block, FALL, GROUP, MEMBERS, RISE, has_groups},
    limits::BACKENDS_PER_SERVICE,
    service::Service,
};

/// The least load so far for its weight.
pub(super) struct Lightest {
    /// The member's position, from 1; 0 is none.
    place: u32,
    weight: u32,
    load: u64,
}

impl Lightest {
    /// Any member is lighter than a load of 1 on a weight of 0.
    pub(super) const fn none() -> Self {
        Self { place: 0, weight: 0, load: 1 }
    }

    /// None is lighter than this one, at the head of the list.
    const fn nothing() -> Self {
        Self { place: 1, weight: 1, load: 0 }
    }

    /// The member at a position, if there is one and it may be given a connection.
    #[inline(always)]
    pub(super) fn at<T: Tables>(tables: &T, service: &Service, position: u32, weigh: Weigh) -> Option<Self> {
        let member = member(tables, service, position)?;
        let backend = available(tables, member)?;
        Some(Self { place: position + 1, weight: weigh.weight(member), load: weigh.load(backend) })
    }

    /// The best member of the block or group at a place in their map, by `look` if something has changed.
    #[inline(always)]
    fn of<T: Tables>(
        tables: &T,
        service: &Service,
        place: u32,
        weigh: Weigh,
        look: impl FnOnce() -> u32,
    ) -> Option<Self> {
        let position = match tables.block(place) {
            Some(block) if block.is_current() => block.position(),
            Some(_) => look(),
            None => 0,
        };
        Self::at(tables, service, position.wrapping_sub(1), weigh)
    }

    /// The best member of a block.
    #[inline(always)]
    fn of_block<T: Steps>(tables: &T, service: &Service, block: u32, weigh: Weigh) -> Option<Self> {
        let look = || tables.look_into_block(service, block, weigh);
        Self::of(tables, service, service.first / MEMBERS + block, weigh, look)
    }

    /// The best member of a group.
    #[inline(always)]
    fn of_group<T: Steps>(tables: &T, service: &Service, group: u32, weigh: Weigh) -> Option<Self> {
        let look = || tables.look_into_group(service, group, weigh);
        Self::of(tables, service, place(service, group), weigh, look)
    }

    /// Offers a member that there may be. `load / weight` is compared as IPVS does, by multiplying crosswise, in 64 bits as
    /// there.
    #[inline(always)]
    pub(super) fn take(&mut self, other: Option<Self>) {
        if let Some(other) = other
            && self.load * u64::from(other.weight) > other.load * u64::from(self.weight)
        {
            *self = other;
        }
    }

    /// The same for members in any order: of equals, the first in the list is the lightest.
    #[inline(always)]
    fn offer_unordered(&mut self, other: Self) {
        let (mine, its) = (self.load * u64::from(other.weight), other.load * u64::from(self.weight));
        if mine > its || mine == its && other.place < self.place {
            *self = other;
        }
    }

    /// Whether it is no heavier than another.
    #[inline(always)]
    fn is_within(&self, other: &Self) -> bool {
        self.load * u64::from(other.weight) <= other.load * u64::from(self.weight)
    }

    #[inline(always)]
    pub(super) fn position(&self) -> Option<u32> {
        if self.weight == 0 { None } else { Some(self.place - 1) }
    }
}

/// The number after another among those of its part of the list, the first after the last.
#[inline(always)]
const fn next_of(number: u32, part: u32) -> u32 {
    number / part * part + (number + 1) % part
}

/// The member with the least load for its weight, of those that may be given a connection; of equals,
/// the first in the list.
#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service, weigh: Weigh) -> Option<u32> {
    if service.count <= MEMBERS {
        return tables.lightest_of_few(service, weigh);
    }
    if has_blocks(tables, service) {
        return tables.lightest_of_blocks(service, weigh);
    }
    let mut best = Lightest::none();
    tables.each(service.count, |position| {
        best.take(Lightest::at(tables, service, position, weigh));
        true
    });
    best.position()
}

/// The same of a list no longer than a block.
#[inline(always)]
pub fn of_few<T: Tables>(tables: &T, service: &Service, weigh: Weigh) -> Option<u32> {
    let mut best = Lightest::none();
    // From a number that the verifier knows.
    for position in 0..MEMBERS {
        if position >= service.count {
            break;
        }
        best.take(Lightest::at(tables, service, position, weigh));
    }
    best.position()
}

/// The same of a list whose blocks are kept.
#[inline(always)]
pub fn of_blocks<T: Steps>(tables: &T, service: &Service, weigh: Weigh) -> Option<u32> {
    let mut best = Lightest::none();
    if has_groups(service.count) {
        for group in 0..BACKENDS_PER_SERVICE / (GROUP * MEMBERS) {
            if group * GROUP * MEMBERS >= service.count {
                break;
            }
            best.take(Lightest::of_group(tables, service, group, weigh));
        }
    } else {
        for block in 0..GROUP {
            if block * MEMBERS >= service.count {
                break;
            }
            best.take(Lightest::of_block(tables, service, block, weigh));
        }
    }
    best.position()
}

/// Whether the blocks of this version of the service are kept up to date. `lb-ctl` says so last when
/// it publishes a version, in the turn, which these schedulers do not need.
#[inline(always)]
fn has_blocks<T: Tables>(tables: &T, service: &Service) -> bool {
    tables.turn(service.id).is_some_and(|turn| is_current(*turn, service) && turn.position() != 0)
}

/// The position, from 1, of the best member of a block, by a look at its members; 0 when none can take a connection.
#[inline(always)]
pub fn look_into_block<T: Tables>(tables: &T, service: &Service, block: u32, weigh: Weigh) -> u32 {
    look_into(tables, service, service.first / MEMBERS + block, weigh, |floor| {
        let first = block * MEMBERS + (floor.place - 1) % MEMBERS;
        lightest(first, MEMBERS, floor, |position| Lightest::at(tables, service, position, weigh))
    })
}

/// The same of a group, by a look at its blocks.
#[inline(always)]
pub fn look_into_group<T: Steps>(tables: &T, service: &Service, group: u32, weigh: Weigh) -> u32 {
    look_into(tables, service, place(service, group), weigh, |floor| {
        let first = group * GROUP + (floor.place - 1) / MEMBERS % GROUP;
        lightest(first, GROUP, floor, |block| {
            if block * MEMBERS >= service.count {
                return None;
            }
            Lightest::of_block(tables, service, block, weigh)
        })
    })
}

/// The lightest of a part of the list, from a number on round the part. What is within the floor is the lightest.
#[inline(always)]
fn lightest(first: u32, part: u32, floor: &Lightest, of: impl Fn(u32) -> Option<Lightest>) -> Lightest {
    let (mut best, mut number) = (Lightest::none(), first);
    // From a number that the verifier knows.
    for _ in 0..part {
        if let Some(other) = of(number) {
            best.offer_unordered(other);
            if best.is_within(floor) {
                break;
            }
        }
        number = next_of(number, part);
    }
    best
}

/// Where a group of a service's list lies in the map of blocks.
#[inline(always)]
const fn place(service: &Service, group: u32) -> u32 {
    block::group(service.first / MEMBERS + group * GROUP)
}

/// Looks into a block or a group, and remembers what is found. The look is told what the floor is.
#[inline(always)]
fn look_into<T: Tables>(
    tables: &T,
    service: &Service,
    number: u32,
    weigh: Weigh,
    look: impl FnOnce(&Lightest) -> Lightest,
) -> u32 {
    let Some(block) = tables.block(number) else { return 0 };
    // A barrier: what is seen of the members is at least as new.
    let changes = tables.add(&mut block.changes, 0);
    let mut floor = Lightest::nothing();
    if let Some((place, load)) = block.floor()
        && let Some(member) = member(tables, service, place - 1)
    {
        floor = Lightest { place, weight: weigh.weight(member), load };
    }
    let best = look(&floor);
    block.best = Block::found(changes, best.place);
    block.least = Block::carried(changes, best.load);
    block.position()
}

/// Says that a backend's connections have changed: [`RISE`] or [`FALL`].
#[inline(always)]
pub fn changed<T: Tables>(tables: &T, backend: &Backend, change: u64) {
    let Some(number) = backend.block.checked_sub(1) else { return };
    // First the block, then its group: who finds the group unchanged would have found all its blocks so.
    for number in [number.into(), block::group(number.into())] {
        if let Some(block) = tables.block(number) {
            tables.add(&mut block.changes, change);
        }
    }
}

/// What a change of a backend's connections does to its load, for any scheduler: [`RISE`] where it rises or stays.
#[inline(always)]
pub const fn effect(connections: u64) -> u64 {
    // Its active ones are the lower half, and weigh more than the others.
    let active = connections as u32 as i32;
    if active < 0 || active == 0 && (connections as i64) < 0 { FALL } else { RISE }
}
