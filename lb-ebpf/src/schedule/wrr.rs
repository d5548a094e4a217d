//! Weighted round robin.
//!
//! A level runs down from the greatest weight to 1 in steps of the weights' greatest common
//! divisor. At each level the list is walked once, and every member whose weight reaches the level
//! gets a connection.

use super::{is_current, take_turn, weight};
use crate::{Steps, Tables};
use lb_common::{scheduler::Turn, service::Service};

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    if service.greatest == 0 {
        return None;
    }
    take_turn(tables, service)
}

/// The turn after the one in `word`.
#[inline(always)]
pub(super) fn next<T: Tables>(tables: &T, service: &Service, word: u64) -> u64 {
    let turn = Turn { word };
    let top = top(service.greatest, service.divisor);
    let (last, level) =
        if is_current(turn, service) { (turn.position(), turn.level()) } else { (0, service.start) };
    let level = if level == 0 || level > top { top } else { level };

    // The rest of the list at this level. Its first member is tried without a loop, because a loop
    // is a call for each member.
    if weight(tables, service, last) >= level {
        return Turn::new(service.generation, last + 1, level).word;
    }
    let mut found = 0;
    tables.each(service.count.saturating_sub(last), |step| {
        let position = last + step;
        if weight(tables, service, position) < level {
            return true;
        }
        found = position + 1;
        false
    });
    if found != 0 {
        return Turn::new(service.generation, found, level).word;
    }

    // The whole list at the next level.
    let lower = if level > service.divisor { level - service.divisor } else { top };
    if weight(tables, service, 0) >= lower {
        return Turn::new(service.generation, 1, lower).word;
    }
    let mut heaviest = 0;
    tables.each(service.count, |position| {
        let weight = weight(tables, service, position);
        if weight > heaviest {
            heaviest = weight;
            found = position + 1;
        }
        weight < lower
    });
    if heaviest >= lower {
        return Turn::new(service.generation, found, lower).word;
    }
    // IPVS walks the list once for each level on the way down. Nobody reaches a level above the
    // heaviest that is available, so this is where it arrives.
    if heaviest != 0 {
        return Turn::new(service.generation, found, self::top(heaviest, service.divisor)).word;
    }
    // Nobody is available. IPVS notices at the place it started from if it had only the lowest
    // level left there, and otherwise at the head of the list.
    if last != 0 && level <= service.divisor { 0 } else { Turn::new(service.generation, 0, top).word }
}

/// The highest level at which a weight is reached. Levels end at 1, so they are one more than
/// multiples of the divisor.
#[inline(always)]
pub(crate) const fn top(weight: u32, divisor: u32) -> u32 {
    weight.saturating_sub(divisor.saturating_sub(1))
}
