//! The least loaded member for its weight, which `lc`, `wlc`, `sed` and `nq` look for.
//!
//! Of a long list the best member of each block is remembered ([`Block`]), until the connections of one of the
//! block's members change, and of a very long one the best of each group of blocks too. A look then costs as much as
//! there are groups, and blocks in the few groups that changed, and members in the few blocks; what it
//! finds is what a look at the whole list would.

use super::{available, is_current, member, overhead, sed::delay};
use crate::{Steps, Tables};
use lb_common::{
    backend::{Backend, Member},
    block::{self, Block, GROUP, MEMBERS, has_groups},
    limits::BACKENDS_PER_SERVICE,
    service::Service,
};

/// The least load so far for its weight.
pub(super) struct Lightest {
    position: u32,
    weight: u32,
    load: u64,
}

impl Lightest {
    /// Any member is lighter than a load of 1 on a weight of 0.
    pub(super) const fn none() -> Self {
        Self { position: 0, weight: 0, load: 1 }
    }

    /// `load / weight` is compared as IPVS does, by multiplying crosswise. The products stay below
    /// 2^57.
    #[inline(always)]
    pub(super) fn offer(&mut self, position: u32, weight: u32, load: u64) {
        if self.load * u64::from(weight) > load * u64::from(self.weight) {
            *self = Self { position, weight, load };
        }
    }

    #[inline(always)]
    pub(super) fn position(&self) -> Option<u32> {
        if self.weight == 0 { None } else { Some(self.position) }
    }

    /// Offers the members of a block.
    #[inline(always)]
    fn offer_members<T: Tables>(&mut self, tables: &T, service: &Service, block: u32, weigh: Weigh) {
        let first = block * MEMBERS;
        // From a number that the verifier knows.
        for step in 0..MEMBERS {
            if !self.offer_at(tables, service, first + step, weigh) {
                break;
            }
        }
    }

    /// Offers the best members of the blocks of a group.
    #[inline(always)]
    fn offer_blocks<T: Steps>(&mut self, tables: &T, service: &Service, group: u32, weigh: Weigh) {
        for step in 0..GROUP {
            let block = group * GROUP + step;
            if block * MEMBERS >= service.count {
                break;
            }
            let look = || tables.look_into_block(service, block, weigh);
            self.offer_best(tables, service, service.first / MEMBERS + block, weigh, look);
        }
    }

    /// Offers the best members of all groups.
    #[inline(always)]
    fn offer_groups<T: Steps>(&mut self, tables: &T, service: &Service, weigh: Weigh) {
        for group in 0..BACKENDS_PER_SERVICE / (GROUP * MEMBERS) {
            if group * GROUP * MEMBERS >= service.count {
                break;
            }
            let look = || tables.look_into_group(service, group, weigh);
            self.offer_best(tables, service, place(service, group), weigh, look);
        }
    }

    /// Offers the best member of the block or group at a place, by `look` if something has changed.
    #[inline(always)]
    fn offer_best<T: Tables>(
        &mut self,
        tables: &T,
        service: &Service,
        place: u32,
        weigh: Weigh,
        look: impl FnOnce() -> u32,
    ) {
        let position = match tables.block(place) {
            Some(block) if block.is_current() => block.position(),
            Some(_) => look(),
            None => 0,
        };
        self.offer_at(tables, service, position.wrapping_sub(1), weigh);
    }

    /// Offers the member at a position, if it may be given a connection. `false` past the list.
    #[inline(always)]
    fn offer_at<T: Tables>(&mut self, tables: &T, service: &Service, position: u32, weigh: Weigh) -> bool {
        let Some(member) = member(tables, service, position) else { return false };
        if let Some(backend) = available(tables, member) {
            self.offer(position, weigh.weight(member), weigh.load(backend));
        }
        true
    }
}

/// What a scheduler compares. Data and not a type, so that one copy of the code serves all.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Weigh {
    /// `lc`.
    Overhead,
    /// `wlc`.
    OverheadForWeight,
    /// `sed`.
    DelayForWeight,
    /// `nq`.
    IdleFirst,
}

impl Weigh {
    /// The one with a number; any for a number that no other has.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Overhead,
            1 => Self::OverheadForWeight,
            2 => Self::DelayForWeight,
            _ => Self::IdleFirst,
        }
    }

    /// What a backend carries.
    #[inline(always)]
    fn load(self, backend: &Backend) -> u64 {
        match self {
            Self::Overhead | Self::OverheadForWeight => overhead(backend),
            // Of no load at all, an idle member is lighter than any other of any weight, and the first stays.
            Self::IdleFirst if backend.active() == 0 => 0,
            Self::DelayForWeight | Self::IdleFirst => delay(backend),
        }
    }

    /// What it should carry, relative to others.
    #[inline(always)]
    fn weight(self, member: &Member) -> u32 {
        if self == Self::Overhead { 1 } else { member.weight }
    }
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
    tables.each(service.count, |position| best.offer_at(tables, service, position, weigh));
    best.position()
}

/// The same of a list no longer than a block.
#[inline(always)]
pub fn of_few<T: Tables>(tables: &T, service: &Service, weigh: Weigh) -> Option<u32> {
    let mut best = Lightest::none();
    best.offer_members(tables, service, 0, weigh);
    best.position()
}

/// The same of a list whose blocks are kept.
#[inline(always)]
pub fn of_blocks<T: Steps>(tables: &T, service: &Service, weigh: Weigh) -> Option<u32> {
    let mut best = Lightest::none();
    if has_groups(service.count) {
        best.offer_groups(tables, service, weigh);
    } else {
        best.offer_blocks(tables, service, 0, weigh);
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
    look_into(tables, service.first / MEMBERS + block, |best| {
        best.offer_members(tables, service, block, weigh);
    })
}

/// The same of a group, by a look at its blocks.
#[inline(always)]
pub fn look_into_group<T: Steps>(tables: &T, service: &Service, group: u32, weigh: Weigh) -> u32 {
    look_into(tables, place(service, group), |best| best.offer_blocks(tables, service, group, weigh))
}

/// Where a group of a service's list lies in the map of blocks.
#[inline(always)]
const fn place(service: &Service, group: u32) -> u32 {
    block::group(service.first / MEMBERS + group * GROUP)
}

#[inline(always)]
fn look_into<T: Tables>(tables: &T, number: u32, look: impl FnOnce(&mut Lightest)) -> u32 {
    let Some(block) = tables.block(number) else { return 0 };
    // A barrier: what is seen of the members is at least as new.
    let changes = tables.add(&mut block.changes, 0);
    let mut best = Lightest::none();
    look(&mut best);
    let position = match best.position() {
        Some(position) => position + 1,
        None => 0,
    };
    block.best = Block::found(changes, position);
    position
}

/// Says that a backend's connections have changed.
#[inline(always)]
pub fn changed<T: Tables>(tables: &T, backend: &Backend) {
    let Some(number) = backend.block.checked_sub(1) else { return };
    // First the block, then its group: who finds the group unchanged would have found all its blocks so.
    for number in [number.into(), block::group(number.into())] {
        if let Some(block) = tables.block(number) {
            tables.add(&mut block.changes, 1);
        }
    }
}
