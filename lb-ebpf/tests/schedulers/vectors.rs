//! Single choices that follow from IPVS's sources.

use crate::balancer::*;
use lb_common::{
    address::Address,
    backend::{ACTIVE, INACTIVE, flags::OVERLOAD},
    limits::BACKENDS_PER_SERVICE,
    scheduler::{NO_BACKEND, Scheduler, flags},
    time::ticks,
};
use lb_ebpf::{plan::plan, schedule::fold};
use std::net::IpAddr;

#[test]
fn among_equals_the_backend_added_last_is_taken() {
    for scheduler in
        [Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed, Scheduler::Nq, Scheduler::Fo, Scheduler::Ovf]
    {
        assert_eq!(Balancer::listed(scheduler, &[1, 1, 1]).letters(1), "A", "{}", scheduler.name());
    }
}

#[test]
fn nobody_is_chosen_when_nobody_can_take_it() {
    for (scheduler, name) in Scheduler::NAMES {
        assert_eq!(Balancer::listed(scheduler, &[]).letters(1), "-", "{name} without backends");
        assert_eq!(Balancer::listed(scheduler, &[0, 0]).letters(1), "-", "{name} with weights of 0");
        let balancer = Balancer::listed(scheduler, &[1, 2]);
        for index in 0..2 {
            balancer.backend(index).flags = OVERLOAD;
            balancer.set_connections(index, 5, 5);
        }
        let mut balancer = balancer;
        for position in 0..2 {
            balancer.edit(position, |member| (member.upper, member.lower) = (10, 5));
        }
        assert_eq!(balancer.letters(1), "-", "{name} with everything overloaded");
    }
}

#[test]
fn the_only_backend_available_is_found_in_the_longest_list() {
    let last = BACKENDS_PER_SERVICE - 1;
    for (scheduler, name) in Scheduler::NAMES {
        if matches!(scheduler, Scheduler::Dh | Scheduler::Sh | Scheduler::Mh) {
            continue;
        }
        let mut weights = vec![0; last as usize];
        weights.push(1);
        let balancer = Balancer::listed(scheduler, &weights);
        for _ in 0..3 {
            assert_eq!(balancer.connect(&request(), 0), Some(last), "{name}");
        }
    }
}

#[test]
fn wrr_walks_down_the_levels() {
    // Weights in the order of the list.
    let vectors: [(&[u32], &str); 6] = [
        (&[4, 3, 2], "AABABCABC"),
        (&[3, 1], "AAAB"),
        (&[1, 3], "BBAB"),
        (&[2, 3, 4], "CBCABCABC"),
        (&[6, 4, 2], "AABABC"),
        (&[0, 5, 0], "BBBB"),
    ];
    for (weights, round) in vectors {
        let mut balancer = Balancer::listed(Scheduler::Wrr, weights);
        balancer.service.start = 0;
        assert_eq!(balancer.letters(3 * round.len()), round.repeat(3), "{weights:?}");
    }
}

#[test]
fn wrr_goes_back_to_the_head_at_an_edit_but_keeps_its_level() {
    let mut balancer = Balancer::listed(Scheduler::Wrr, &[4, 3, 2]);
    balancer.service.start = 0;
    assert_eq!(balancer.letters(3), "AAB");
    balancer.edit(2, |member| member.weight = 1);
    // At level 3 still, from the head.
    assert_eq!(balancer.letters(8), "ABABABCA");
    // No weight reaches level 4 any more, so the new highest counts.
    balancer.edit(0, |member| member.weight = 2);
    assert_eq!(balancer.letters(6), "BABABC");
}

#[test]
fn wrr_skips_a_level_that_only_an_overloaded_backend_reaches() {
    let mut balancer = Balancer::listed(Scheduler::Wrr, &[65_535, 2, 1]);
    balancer.edit(0, |member| member.upper = 1);
    balancer.set_connections(0, 1, 0);
    balancer.backend(0).flags = OVERLOAD;
    assert_eq!(balancer.letters(9), "BCBBCBBCB");
}

#[test]
fn rr_keeps_its_place_when_the_list_changes() {
    let mut balancer = Balancer::listed(Scheduler::Rr, &[1, 1, 1, 1]);
    assert_eq!(balancer.letters(2), "AB");
    balancer.add(4, 1);
    assert_eq!(balancer.letters(4), "CDEA");
    assert_eq!(balancer.letters(2), "BC");
    // C, used last, goes: the one before it counts.
    balancer.remove(3);
    assert_eq!(balancer.letters(4), "DEAB");
    balancer.edit(0, |member| member.weight = 0);
    assert_eq!(balancer.letters(4), "DABD");
    // Two edits without a connection between them.
    balancer.add(5, 1);
    balancer.edit(0, |member| member.weight = 7);
    assert_eq!(balancer.letters(4), "FABD");
}

#[test]
fn wlc_weighs_an_active_connection_as_257_inactive_ones() {
    let balancer = Balancer::listed(Scheduler::Wlc, &[1, 100]);
    balancer.set_connections(0, 3, 128);
    balancer.set_connections(1, 65_536, 7);
    assert_eq!(balancer.letters(1), "A");
    let balancer = Balancer::listed(Scheduler::Wlc, &[2, 1]);
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    let balancer = Balancer::listed(Scheduler::Wlc, &[1, 1]);
    balancer.set_connections(0, 1, 0);
    balancer.set_connections(1, 0, 256);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 0, 257);
    assert_eq!(balancer.letters(1), "A");
}

#[test]
fn a_load_beyond_32_bits_is_compared_right() {
    let balancer = Balancer::listed(Scheduler::Wlc, &[65_535, 65_534]);
    balancer.set_connections(0, u32::MAX.into(), u32::MAX.into());
    balancer.set_connections(1, u32::MAX.into(), u32::MAX.into());
    assert_eq!(balancer.letters(1), "A");
}

#[test]
fn nq_prefers_any_idle_backend_and_ovf_overflows_past_the_weight() {
    let balancer = Balancer::listed(Scheduler::Nq, &[100, 1]);
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 1, 0);
    assert_eq!(balancer.letters(1), "A");
    let balancer = Balancer::listed(Scheduler::Ovf, &[1, 2]);
    let chosen: Vec<_> = (0..6).map(|_| balancer.connect(&request(), ACTIVE)).collect();
    assert_eq!(chosen, [Some(1), Some(1), Some(1), Some(0), Some(0), None]);
}

#[test]
fn an_overloaded_backend_comes_back_below_the_lower_threshold() {
    // Upper and lower threshold, and the most connections with which it comes back.
    for (upper, lower, back) in [(10, 4, 3), (10, 0, 7), (4, 0, 2), (10, 10, 9)] {
        let mut balancer = Balancer::listed(Scheduler::Rr, &[1]);
        balancer.edit(0, |member| (member.upper, member.lower) = (upper, lower));
        for _ in 0..upper {
            assert_eq!(balancer.connect(&request(), INACTIVE), Some(0));
        }
        for total in (back + 1..=upper).rev() {
            balancer.set_connections(0, 0, total.into());
            assert_eq!(balancer.letters(1), "-", "-x {upper} -y {lower}, {total} connections");
        }
        balancer.set_connections(0, back.into(), 0);
        assert_eq!(balancer.letters(1), "A", "-x {upper} -y {lower}, {back} connections");
        // Once back, it is full at the upper threshold only.
        balancer.set_connections(0, 0, (upper - 1).into());
        assert_eq!(balancer.connect(&request(), ACTIVE), Some(0));
        assert_eq!(balancer.letters(1), "-");
        balancer.edit(0, |member| (member.upper, member.lower) = (0, 0));
        assert_eq!(balancer.letters(1), "A");
    }
}

#[test]
fn dh_and_sh_fill_their_buckets_in_the_order_of_the_list() {
    let members: Vec<_> =
        [3, 0, 1].iter().zip(0..).map(|(&weight, index)| (member(index, weight), ip([0; 4]), 0)).collect();
    assert_eq!(plan(Scheduler::Dh, &members).table[..7], [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(plan(Scheduler::Sh, &members).table[..7], [0, 0, 0, 1, 2, 0, 0]);
    for scheduler in [Scheduler::Dh, Scheduler::Sh, Scheduler::Mh] {
        let empty = plan(scheduler, &[]).table;
        assert_eq!(empty, vec![NO_BACKEND; scheduler.table_length() as usize], "{}", scheduler.name());
    }
}

#[test]
fn a_quiesced_backend_refuses_its_clients_unless_they_fall_back() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let clients = || (0..=255).map(|last| from(ip([10, 1, 2, last]), 40_000));
        let mut balancer = Balancer::listed(scheduler, &[1, 1, 1]);
        let before: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        balancer.edit(1, |member| member.weight = 0);
        let after: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        balancer.service.scheduler_flags = flags::FALLBACK;
        let falling_back: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        assert!(before.contains(&Some(1)));
        for ((before, after), falling_back) in before.iter().zip(after).zip(falling_back) {
            let expected = before.filter(|&index| index != 1);
            assert_eq!(after, expected, "{}", scheduler.name());
            assert!(if expected.is_some() { falling_back == expected } else { falling_back.is_some() });
        }
    }
}

#[test]
fn the_four_words_of_an_ipv6_address_are_hashed_as_one() {
    let address: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
    assert_eq!(fold(address.into()), 0x2001_0db8 ^ 0x0001_0002 ^ 0x0003_0004 ^ 0x0005_0006);
    assert_eq!(fold(ip([192, 168, 2, 10])), 0xc0a8_020a);
}

#[test]
fn mh_gives_slots_by_weight() {
    // Weights, and the slots that each may have: at most 63 in turn, at least 1.
    for (weights, turns) in [([1, 1], [1, 1]), ([30, 10], [3, 1]), ([65_535, 1], [63, 1]), ([7, 0], [7, 0])] {
        let members: Vec<_> = [111, 112]
            .iter()
            .zip(weights)
            .zip(0..)
            .map(|((&last, weight), index)| {
                (member(index, weight), ip([192, 168, 33, last]), 8080_u16.to_be())
            })
            .collect();
        let table = plan(Scheduler::Mh, &members).table;
        let first = table.iter().filter(|&&position| position == 0).count() as u32;
        assert_eq!(first + table.iter().filter(|&&position| position == 1).count() as u32, 4_093);
        let round = turns[0] + turns[1];
        let expected = 4_093 / round * turns[0] + (4_093 % round).min(turns[0]);
        assert_eq!(first, expected, "{weights:?}");
    }
}

#[test]
fn mh_leaves_out_those_who_come_when_all_slots_are_taken() {
    let members: Vec<_> = (0..BACKENDS_PER_SERVICE)
        .map(|index| (member(index, 1), Address::from_ipv4((index + 1).to_be()), 0))
        .collect();
    let mut positions = plan(Scheduler::Mh, &members).table;
    positions.sort_unstable();
    assert!(positions.into_iter().eq(3..BACKENDS_PER_SERVICE));
}

#[test]
fn twos_draws_by_weight_and_takes_the_less_loaded() {
    let balancer = Balancer::listed(Scheduler::Twos, &[3, 0, 1]);
    let drawn = balancer.letters(4_000);
    let share = drawn.matches('A').count();
    // 0 and 1 of the 5 numbers both fall on the first: 4 of 5, and at equal loads the first stays.
    assert!((3_000..3_400).contains(&share), "{share}");
    assert!(!drawn.contains('B'));
    balancer.set_connections(0, 1_000, 0);
    let share = balancer.letters(4_000).matches('A').count();
    // Only where both draws fall on it: 16 of 25.
    assert!((2_400..2_720).contains(&share), "{share}");
}

#[test]
fn lblc_keeps_a_destination_for_a_day_and_across_edits() {
    let mut balancer = Balancer::listed(Scheduler::Lblc, &[1, 1]);
    assert_eq!(balancer.letters(1), "A");
    balancer.set_connections(0, 1, 9);
    balancer.add(2, 1);
    assert_eq!(balancer.letters(2), "AA");
    // The mark of overload is not asked for once a destination is known.
    balancer.backend(0).flags = OVERLOAD;
    balancer.edit(1, |member| member.upper = 5);
    assert_eq!(balancer.letters(1), "A");
    balancer.edit(1, |member| member.weight = 0);
    assert_eq!(balancer.letters(1), "C");
    balancer.edit(1, |member| member.weight = 1);
    balancer.set_connections(2, 1, 9);
    assert_eq!(balancer.letters(1), "C");
    balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400) - 1);
    assert_eq!(balancer.letters(1), "C");
    balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400));
    assert_eq!(balancer.letters(1), "B");
    balancer.remove(2);
    assert_eq!(balancer.letters(1), "C");
}

#[test]
fn lblcr_spreads_a_busy_destination_and_gathers_it_after_a_day() {
    let mut balancer = Balancer::listed(Scheduler::Lblcr, &[2, 2, 2]);
    assert_eq!(balancer.letters(2), "AA");
    balancer.set_connections(0, 3, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 3, 0);
    assert_eq!(balancer.letters(1), "C");
    // All three now. The least loaded of the set is taken, of equals the one that joined last.
    balancer.set_connections(2, 3, 0);
    assert_eq!(balancer.letters(2), "CC");
    balancer.set_connections(1, 2, 0);
    balancer.add(3, 2);
    balancer.set_connections(3, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.remove(2);
    balancer.set_connections(0, 4, 0);
    assert_eq!(balancer.letters(1), "C");
    // A day without a change, but with use: the most loaded leaves, which is A.
    for _ in 0..2 {
        balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400) - 1);
        balancer.letters(1);
    }
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "C");
}
