//! Power of two choices: two members are drawn, by weight, and the one with less overhead for its
//! weight is taken.

use super::{available, member, overhead, weight};
use crate::Tables;
use lb_common::service::Service;

#[inline(always)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let mut total = 0;
    tables.each(service.count, |position| {
        total += weight(tables, service, position);
        true
    });
    if total == 0 {
        return None;
    }
    let none = Choice { position: 0, weight: tables.zero(), overhead: 0 };
    let mut draws = Draws { left: [draw(tables, total), draw(tables, total)], choices: [none; 2] };
    tables.each(service.count, |position| {
        let Some(member) = member(tables, service, position) else { return false };
        if let Some(backend) = available(tables, member) {
            let choice = Choice { position, weight: member.weight, overhead: overhead(backend) as u32 };
            draws.pass(choice);
        }
        draws.are_open()
    });
    let [first, second] = draws.choices;
    let chosen = if second.is_lighter_than(first) { second } else { first };
    if chosen.weight == 0 { None } else { Some(chosen.position) }
}

/// A number from 0 to `total`, both included: 0 and 1 fall on the first member, as in IPVS.
#[inline(always)]
fn draw<T: Tables>(tables: &T, total: u32) -> u32 {
    ((u64::from(tables.random()) * (u64::from(total) + 1)) >> 32) as u32
}

struct Draws {
    /// Weight still to go by until the draw falls.
    left: [u32; 2],
    choices: [Choice; 2],
}

impl Draws {
    #[inline(always)]
    fn pass(&mut self, choice: Choice) {
        let [first, second] = &mut self.choices;
        let [to_first, to_second] = &mut self.left;
        first.settle(to_first, choice);
        second.settle(to_second, choice);
    }

    #[inline(always)]
    fn are_open(&self) -> bool {
        let [first, second] = &self.choices;
        first.weight == 0 || second.weight == 0
    }
}

#[derive(Clone, Copy)]
struct Choice {
    position: u32,
    /// 0 until the draw has fallen.
    weight: u32,
    overhead: u32,
}

impl Choice {
    #[inline(always)]
    fn settle(&mut self, left: &mut u32, choice: Self) {
        if self.weight == 0 && *left <= choice.weight {
            *self = choice;
        }
        *left = left.saturating_sub(choice.weight);
    }

    /// The products are of 32 bits with a sign, as in IPVS.
    #[inline(always)]
    fn is_lighter_than(self, other: Self) -> bool {
        let (other_load, own_load) =
            (self.weight.wrapping_mul(other.overhead), other.weight.wrapping_mul(self.overhead));
        self.weight != 0 && (other_load as i32) > (own_load as i32)
    }
}
