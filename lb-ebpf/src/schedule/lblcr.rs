//! Locality-based least connections with replication: a destination has a set of backends, and its
//! connections go to the least loaded of them. The set grows when that one is busy while another
//! backend is idle, and loses its most loaded one when it has not changed for a day.
//!
//! Two CPUs may change a set at the same time; then one change is lost, and made again by a later
//! packet.

use super::{
    lightest::Lightest,
    locality::{is_busy, is_over},
    member, overhead,
    weigh::Weigh,
};
use crate::Tables;
use lb_common::{
    cache::{Cache, backend, position},
    service::Service,
    sysctl::Sysctl,
};

/// The backend of a destination's set that takes a connection, unless it is busy.
#[inline(always)]
pub(super) fn keeper<T: Tables>(tables: &T, service: &Service, cache: &mut Cache) -> Option<u32> {
    let chosen = lightest(tables, service, cache);
    if cache.size > 1 && is_over(tables, cache.changed, Sysctl::LblcrExpiration) {
        shrink(tables, service, cache);
    }
    chosen.filter(|&position| !is_busy(tables, service, position))
}

/// The least loaded member of the set; of equals, the one that joined last.
#[inline(always)]
fn lightest<T: Tables>(tables: &T, service: &Service, cache: &Cache) -> Option<u32> {
    let mut best = Lightest::none();
    tables.each(cache.size, |step| {
        let Some(&entry) = cache.set.get((cache.size - 1 - step) as usize) else { return false };
        best.take(Lightest::at(tables, service, position(entry), Weigh::OVERHEAD_FOR_WEIGHT));
        true
    });
    best.position()
}

/// Takes the most loaded member with a weight out of the set.
fn shrink<T: Tables>(tables: &T, service: &Service, cache: &mut Cache) {
    let (mut most, mut load, mut weight) = (cache.size, 0, u64::from(tables.zero()));
    tables.each(cache.size, |step| {
        let number = cache.size - 1 - step;
        let Some(&entry) = cache.set.get(number as usize) else { return false };
        let Some(member) = member(tables, service, position(entry)) else { return true };
        let Some(backend) = tables.backend(member.backend) else { return true };
        let (own_load, own_weight) = (overhead(backend), u64::from(member.weight));
        if own_weight > 0 && (weight == 0 || load * own_weight < own_load * weight) {
            (most, load, weight) = (number, own_load, own_weight);
        }
        true
    });
    if most >= cache.size {
        return;
    }
    tables.each(cache.size - 1 - most, |step| {
        let number = (most + step) as usize;
        let Some(&next) = cache.set.get(number + 1) else { return false };
        if let Some(place) = cache.set.get_mut(number) {
            *place = next;
        }
        true
    });
    cache.size -= 1;
    cache.changed = tables.now();
}

/// Puts a member into the set, unless it is there already or the set is full.
pub(super) fn join<T: Tables>(tables: &T, cache: &mut Cache, new: u32) {
    let mut is_new = true;
    tables.each(cache.size, |number| {
        is_new = cache.set.get(number as usize).is_some_and(|&old| backend(old) != backend(new));
        is_new
    });
    if is_new && let Some(place) = cache.set.get_mut(cache.size as usize) {
        *place = new;
        cache.size += 1;
        cache.changed = tables.now();
    }
}
