//! Part four: the real IPVS and ours at the same place of the same wire, in one boot of a machine that has
//! both. It is emulated, so only what is measured in the same boot can be compared.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{
    Part,
    packet::Packet,
    row::Row,
    wire::{self, Contender, Extent},
};
use crate::{progress::Steps, vm};

/// Emulation makes everything slower, tenfold and more.
const EXTENT: Extent = Extent { part: Part::Ipvs, rounds: 21, packets: [60_000, 5_000], many_flows: None };
const CONTENDERS: [Contender; 3] = [Contender::Ours, Contender::Ipvs, Contender::Routing];
/// Before what the guest tells the host.
const MARK: &str = "bench ";

#[derive(Serialize, Deserialize)]
enum Told {
    Step(String),
    Row { case: String, who: String, samples: Vec<f64>, delivered: f64 },
}

/// Boots the machine and measures in it.
pub fn run(packet: &Packet) -> Result<Vec<Row>> {
    let steps = Steps::new("beside IPVS, in QEMU", CONTENDERS.len() * 2 * EXTENT.rounds);
    let mut rows = Vec::new();
    let mut said = String::new();
    let carried = ("vm/packet".to_owned(), packet.path().to_owned());
    let status = vm::with("6.12", "/vm/xtask bench --guest", carried, |line| {
        match line.strip_prefix(MARK).map(serde_json::from_str) {
            Some(Ok(Told::Step(what))) => steps.next(&what),
            Some(Ok(Told::Row { case, who, samples, delivered })) => {
                rows.push(Row {
                    delivered: Some(delivered),
                    ..Row::new(Part::Ipvs, &case, &who, "ns", samples)
                });
            }
            _ => said.push_str(&format!("{line}\n")),
        }
    })?;
    ensure!(status == 0, "in the machine, exit status {status}:\n{said}");
    Ok(rows)
}

/// Inside the machine.
pub fn guest() -> Result<()> {
    let packet = Packet::at("/vm/packet");
    let mut wires = Vec::new();
    for contender in CONTENDERS {
        let wire = contender.set_up(&packet, Path::new("/vm/lb-ctl"));
        wires.push((contender, wire.with_context(|| format!("setting up {}", contender.name()))?));
    }
    let rows = wire::compare(&wires, &EXTENT, |what| tell(&Told::Step(what.to_owned())))?;
    for Row { case, who, samples, delivered, .. } in rows {
        tell(&Told::Row { case, who, samples, delivered: delivered.unwrap_or(0.0) });
    }
    Ok(())
}

fn tell(told: &Told) {
    // Plain data: it always has a text.
    if let Ok(text) = serde_json::to_string(told) {
        println!("{MARK}{text}");
    }
}
