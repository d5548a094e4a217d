//! What holds for any backends.

use crate::balancer::*;
use lb_common::{
    backend::{ACTIVE, INACTIVE, flags::OVERLOAD},
    block::{ENTRIES, GROUP, MEMBERS, group},
    scheduler::{Scheduler, flags},
};
use proptest::prelude::*;

/// What IPVS's weighted round robin does, level by level as it does it.
struct Walk {
    last: usize,
    level: u32,
}

impl Walk {
    fn next(&mut self, weights: &[u32], available: &[bool]) -> Option<usize> {
        let top = weights.iter().max()? - (divisor(weights) - 1);
        let (start, first_level) = (self.last, self.level);
        let mut wraps = 0;
        loop {
            for position in self.last..weights.len() {
                if available[position] && weights[position] >= self.level {
                    self.last = position + 1;
                    return Some(position);
                }
            }
            self.last = 0;
            if self.level > divisor(weights) {
                self.level -= divisor(weights);
            } else {
                self.level = top;
                wraps += 1;
            }
            if wraps == 2 {
                if start != 0 && first_level <= divisor(weights) {
                    (self.last, self.level) = (start, first_level);
                }
                return None;
            }
        }
    }
}

fn divisor(weights: &[u32]) -> u32 {
    (1..)
        .take_while(|d| weights.iter().any(|w| w >= d))
        .filter(|d| weights.iter().all(|w| w % d == 0))
        .last()
        .unwrap_or(1)
}

proptest! {
    #[test]
    fn wrr_is_the_walk_down_the_levels(
        weights in prop::collection::vec(0_u32..12, 1..7),
        factor in 1_u32..4,
        masks in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let weights: Vec<u32> = weights.iter().map(|weight| weight * factor).collect();
        let mut balancer = Balancer::listed(Scheduler::Wrr, &weights);
        balancer.service.start = 0;
        for position in 0..weights.len() {
            balancer.edit(position, |member| member.upper = 1);
        }
        let top = weights.iter().max().unwrap() - (divisor(&weights) - 1);
        let mut walk = Walk { last: 0, level: top };
        balancer.service.start = 0;
        for mask in masks {
            // Most are available most of the time.
            let available: Vec<bool> = (0..weights.len()).map(|bit| mask & 0x80 == 0 || mask >> bit & 1 == 1).collect();
            for (index, &available) in (0..).zip(&available) {
                balancer.set_connections(index, u64::from(!available), 0);
                balancer.backend(index).flags = if available { 0 } else { OVERLOAD };
            }
            let here = balancer.choose(&request()).map(|member| member.backend as usize);
            prop_assert_eq!(here, walk.next(&weights, &available));
        }
    }

    #[test]
    fn wrr_stands_the_same_whether_added_one_by_one_or_at_once(weights in prop::collection::vec(0_u32..20, 0..8)) {
        let at_once = Balancer::listed(Scheduler::Wrr, &weights);
        let mut one_by_one = Balancer::new(Scheduler::Wrr, 0);
        for (index, &weight) in weights.iter().enumerate().rev() {
            one_by_one.add(index as u32, weight);
        }
        prop_assert_eq!(one_by_one.service.start, at_once.service.start);
        prop_assert_eq!(one_by_one.letters(30), at_once.letters(30));
    }

    #[test]
    fn rr_serves_every_available_backend_once_a_round(weights in prop::collection::vec(0_u32..3, 1..30)) {
        let balancer = Balancer::listed(Scheduler::Rr, &weights);
        let expected: Vec<u32> = (0..).zip(&weights).filter(|(_, weight)| **weight > 0).map(|(index, _)| index).collect();
        for _ in 0..3 {
            let round: Vec<u32> = expected.iter().filter_map(|_| balancer.connect(&request(), 0)).collect();
            prop_assert_eq!(&round, &expected);
        }
    }

    #[test]
    fn the_first_of_the_least_loaded_is_taken(
        scheduler in 0_usize..4,
        backends in prop::collection::vec((0_u32..5, 0_u64..4, 0_u64..600), 1..20),
    ) {
        let scheduler = [Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed, Scheduler::Nq][scheduler];
        let weights: Vec<u32> = backends.iter().map(|(weight, ..)| *weight).collect();
        let balancer = Balancer::listed(scheduler, &weights);
        for (index, &(_, active, inactive)) in (0..).zip(&backends) {
            balancer.set_connections(index, active, inactive);
        }
        let load = |&(weight, active, inactive): &(u32, u64, u64)| match scheduler {
            Scheduler::Lc => (active * 257 + inactive) as f64,
            Scheduler::Wlc => (active * 257 + inactive) as f64 / f64::from(weight),
            Scheduler::Nq if active == 0 => 0.0,
            _ => (active + 1) as f64 / f64::from(weight),
        };
        let least = (0..).zip(&backends).filter(|(_, backend)| backend.0 > 0).min_by(|a, b| load(a.1).total_cmp(&load(b.1)));
        prop_assert_eq!(balancer.connect(&request(), 0), least.map(|(index, _)| index));
    }

    #[test]
    fn blocks_change_no_choice(
        scheduler in 0_usize..4,
        weights in prop::collection::vec((0_u32..5, 0_u32..4), 17..600),
        weighs_alike in any::<bool>(),
        events in prop::collection::vec((0_u32..30, any::<u16>(), 0_u64..3, 0_u64..3), 1..900),
    ) {
        let scheduler = [Scheduler::Wlc, Scheduler::Lc, Scheduler::Sed, Scheduler::Nq][scheduler];
        // Equal ones are gone round, each with a look at itself alone.
        let weigh = |weight| if weighs_alike { 1 } else { weight };
        let mut pair = [Balancer::new(scheduler, 0), Balancer::new(scheduler, 0)];
        pair[1].blocks = false;
        for balancer in &mut pair {
            let members = (0..).zip(&weights).map(|(backend, &(weight, upper))| {
                let mut member = member(backend, weigh(weight));
                // Some are overloaded soon.
                member.upper = upper * 4;
                member
            });
            balancer.publish(members.collect());
        }
        for (event, index, active, inactive) in events {
            let index = u32::from(index) % weights.len() as u32;
            for balancer in &mut pair {
                match event {
                    0 => balancer.edit(index as usize, |member| member.weight = active as u32),
                    1 => balancer.set_connections(index, active, inactive),
                    2 => balancer.turn(index, ACTIVE, INACTIVE),
                    3 => balancer.turn(index, INACTIVE, ACTIVE),
                    4 => balancer.turn(index, INACTIVE, 0),
                    5 => balancer.turn(index, 0, ACTIVE),
                    _ => {}
                }
            }
            let counted = if active == 0 { INACTIVE } else { ACTIVE };
            prop_assert_eq!(pair[0].connect(&request(), counted), pair[1].connect(&request(), counted));
        }
        let has_looked = |number| pair[0].tables.blocks.at(number).unwrap().best != 0;
        prop_assert!((0..group(0)).any(has_looked), "the blocks were used");
        let has_groups = weights.len() > (GROUP * MEMBERS) as usize;
        prop_assert_eq!((group(0)..ENTRIES).any(has_looked), has_groups, "the groups were used");
    }

    #[test]
    fn a_member_that_cannot_take_a_connection_is_never_chosen(
        scheduler in 0_usize..14,
        fallback in any::<bool>(),
        backends in prop::collection::vec((0_u32..4, any::<bool>(), 0_u64..9), 1..12),
        clients in prop::collection::vec(any::<[u8; 4]>(), 1..30),
    ) {
        let (scheduler, _) = Scheduler::NAMES[scheduler];
        let weights: Vec<u32> = backends.iter().map(|(weight, ..)| *weight).collect();
        let mut balancer = Balancer::listed(scheduler, &weights);
        balancer.service.scheduler_flags = if fallback { flags::FALLBACK } else { 0 };
        for (index, &(_, overloaded, active)) in (0..).zip(&backends) {
            balancer.set_connections(index, active, 0);
            if overloaded {
                balancer.backend(index).flags = OVERLOAD;
                balancer.edit(index as usize, |member| (member.upper, member.lower) = (1, 1));
                balancer.set_connections(index, active + 1, 0);
            }
        }
        for client in clients {
            let mut request = from(ip(client), 1);
            request.destination = ip(client);
            if let Some(chosen) = balancer.choose(&request) {
                prop_assert!(chosen.weight > 0);
                prop_assert!(!backends[chosen.backend as usize].1, "{} chose an overloaded one", scheduler.name());
            }
        }
    }
}
