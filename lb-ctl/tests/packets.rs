//! The packet path in the kernel: the scenarios of `lb-ebpf/tests/scenario` and a million packets
//! of mutated bytes, through `BPF_PROG_TEST_RUN` of the program that is loaded in earnest. Needs root.

mod balance;
#[path = "../../lb-ebpf/tests/scenario/mod.rs"]
mod scenario;

use balance::{
    kernel::{Action, Hook, Kernel},
    mutation::Mutation,
};
use lb_common::{
    backend::method,
    connection::state::is_live,
    device::flags::REDIRECT,
    reason::{Reason, Verdict},
    service::flags::{FULL_NAT, TOA},
    time::ticks,
};
use scenario::{
    ACK, BOTH, Before, CLIENT_MAC, INSIDE, MTU, OUTSIDE, OUTSIDE_MAC, Pool, SYN, Scenario, all, but_matrix,
    check::checksums,
    frames::{Packet, tcp},
    to_web,
};
use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

#[test]
fn the_kernel_does_what_every_scenario_says() {
    for (generic, partial) in [(false, false), (false, true), (true, false), (true, true)] {
        let scenarios = all().into_iter().filter(|s| (s.generic, s.partial) == (generic, partial));
        run(Hook::Xdp { generic, partial }, &scenarios.collect::<Vec<_>>());
    }
}

#[test]
fn tc_does_what_every_scenario_says_that_concerns_it() {
    let concerns_tc = |scenario: &Scenario| {
        // It sends by every interface, is told by the socket buffer what is partial, and the kernel takes
        // tags out of the bytes before it.
        let devices = scenario.devices == REDIRECT && !scenario.generic && !scenario.partial;
        devices && scenario.steps.iter().all(|step| !balance::is_tagged(&step.frame))
    };
    let scenarios: Vec<_> = all().into_iter().filter(concerns_tc).collect();
    assert!(scenarios.len() > 250, "{} scenarios", scenarios.len());
    run(Hook::Tc, &scenarios);
}

#[test]
fn tc_sends_on_what_is_cut_up_where_it_leaves() {
    let mut kernel = Kernel::new(Hook::Tc, 64);
    for ends in BOTH {
        kernel.install(&Scenario::new("segments"));
        let large = |to| tcp(ends.client, to, ACK).data(vec![b'x'; 2_500]).dont_fragment();
        let frame = |packet: Packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame();
        kernel.run(&frame(tcp(ends.client, ends.vip, SYN)), OUTSIDE);
        let headers = if ends.client.starts_with('[') { 40 + 20 } else { 20 + 20 };
        let fits = u32::from(MTU) - headers;
        let sent = kernel.run_segments(&frame(large(ends.vip)), OUTSIDE, fits);
        assert_eq!(sent, (Action::Redirect, to_web(large(ends.web)).unwrap()), "{}", ends.client);
        for segment in [0, fits + 1] {
            let (action, out) = kernel.run_segments(&frame(large(ends.vip)), OUTSIDE, segment);
            assert_eq!((action, out.len() < 1_400), (Action::Redirect, true), "answered: {}", ends.client);
            assert_eq!(checksums(&out), Some(true));
        }
    }
}

fn run(hook: Hook, scenarios: &[Scenario]) {
    let mut failed = Vec::new();
    let mut kernel = Kernel::new(hook, 64);
    for scenario in scenarios {
        kernel.install(scenario);
        for (number, step) in scenario.steps.iter().enumerate() {
            if hook == Hook::Tc && !balance::is_socket_buffer(&step.frame) {
                continue;
            }
            if step.before != Before::Nothing {
                kernel.apply(scenario, step.before);
            }
            let before = kernel.reasons();
            let (verdict, out) = kernel.run_marked(&step.frame, step.interface, step.mark);
            let after = kernel.reasons();
            let reason = (0..before.len()).find(|&reason| after[reason] != before[reason]).unwrap();
            let expected = match step.reason.verdict() {
                Verdict::Pass | Verdict::Kernel => Action::Pass,
                Verdict::Drop => Action::Drop,
                // Generic XDP answers out of the interface that the packet came in by.
                Verdict::Forward if verdict == Action::Transmit && scenario.generic => Action::Transmit,
                Verdict::Forward => Action::Redirect,
            };
            let as_said = step.is_out(&out);
            // tc needs no driver to send out of the interface that a packet came in by.
            let is_named = reason == step.reason as usize
                || hook == Hook::Tc
                    && step.reason == Reason::Redirected
                    && reason == Reason::Transmitted as usize;
            if !is_named || verdict != expected || !as_said {
                failed.push(format!(
                    "{}, packet {number}: verdict {verdict:?}, {:?} instead of {:?}\n out {out:02x?}\n for {:02x?}",
                    scenario.name,
                    Reason::from_number(reason as u32),
                    step.reason,
                    step.out
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{} steps\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn a_million_mutated_packets_break_nothing() {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect(name));
    let packets: u64 = number("LB_FUZZ_PACKETS", 1_000_000);
    let seed: u64 = number("LB_FUZZ_SEED", u64::from(std::process::id()) << 20 | 1);
    println!("LB_FUZZ_SEED={seed} LB_FUZZ_PACKETS={packets}");
    // With all ports most clients get one; with one port more replies are for the port that a client has.
    let ways = [
        (method::NAT, 0, Pool::NoAddress),
        (method::NAT, FULL_NAT | TOA, Pool::AllPorts),
        (method::NAT, FULL_NAT, Pool::OnePort),
        (method::ROUTE, 0, Pool::NoAddress),
        (method::TUNNEL, 0, Pool::NoAddress),
    ];
    for (method, flags, pool) in ways {
        let world = Scenario { connections: 4_096, method, flags, pool, ..Scenario::new("mutations") };
        mutated_packets_break_nothing(&world, packets / ways.len() as u64, seed);
    }
}

/// No packet is answered wrongly, and no connection stays behind.
fn mutated_packets_break_nothing(world: &Scenario, packets: u64, seed: u64) {
    let mut kernel = Kernel::new(Hook::NATIVE, 4_096);
    kernel.install(world);
    let taken = kernel.taken();
    // Connections come and go while the packets run.
    kernel.set_timeouts(ticks(1));
    kernel.sweep("arm");
    let mut mutation = Mutation::new(seed, but_matrix());
    let start = Instant::now();
    let (mut changed, mut judged) = (0u64, 0u64);
    for count in 0..packets {
        let frame = mutation.next();
        let interface = if mutation.below(3) == 0 { INSIDE } else { OUTSIDE };
        let (verdict, out) = kernel.run(&frame, interface);
        let told = || {
            format!("packet {count} of seed {seed}: verdict {verdict:?}\n in  {frame:02x?}\n out {out:02x?}")
        };
        if verdict == Action::Pass && out == frame {
            continue;
        }
        changed += 1;
        assert!(balance::is_ours(&frame), "not ours: {}", told());
        if verdict != Action::Drop && checksums(&frame) == Some(true) {
            judged += 1;
            assert_ne!(checksums(&out), Some(false), "wrong checksum: {}", told());
        }
        if count % 100_000 == 0 {
            println!("{count} packets, {:?}", start.elapsed());
        }
    }
    println!("{packets} packets in {:?}: {changed} were ours, {judged} judged", start.elapsed());
    // One in so many at least.
    let [one_changed, one_judged] = if world.pool == Pool::OnePort { [20, 300] } else { [15, 30] };
    assert!(packets < 10_000 || (changed > packets / one_changed && judged > packets / one_judged));

    let reasons = kernel.reasons();
    for (reason, count) in Reason::ALL.iter().zip(reasons).filter(|(_, count)| *count > 0) {
        println!("{count:>8} {}", reason.words());
    }
    assert_eq!(reasons.iter().sum::<u64>(), packets, "each packet has one reason");
    kernel.sweep("disarm");
    assert_eq!(kernel.counted(), kernel.live(), "backends count the connections that live");
    kernel.sweep("arm");
    let end = Instant::now() + Duration::from_secs(10);
    while kernel.live() != [(0, 0); 4] && Instant::now() < end {
        sleep(Duration::from_millis(100));
    }
    assert_eq!((kernel.live(), kernel.counted()), ([(0, 0); 4], [(0, 0); 4]), "all of them end");
    let leftovers = kernel.connections().iter().filter(|connection| is_live(connection.word)).count();
    assert_eq!((leftovers, kernel.indexed()), (0, 0), "nothing stays in the index");
    assert_eq!(kernel.taken(), taken, "ports come back");
    kernel.sweep("disarm");
}
