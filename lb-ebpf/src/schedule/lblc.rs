//! Locality-based least connections: a destination keeps its backend until that is busy while
//! another is idle; then it gets a new one as `wlc` chooses.

use super::{Request, member, wlc};
use crate::Tables;
use lb_common::{
    cache::{Cache, CacheKey, backend, entry, position},
    service::Service,
    sysctl::Sysctl,
    time::{remaining, ticks},
};

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, request: &Request) -> Option<u32> {
    let known = recall(tables, service, request, Sysctl::LblcExpiration);
    if let Some(cache) = &known
        && cache.size > 0
    {
        let position = position(cache.set[0]);
        // As in IPVS, the mark of overload does not matter to a destination that is known.
        let has_weight = member(tables, service, position).is_some_and(|member| member.weight > 0);
        if has_weight && !is_busy(tables, service, position) {
            return Some(position);
        }
    }
    let chosen = wlc::choose(tables, service)?;
    let backend = member(tables, service, chosen)?.backend;
    if let Some(cache) = known.or_else(|| remember(tables, service, request)) {
        cache.set[0] = entry(backend, chosen);
        cache.size = 1;
    }
    Some(chosen)
}

fn key(service: &Service, request: &Request) -> CacheKey {
    CacheKey { address: request.destination, service: service.id, reserved: 0 }
}

/// What is known of the request's destination.
#[inline(always)]
pub(super) fn recall<'a, T: Tables>(
    tables: &'a T,
    service: &Service,
    request: &Request,
    limit: Sysctl,
) -> Option<&'a mut Cache> {
    let cache = tables.cache(&key(service, request))?;
    let now = tables.now();
    if is_over(tables, cache.used, limit) {
        return None;
    }
    cache.used = now;
    if cache.generation != service.generation {
        follow(tables, service, cache);
    }
    Some(cache)
}

/// Starts to remember the request's destination, with no backend yet.
#[inline(always)]
pub(super) fn remember<'a, T: Tables>(
    tables: &'a T,
    service: &Service,
    request: &Request,
) -> Option<&'a mut Cache> {
    let cache = tables.new_cache(&key(service, request))?;
    cache.used = tables.now();
    cache.generation = service.generation;
    Some(cache)
}

/// Whether the seconds of a sysctl have passed since a tick.
#[inline(always)]
pub(super) fn is_over<T: Tables>(tables: &T, since: u32, limit: Sysctl) -> bool {
    let limit = tables.settings().map_or(0, |settings| settings.sysctl(limit));
    remaining(since.wrapping_add(ticks(limit)), tables.now()) <= 0
}

/// Moves a set to the member list of another version of the service. Backends that have been
/// removed leave the set.
fn follow<T: Tables>(tables: &T, service: &Service, cache: &mut Cache) {
    let size = cache.size;
    // Counts those that stay. It is kept in the map because the verifier follows a number on the
    // stack that becomes an index through every round of the loop.
    cache.size = 0;
    tables.each(size, |number| {
        let Some(&old) = cache.set.get(number as usize) else { return false };
        let position = find(tables, service, backend(old), position(old));
        if position < service.count
            && let Some(place) = cache.set.get_mut(cache.size as usize)
        {
            *place = entry(backend(old), position);
            cache.size += 1;
        }
        true
    });
    cache.generation = service.generation;
}

/// The position of a backend, which may still be at `hint`; past the list if it is not in it.
#[inline(never)]
fn find<T: Tables>(tables: &T, service: &Service, backend: u32, hint: u32) -> u32 {
    if member(tables, service, hint).is_some_and(|member| member.backend == backend) {
        return hint;
    }
    let mut found = service.count;
    tables.each(service.count, |position| {
        if member(tables, service, position).is_some_and(|member| member.backend == backend) {
            found = position;
        }
        found == service.count
    });
    found
}

/// Whether a member has more active connections than its weight while some other has less than
/// half as many as its own.
#[inline(always)]
pub(super) fn is_busy<T: Tables>(tables: &T, service: &Service, position: u32) -> bool {
    let (active, weight) = active_and_weight(tables, service, position);
    let mut idle = false;
    if active > weight {
        tables.each(service.count, |other| {
            let (active, weight) = active_and_weight(tables, service, other);
            idle = active * 2 < weight;
            !idle
        });
    }
    idle
}

#[inline(always)]
fn active_and_weight<T: Tables>(tables: &T, service: &Service, position: u32) -> (u64, u64) {
    let Some(member) = member(tables, service, position) else { return (0, 0) };
    let active = tables.backend(member.backend).map_or(0, |backend| backend.active());
    (u64::from(active), u64::from(member.weight))
}
