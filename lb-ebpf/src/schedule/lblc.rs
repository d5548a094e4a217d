//! Locality-based least connections: a destination keeps its backend until that is busy while
//! another is idle; then it gets a new one as `wlc` chooses.

use super::{locality::is_busy, member};
use crate::Tables;
use lb_common::{
    cache::{Cache, position},
    service::Service,
};

/// The backend that keeps a destination.
#[inline(always)]
pub(super) fn keeper<T: Tables>(tables: &T, service: &Service, cache: &Cache) -> Option<u32> {
    if cache.size == 0 {
        return None;
    }
    let position = position(cache.set[0]);
    // As in IPVS, the mark of overload does not matter to a destination that is known.
    let has_weight = member(tables, service, position).is_some_and(|member| member.weight > 0);
    (has_weight && !is_busy(tables, service, position)).then_some(position)
}

/// Gives a destination another one.
#[inline(always)]
pub(super) fn replace(cache: &mut Cache, entry: u32) {
    cache.set[0] = entry;
    cache.size = 1;
}
