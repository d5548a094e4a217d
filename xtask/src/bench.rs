//! `cargo xtask bench`: what a packet costs, beside the limit and beside the peers.
//!
//! Only ratios within interleaved rounds mean anything on a shared machine, so each round measures everything
//! that is compared once, and what is shown are medians and the spread.

mod bars;
mod beside;
mod cpu;
mod machine;
mod micro;
mod packet;
mod plot;
mod report;
mod row;
mod scale;
mod table;
mod user;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use crate::{build, elevate, interrupt, setup};
use machine::Machine;
use packet::Packet;
use row::Row;

/// What `cargo xtask bench` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Which parts; all of them if none is named
    parts: Vec<Part>,
    /// Of `micro` only the cases whose name contains this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Write bench.json and the pictures there; with all parts docs/bench if not named
    #[arg(long, value_name = "DIRECTORY")]
    save: Option<PathBuf>,
    /// Inside the machine of the part `ipvs`
    #[arg(long, hide = true)]
    guest: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Nanoseconds per packet in the program alone
    Micro,
    /// Packets that move, through one core
    Wire,
    /// Requests and transfers through client, balancer and server
    User,
    /// Beside the real IPVS, in one emulated machine
    Ipvs,
    /// A million connections, ten thousand services
    Scale,
}

/// Runs the parts. They need root: programs are loaded and run in the kernel.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        elevate::is_root(),
        "the benchmark loads programs into the kernel; run as root: sudo cargo xtask bench"
    );
    if args.guest {
        return beside::guest();
    }
    let toolchain = setup::for_benchmarks()?;
    let packet = Packet::build(&toolchain)?;
    let lb_ctl = build::lb_ctl(&toolchain)?;
    let all = args.parts.is_empty();
    let mut machine = Machine::here()?;
    let mut rows: Vec<Row> = Vec::new();
    let mut failures = Vec::new();
    for part in Part::value_variants().iter().filter(|part| all || args.parts.contains(part)) {
        let measured = match part {
            Part::Micro => micro::run(&packet, args.only.as_deref()),
            Part::Wire => wire::run(&packet, &lb_ctl),
            Part::User => user::run(&packet, &lb_ctl),
            Part::Ipvs => beside::run(&packet),
            Part::Scale => scale::run(&packet, &lb_ctl),
        };
        interrupt::check()?;
        match measured {
            Ok(measured) => {
                print!("{}", table::of(*part, &measured));
                rows.extend(measured);
            }
            // The other parts are measured all the same.
            Err(error) => failures.push(format!("{part:?}: {error:#}")),
        }
    }
    machine.end()?;
    let bars = bars::of(&rows);
    print!("{}\n{}\n", table::bars(&bars, all), machine.describe());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench");
    if let Some(directory) = args.save.clone().or_else(|| all.then_some(docs)) {
        report::write(&directory, &machine, &bars, &rows)?;
        println!("written to {}", directory.display());
    }
    ensure!(failures.is_empty(), "not everything was measured:\n{}", failures.join("\n"));
    Ok(())
}
