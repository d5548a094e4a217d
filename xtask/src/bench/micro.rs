//! Part one: nanoseconds per packet in the program alone.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Part, packet::Packet, row::Row};
use crate::progress::{Sign, watched};

/// Of the row that says what the measurement itself costs for packets of one flow.
pub const FLOOR: &str = "floor: restore the packet, XDP_TX";
/// The same for packets of many flows.
pub const FLOOR_OF_FLOWS: &str = "floor, flows rotated";
const KATRAN: &str = "Katran, other day";

/// Katran's nanoseconds over the floor: the same method on a machine of this kind, but not beside ours.
const PEERS: [(&str, f64); 5] = [
    ("established, IPv4, 1 flow", 97.0),
    ("established, IPv4, 65,536 flows", 380.0),
    ("established, IPv4, 524,288 flows", 414.0),
    ("established, IPv6, 1 flow", 99.0),
    ("not ours: TCP to another port", 50.0),
];

#[derive(Deserialize)]
struct Measured {
    case: String,
    flows: u32,
    samples: Vec<f64>,
}

/// Measures, all cases or those whose name contains a word.
pub fn run(packet: &Packet, only: Option<&str>) -> Result<Vec<Row>> {
    let mut command = Command::new(packet.path());
    command.arg("micro");
    if let Some(only) = only {
        command.args(["--only", only]);
    }
    let printed = watched("packets in the program", &mut command, sign)?;
    let measured: Vec<Measured> =
        printed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("its output")?;
    let floor = |name| measured.iter().find(|row| row.case == name).map(|row| row.samples.clone());
    let floors = [FLOOR, FLOOR_OF_FLOWS].map(floor);
    let [Some(floor), Some(floor_of_flows)] = floors else { anyhow::bail!("the floor was not measured") };
    let mut rows = Vec::new();
    for Measured { case, flows, samples } in measured {
        let floor = if flows == 0 { &floor } else { &floor_of_flows };
        let who = if ["floor", "the memory", "bare redirect"].iter().any(|name| case.starts_with(name)) {
            "nobody"
        } else {
            "ours"
        };
        let mut row = Row::new(Part::Micro, &case, who, "ns", samples);
        if !case.starts_with("floor") {
            row.floor.clone_from(floor);
        }
        rows.push(row);
        if let Some((case, nanoseconds)) = PEERS.iter().find(|(name, _)| *name == case) {
            rows.push(Row::published(Part::Micro, case, KATRAN, "ns", *nanoseconds));
        }
    }
    Ok(rows)
}

/// `12 % what`.
fn sign(line: &str) -> Sign {
    let percent = line.split_once(" % ").and_then(|(number, what)| Some((number.parse().ok()?, what)));
    percent.map_or(Sign::Nothing, |(percent, what)| Sign::Percent(percent, what.to_owned()))
}
