//! The least loaded member for its weight, which `lc`, `wlc`, `sed` and `nq` look for.
//!
//! Of a long list the best member of each block is remembered ([`Block`]), until the connections of one of the
//! block's members change. A look then costs as much as there are blocks, and members in the few blocks
//! that changed; what it finds is what a look at the whole list would.

use super::{available, is_current, member};
use crate::Tables;
use lb_common::{
    backend::{Backend, Member},
    block::{Block, MEMBERS},
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
    if has_blocks(tables, service) {
        tables.each(service.count.div_ceil(MEMBERS), |number| {
            if let Some(position) = best_of(tables, service, number, weigh).checked_sub(1) {
                best.offer_at(tables, service, position, weigh);
            }
            true
        });
    } else {
        tables.each(service.count, |position| best.offer_at(tables, service, position, weigh));
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

/// The position, from 1, of the best member of a block; 0 when none can take a connection.
#[inline(always)]
fn best_of<T: Tables>(tables: &T, service: &Service, number: u32, weigh: impl Weigh) -> u32 {
    let Some(block) = tables.block(service.first / MEMBERS + number) else { return 0 };
    if block.is_current() {
        return block.position();
    }
    // A barrier: what is seen of the members is at least as new.
    let changes = tables.add(&mut block.changes, 0);
    let mut best = Lightest::none();
    tables.each(MEMBERS, |step| best.offer_at(tables, service, number * MEMBERS + step, weigh));
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
    if let Some(number) = backend.block.checked_sub(1)
        && let Some(block) = tables.block(number.into())
    {
        tables.add(&mut block.changes, 1);
    }
}
