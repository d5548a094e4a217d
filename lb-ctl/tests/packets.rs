//! The packet path in the kernel: the scenarios of `lb-ebpf/tests/scenario` and a million packets
//! of mutated bytes, through `BPF_PROG_TEST_RUN` of the program that is loaded in earnest. Needs root.

mod balance;
#[path = "../../lb-ebpf/tests/scenario/mod.rs"]
mod scenario;

use balance::{kernel::Kernel, mutation::Mutation};
use lb_common::{
    backend::method,
    connection::state::is_live,
    reason::{Reason, Verdict},
    service::flags::{FULL_NAT, TOA},
    time::ticks,
};
use scenario::{Before, INSIDE, OUTSIDE, Pool, Scenario, all, check::checksums};
use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

const DROP: u32 = 1;
const PASS: u32 = 2;
const TRANSMIT: u32 = 3;
const REDIRECT: u32 = 4;

#[test]
fn the_kernel_does_what_every_scenario_says() {
    let mut failed = Vec::new();
    for (generic, partial) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut kernel = Kernel::new(generic, partial, 64);
        for scenario in all().iter().filter(|s| (s.generic, s.partial) == (generic, partial)) {
            kernel.install(scenario);
            for (number, step) in scenario.steps.iter().enumerate() {
                if step.before != Before::Nothing {
                    kernel.apply(scenario, step.before);
                }
                let before = kernel.reasons();
                let (verdict, out) = kernel.run(&step.frame, step.interface);
                let after = kernel.reasons();
                let reason = (0..before.len()).find(|&reason| after[reason] != before[reason]).unwrap();
                let expected = match step.reason.verdict() {
                    Verdict::Pass | Verdict::Kernel => PASS,
                    Verdict::Drop => DROP,
                    // Generic XDP answers out of the interface that the packet came in by.
                    Verdict::Forward if verdict == TRANSMIT && generic => TRANSMIT,
                    Verdict::Forward => REDIRECT,
                };
                let as_said = step.is_out(&out);
                if reason != step.reason as usize || verdict != expected || !as_said {
                    failed.push(format!(
                        "{}, packet {number}: verdict {verdict}, {:?} instead of {:?}\n out {out:02x?}\n for {:02x?}",
                        scenario.name,
                        Reason::from_number(reason as u32),
                        step.reason,
                        step.out
                    ));
                }
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
    let mut kernel = Kernel::new(false, false, 4_096);
    kernel.install(world);
    let taken = kernel.taken();
    // Connections come and go while the packets run.
    kernel.set_timeouts(ticks(1));
    kernel.sweep("arm");
    let mut mutation = Mutation::new(seed, all());
    let start = Instant::now();
    let (mut changed, mut judged) = (0u64, 0u64);
    for count in 0..packets {
        let frame = mutation.next();
        let interface = if mutation.below(3) == 0 { INSIDE } else { OUTSIDE };
        let (verdict, out) = kernel.run(&frame, interface);
        let told = || {
            format!("packet {count} of seed {seed}: verdict {verdict}\n in  {frame:02x?}\n out {out:02x?}")
        };
        assert!([DROP, PASS, TRANSMIT, REDIRECT].contains(&verdict), "{}", told());
        if verdict == PASS && out == frame {
            continue;
        }
        changed += 1;
        assert!(balance::is_ours(&frame), "not ours: {}", told());
        if verdict != DROP && checksums(&frame) == Some(true) {
            judged += 1;
            assert_ne!(checksums(&out), Some(false), "wrong checksum: {}", told());
        }
        if count % 100_000 == 0 {
            println!("{count} packets, {:?}", start.elapsed());
        }
    }
    println!("{packets} packets in {:?}: {changed} were ours, {judged} judged", start.elapsed());
    let least = packets / if world.pool == Pool::OnePort { 300 } else { 30 };
    assert!(packets < 10_000 || (changed > packets / 15 && judged > least));

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
