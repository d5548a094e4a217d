//! Sequences recorded from IPVS, replayed.

use crate::balancer::*;
use lb_common::{
    backend::{ACTIVE, Backend, INACTIVE, state},
    scheduler::{Scheduler, flags},
};

/// One line of the recording.
struct Recorded<'a> {
    line: &'a str,
    scheduler: Scheduler,
    flags: u8,
    service: &'a str,
    weights: Vec<u32>,
    pattern: &'a str,
    sources: &'a str,
    sequence: &'a str,
}

fn recorded() -> Vec<Recorded<'static>> {
    let lines = include_str!("../recorded/sched.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap();
            let (scheduler, names) = (Scheduler::from_name(next()).unwrap(), next());
            Recorded {
                line,
                scheduler,
                flags: if names.contains("fallback") { flags::FALLBACK } else { 0 }
                    | if names.contains("port") { flags::PORT } else { 0 },
                service: next(),
                weights: next().split(':').map(|weight| weight.parse().unwrap()).collect(),
                pattern: next(),
                sources: next(),
                sequence: next(),
            }
        })
        .collect()
}

impl Recorded<'_> {
    /// The same service and the same connections here.
    fn replay(&self) -> String {
        let mut balancer = Balancer::new(self.scheduler, self.flags);
        for (backend, &weight) in (0..).zip(&self.weights) {
            let port = if self.service.starts_with("fwm") { 0 } else { 8080_u16 };
            *balancer.backend(backend) = Backend {
                address: ip([192, 168, 33, 111 + backend as u8]),
                port: port.to_be(),
                state: state::AVAILABLE,
                ..Backend::default()
            };
            balancer.add(backend, weight);
        }
        let mut open = [None; 60];
        let close = |backend: u32| {
            let backend = balancer.backend(backend);
            backend.connections = backend.connections - ACTIVE + INACTIVE;
        };
        let mut sequence = String::new();
        for number in 0..60 {
            if self.pattern == "A" && number == 30 {
                open.iter_mut().step_by(6).filter_map(Option::take).for_each(close);
            }
            let last = number as u8;
            let source = if self.sources == "many" { 20 + last } else { 10 };
            let mut request = from(ip([192, 168, 2, source]), 20_001 + number as u16);
            if self.service == "fwmd" {
                request.destination = ip([10, 9, 0, 1 + last]);
            }
            let counted = if self.service == "udp" { INACTIVE } else { ACTIVE };
            let backend = balancer.connect(&request, counted);
            if let Some(backend) = backend.filter(|_| self.service != "udp") {
                match self.pattern {
                    "C" => (),
                    "A" if number % 3 == 0 => open[number] = Some(backend),
                    _ => close(backend),
                }
            }
            sequence.push(backend.map_or('!', |backend| (b'1' + backend as u8) as char));
        }
        sequence
    }
}

#[test]
fn every_recorded_sequence_is_repeated() {
    let recorded: Vec<_> = recorded().into_iter().filter(|row| row.scheduler != Scheduler::Twos).collect();
    let wrong: Vec<String> = recorded
        .iter()
        .filter_map(|row| {
            let here = row.replay();
            (here != row.sequence).then(|| format!("{}\n  here: {here}", row.line))
        })
        .collect();
    assert_eq!(recorded.len(), 186);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}
