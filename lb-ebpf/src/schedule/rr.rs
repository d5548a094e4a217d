//! Round robin: the next in the list after the one used last. Weights say no more than whether.

use super::{is_current, take_turn, weight};
use crate::{Steps, Tables};
use lb_common::{scheduler::Turn, service::Service};

#[inline(always)]
pub(super) fn choose<T: Steps>(tables: &T, service: &Service) -> Option<u32> {
    take_turn(tables, service)
}

/// The turn after the one in `word`.
#[inline(always)]
pub(super) fn next<T: Tables>(tables: &T, service: &Service, word: u64) -> u64 {
    let turn = Turn { word };
    let last = if is_current(turn, service) { turn.position() } else { service.start };
    let from = if last < service.count { last } else { 0 };
    let mut found = 0;
    // Nearly always the very next one can take it, and a loop is a call for each member.
    if weight(tables, service, from) > 0 {
        found = from + 1;
    } else {
        tables.each(service.count, |step| {
            let position = from + step;
            let position = if position < service.count { position } else { position - service.count };
            if weight(tables, service, position) == 0 {
                return true;
            }
            found = position + 1;
            false
        });
    }
    Turn::new(service.generation, found, 0).word
}
