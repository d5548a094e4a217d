//! Locality-based least connections: a destination keeps its backend until that is busy while
//! another is idle; then it gets a new one as `wlc` chooses.

use super::{
    locality::{is_busy, recall, remember},
    member,
};
use crate::{Tables, packet::Flow};
use lb_common::{cache::position, service::Service, sysctl::Sysctl};

#[inline(always)]
pub(super) fn known<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    let cache = recall(tables, service, flow, Sysctl::LblcExpiration)?;
    if cache.size == 0 {
        return None;
    }
    let position = position(cache.set[0]);
    // As in IPVS, the mark of overload does not matter to a destination that is known.
    let has_weight = member(tables, service, position).is_some_and(|member| member.weight > 0);
    (has_weight && !is_busy(tables, service, position)).then_some(position)
}

#[inline(always)]
pub(super) fn learn<T: Tables>(tables: &T, service: &Service, flow: &Flow, entry: u32) {
    let known = recall(tables, service, flow, Sysctl::LblcExpiration);
    if let Some(cache) = known.or_else(|| remember(tables, service, flow)) {
        cache.set[0] = entry;
        cache.size = 1;
    }
}
