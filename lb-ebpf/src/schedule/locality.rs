//! What `lblc` and `lblcr` have in common: destinations are remembered with the backends that serve them, and `wlc`
//! chooses for those that are not.

use super::{lblc, lblcr, member, wlc};
use crate::{Steps, Tables, packet::Flow};
use lb_common::{
    cache::{Cache, CacheKey, backend, entry, position},
    scheduler::Scheduler,
    service::Service,
    sysctl::Sysctl,
    time::{remaining, ticks},
};

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    let known = tables.recall(service, flow);
    if known.is_some() {
        return known;
    }
    let chosen = wlc::choose(tables, service)?;
    tables.learn(service, flow, chosen);
    Some(chosen)
}

/// The position of the backend that keeps a known destination.
#[inline(always)]
pub fn known<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Option<u32> {
    let cache = recall(tables, service, flow)?;
    if is_lblc(service) {
        lblc::keeper(tables, service, cache)
    } else {
        lblcr::keeper(tables, service, cache)
    }
}

/// Remembers what was chosen for a destination that nobody kept.
#[inline(always)]
pub fn learn<T: Tables>(tables: &T, service: &Service, flow: &Flow, chosen: u32) {
    let Some(backend) = member(tables, service, chosen).map(|member| member.backend) else { return };
    let known = recall(tables, service, flow);
    let Some(cache) = known.or_else(|| remember(tables, service, flow)) else { return };
    let entry = entry(backend, chosen);
    if is_lblc(service) {
        lblc::replace(cache, entry);
    } else {
        lblcr::join(tables, cache, entry);
    }
}

#[inline(always)]
fn is_lblc(service: &Service) -> bool {
    service.scheduler == Scheduler::Lblc as u8
}

fn key(service: &Service, flow: &Flow) -> CacheKey {
    CacheKey { address: flow.destination, service: service.id, reserved: 0 }
}

/// What is known of a flow's destination. It is forgotten when no packet has asked for so many seconds.
#[inline(always)]
fn recall<'a, T: Tables>(tables: &'a T, service: &Service, flow: &Flow) -> Option<&'a mut Cache> {
    let cache = tables.cache(&key(service, flow))?;
    let now = tables.now();
    let limit = if is_lblc(service) { Sysctl::LblcExpiration } else { Sysctl::LblcrExpiration };
    if is_over(tables, cache.used, limit) {
        return None;
    }
    cache.used = now;
    if cache.generation != service.generation {
        follow(tables, service, cache);
    }
    Some(cache)
}

/// Starts to remember a flow's destination, with no backend yet.
#[inline(always)]
fn remember<'a, T: Tables>(tables: &'a T, service: &Service, flow: &Flow) -> Option<&'a mut Cache> {
    let cache = tables.new_cache(&key(service, flow))?;
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
