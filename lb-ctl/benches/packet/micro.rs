//! Nanoseconds per packet in the program, by the kernel's `BPF_PROG_TEST_RUN`.
//!
//! Rounds are interleaved, because the machine may be shared: in each, every case runs once, beside the floors and a
//! bare redirect.

mod cases;

use crate::{instance::Instance, processor};
use cases::{Balancer, Case, cases};
use serde_json::json;

const ROUNDS: usize = 7;

/// What `micro` takes.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only the case with this name, or where there is none those whose name contains it, beside the floors.
    #[arg(long)]
    only: Option<String>,
}

/// Runs all rounds, and prints a line for each case.
pub fn run(args: &Args) {
    let mut cases = cases();
    if let Some(only) = &args.only {
        let is_name = cases.iter().any(|case| case.name == only.as_str());
        let is_meant = |name: &str| if is_name { name == only } else { name.contains(only.as_str()) };
        cases.retain(|case| case.is_floor() || is_meant(&case.name));
    }
    let mut balancers: Vec<(Balancer, Instance)> = Vec::new();
    for balancer in Balancer::ALL {
        if cases.iter().any(|case| case.balancer == balancer) {
            balancers.push((balancer, Instance::new(&balancer.services(), balancer.commands())));
        }
    }
    let mut samples = vec![Vec::new(); cases.len()];
    let runs = ROUNDS * cases.len();
    processor::take();
    for case in &cases {
        for before in &case.before {
            // The way of a first packet may end in the kernel, so only the timed runs are checked.
            of(&mut balancers, case).run(case.target, before, 0, before.flows.max(1));
        }
    }
    for run in 0..runs {
        let case = &mut cases[run % (runs / ROUNDS)];
        eprintln!("{} % {}", run * 100 / runs, case.name);
        samples[run % (runs / ROUNDS)].push(measure(of(&mut balancers, case), case));
    }
    for (case, samples) in cases.iter().zip(samples) {
        println!("{}", json!({ "case": case.name, "flows": case.pattern.flows, "samples": samples }));
    }
}

fn of<'a>(balancers: &'a mut [(Balancer, Instance)], case: &Case) -> &'a mut Instance {
    &mut balancers.iter_mut().find(|(balancer, _)| *balancer == case.balancer).unwrap().1
}

fn measure(instance: &mut Instance, case: &mut Case) -> u64 {
    let (each, action) = instance.run(case.target, &case.pattern, case.interface, case.packets);
    assert_eq!(action, case.action, "{}: not what it should measure", case.name);
    if case.is_opening() {
        case.pattern.count += case.packets;
    }
    processor::rest(each * case.packets);
    each.as_nanos() as u64
}
