//! Part two: packets that really move, through one core.
//!
//! ```text
//! generator gen0 ── lan0 10.9.0.1 balancer 10.9.1.1 lan1 ── sink0 sink
//! ```

mod contender;
mod topology;

use anyhow::{Result, ensure};

use super::{Part, packet::Packet, row::Row};
use crate::progress::Steps;
pub use contender::{Contender, VIP};
pub use topology::{Send, Wire};

/// A case: what is sent in every round, after what was sent once.
struct Case {
    name: &'static str,
    flows: u32,
    opens: bool,
    packets: u32,
}

/// How much there is to do.
pub struct Extent {
    pub part: Part,
    pub rounds: usize,
    /// Packets a round of standing connections, and of new ones.
    pub packets: [u32; 2],
    /// More flows than the processor's cache holds.
    pub many_flows: Option<u32>,
}

const EXTENT: Extent =
    Extent { part: Part::Wire, rounds: 15, packets: [300_000, 8_000], many_flows: Some(1 << 16) };

/// Measures everybody who can be measured on this machine.
pub fn run(packet: &Packet, lb_ctl: &std::path::Path) -> Result<Vec<Row>> {
    let mut wires = Vec::new();
    use Contender::{Nftables, Ours, Redirect, Remembering, Routing};
    for contender in [Redirect, Remembering, Ours, Nftables, Routing] {
        wires.push((contender, contender.set_up(packet, lb_ctl)?));
    }
    let each = |case: &Case| wires.iter().filter(|(contender, _)| contender.takes(case.flows)).count();
    let rounds = EXTENT.cases().iter().map(each).sum::<usize>() * EXTENT.rounds;
    let steps = Steps::new("packets through one core", rounds);
    compare(&wires, &EXTENT, |what| steps.next(what))
}

impl Extent {
    fn cases(&self) -> Vec<Case> {
        let [standing, new] = self.packets;
        let case = |name, flows| Case { name, flows, opens: false, packets: standing };
        let mut cases = vec![case("1,024 flows", 1 << 10)];
        cases.extend(self.many_flows.map(|flows| case("65,536 flows", flows)));
        cases.push(Case { name: "new connections", flows: 1 << 22, opens: true, packets: new });
        cases
    }
}

/// The rounds, each with every contender once in every case.
pub fn compare(wires: &[(Contender, Wire)], extent: &Extent, progress: impl Fn(&str)) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in &extent.cases() {
        let wires: Vec<_> = wires.iter().filter(|(contender, _)| contender.takes(case.flows)).collect();
        let mut of_case: Vec<_> = wires
            .iter()
            .map(|(contender, _)| Row {
                delivered: Some(1.0),
                ..Row::new(extent.part, case.name, contender.name(), "ns", Vec::new())
            })
            .collect();
        for (contender, wire) in wires.iter().copied().filter(|_| !case.opens) {
            for flags in contender.opening() {
                wire.send(&Send {
                    flags,
                    flows: case.flows,
                    first: 0,
                    count: case.flows,
                    ..contender.send()
                })?;
            }
        }
        let before = connections(&wires)?;
        let mut first = 0;
        for _ in 0..extent.rounds {
            for ((contender, wire), row) in wires.iter().copied().zip(&mut of_case) {
                progress(&format!("{}: {}", case.name, contender.name()));
                let flags = if case.opens { "syn" } else { "ack" };
                let send = Send { flags, flows: case.flows, first, count: case.packets, ..contender.send() };
                let sent = wire.send(&send)?;
                row.samples.push(sent.nanoseconds_each);
                row.delivered = row.delivered.map(|least| least.min(sent.delivered));
            }
            first += case.packets;
        }
        // In an emulated machine the first ones may have ended before the last are opened.
        if case.opens && extent.part == Part::Wire {
            for (((contender, _), before), after) in
                wires.iter().copied().zip(before).zip(connections(&wires)?)
            {
                let opened = after.zip(before).map(|(after, before)| after.saturating_sub(before));
                // A few of the flows were there.
                let enough = opened.is_none_or(|opened| opened >= u64::from(first) * 95 / 100);
                ensure!(enough, "{}: {opened:?} connections after {first} SYNs", contender.name());
            }
        }
        rows.extend(of_case);
    }
    Ok(rows)
}

fn connections(wires: &[&(Contender, Wire)]) -> Result<Vec<Option<u64>>> {
    wires.iter().map(|(contender, wire)| contender.connections(wire)).collect()
}
