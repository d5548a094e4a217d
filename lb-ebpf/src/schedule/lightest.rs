//! The least loaded member for its weight, which `lc`, `wlc`, `sed` and `nq` look for.
//!
//! Of a long list the best member of each block is remembered ([`Block`]), until the connections of one of the
//! block's members change, and of a very long one the best of each group of blocks too. A look then costs as much as
//! there are groups, and blocks in the few groups that changed, and members in the few blocks; what it
//! finds is what a look at the whole list would.

use super::{available, is_current, member};
use crate::Tables;
use lb_common::{
    backend::{Backend, Member},
    block::{Block, GROUP, MEMBERS, group, has_groups},
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

    /// Offers the members from a position on, as many as a block has.
    #[inline(always)]
    fn offer_members<T: Tables>(&mut self, tables: &T, service: &Service, first: u32, weigh: impl Weigh) {
        // Two at a time: a step is a call.
        tables.each(MEMBERS / 2, |step| {
            let position = first + 2 * step;
            self.offer_at(tables, service, position, weigh)
                && self.offer_at(tables, service, position + 1, weigh)
        });
    }

    /// Offers the best members of the blocks from a number on, as many as a group has.
    #[inline(always)]
    fn offer_blocks<T: Tables>(&mut self, tables: &T, service: &Service, first: u32, weigh: impl Weigh) {
        tables.each(GROUP, |step| {
            let (number, from) = (first + step, (first + step) * MEMBERS);
            let look = |best: &mut Self| best.offer_members(tables, service, from, weigh);
            if from < service.count {
                let position = remembered(tables, service.first / MEMBERS + number, look);
                self.offer_at(tables, service, position.wrapping_sub(1), weigh);
            }
            from < service.count
        });
    }

    /// Offers the member at a position, if it may be given a connection. `false` past the list.
    #[inline(always)]
    fn offer_at<T: Tables>(
        &mut self,
        tables: &T,
        service: &Service,
        position: u32,
        weigh: impl Weigh,
    ) -> bool {
        let Some(member) = member(tables, service, position) else { return false };
        if let Some(backend) = available(tables, member) {
            self.offer(position, weigh.weight(member), weigh.load(backend));
        }
        true
    }
}

/// What a scheduler compares.
pub(super) trait Weigh: Copy {
    /// What a backend carries.
    fn load(self, backend: &Backend) -> u64;

    /// What it should carry, relative to others.
    #[inline(always)]
    fn weight(self, member: &Member) -> u32 {
        member.weight
    }
}

/// The member with the least load for its weight, of those that may be given a connection; of equals,
/// the first in the list.
#[inline(always)]
pub(super) fn lightest<T: Tables>(tables: &T, service: &Service, weigh: impl Weigh) -> Option<u32> {
    let mut best = Lightest::none();
    if !has_blocks(tables, service) {
        tables.each(service.count, |position| best.offer_at(tables, service, position, weigh));
    } else if !has_groups(service.count) {
        best.offer_blocks(tables, service, 0, weigh);
    } else {
        tables.each(service.count.div_ceil(GROUP * MEMBERS), |number| {
            let first = number * GROUP;
            let look = |best: &mut Lightest| best.offer_blocks(tables, service, first, weigh);
            let position = remembered(tables, group(service.first / MEMBERS + first), look);
            best.offer_at(tables, service, position.wrapping_sub(1), weigh);
            true
        });
    }
    best.position()
}

/// Whether the blocks of this version of the service are kept up to date. `lb-ctl` says so last when
/// it publishes a version, in the turn, which these schedulers do not need.
#[inline(always)]
fn has_blocks<T: Tables>(tables: &T, service: &Service) -> bool {
    service.count > MEMBERS
        && tables.turn(service.id).is_some_and(|turn| is_current(*turn, service) && turn.position() != 0)
}

/// The position, from 1, of the best member of a block or of a group, which `look` looks for if something has
/// changed; 0 when none can take a connection.
#[inline(always)]
fn remembered<T: Tables>(tables: &T, number: u32, look: impl FnOnce(&mut Lightest)) -> u32 {
    let Some(block) = tables.block(number) else { return 0 };
    if block.is_current() {
        return block.position();
    }
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
    for number in [number.into(), group(number.into())] {
        if let Some(block) = tables.block(number) {
            tables.add(&mut block.changes, 1);
        }
    }
}
