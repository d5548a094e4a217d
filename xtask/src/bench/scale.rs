//! Part five: a million connections, ten thousand services, and how long loading takes.

use std::{
    fmt::Write,
    fs,
    os::fd::{AsFd, AsRawFd},
    path::Path,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::maps::MapInfo;
use serde::Deserialize;

use super::{
    Part,
    packet::Packet,
    row::Row,
    wire::{Send, VIP, Wire},
};
use crate::{lab::Namespace, progress::Steps};

const CONNECTIONS: u32 = 1_000_000;
/// The least power of two above it.
const FLOWS: u32 = 1 << 20;
/// Packets of standing connections, for the cost of one.
const PACKETS: u32 = 300_000;
/// Seconds that a connection outlives its last packet: enough to list them all before.
const TIMEOUT: u64 = 40;
/// With the two that are there, as many as there can be.
const SERVICES: u32 = 9_998;
const BACKENDS: u32 = 4;
const ROUNDS: usize = 3;
/// The maps that hold the connections.
const MAPS: [&str; 3] = ["CONNECTIONS", "INDEX", "FREE"];

#[derive(Deserialize)]
struct Delays {
    lost: f64,
    p9999: f64,
    greatest: f64,
    over_1_ms: f64,
    sweeps: f64,
    long_sweeps: f64,
    longest_sweep: f64,
    probes: f64,
}

/// Measures all of it.
pub fn run(packet: &Packet, lb_ctl: &Path) -> Result<Vec<Row>> {
    let steps = Steps::new("scale", 9);
    let row = |case: &str, unit, samples| Row::new(Part::Scale, case, "ours", unit, samples);
    let mut rows = Vec::new();

    steps.next("loading");
    let mut wire = Wire::new(packet, lb_ctl)?;
    let sink = wire.sink.clone();
    wire.attach(&sink, "sink0", "pass", &[])?;
    let balancer = &wire.balancer;
    let mut loads = Vec::new();
    for _ in 0..ROUNDS {
        loads.push(milliseconds(|| load(balancer, lb_ctl))?);
        balancer.lb_ctl(["unload"])?;
    }
    rows.push(row("loading the program", "ms", loads));
    load(balancer, lb_ctl)?;
    for (protocol, service, backend) in
        [("-t", VIP, "10.9.1.11:80"), ("-u", "10.9.0.1:5000", "10.9.1.12:5000")]
    {
        balancer.lb_ctl(["service", "add", protocol, service, "-s", "wlc"])?;
        balancer.lb_ctl(["backend", "add", protocol, service, "-r", backend, "-m"])?;
    }

    steps.next("packets' delay without connections");
    // As long as a million take to expire, so that both meet as many of the machine's own delays.
    rows.extend(delays("no connections", probe(&wire, packet, TIMEOUT)?));

    steps.next("opening a million connections");
    balancer.lb_ctl(["set", &TIMEOUT.to_string(), "0", "0"])?;
    for (flags, case) in [("syn", "opening one of a million connections"), ("ack", "its second packet")] {
        let send = Send { to: VIP, flags, flows: FLOWS, first: 0, count: CONNECTIONS };
        rows.push(row(case, "ns", vec![wire.send(&send)?.nanoseconds_each]));
    }
    let opened = Instant::now();
    let send = Send { to: VIP, flags: "ack", flows: FLOWS, first: 0, count: PACKETS };
    let each = (0..ROUNDS).map(|_| Ok(wire.send(&send)?.nanoseconds_each)).collect::<Result<_>>()?;
    rows.push(row("a packet of one of a million connections", "ns", each));

    steps.next("listing them");
    let (mut listings, mut standing) = (Vec::new(), 0.0);
    for _ in 0..ROUNDS {
        let mut lines = 0;
        listings.push(milliseconds(|| {
            lines = balancer.lb_ctl(["list", "-n", "--connections"])?.lines().count();
            Ok(())
        })?);
        // A few SYNs find no room in the index; the counters tell.
        let enough = lines as u32 >= CONNECTIONS / 1_000 * 999;
        ensure!(enough, "{lines} lines list {CONNECTIONS} connections:\n{}", balancer.lb_ctl(["counters"])?);
        standing = lines as f64;
    }
    rows.push(row("listing a million connections", "ms", listings));
    rows.push(row("connections listed, of a million opened", "", vec![standing]));
    let bytes = MAPS.iter().map(|map| memory(balancer, map)).sum::<Result<u64>>()?;
    rows.push(row("kernel memory of a connection", "B", vec![bytes as f64 / f64::from(CONNECTIONS)]));

    steps.next("packets' delay while a million connections stand");
    rows.extend(delays("a million connections stand", probe(&wire, packet, 5)?));
    steps.next("packets' delay while they expire");
    let left = Duration::from_secs(TIMEOUT + 5).saturating_sub(opened.elapsed());
    rows.extend(delays("a million connections expire", probe(&wire, packet, left.as_secs() + 1)?));
    let lines = balancer.lb_ctl(["list", "-n", "--connections"])?.lines().count();
    // Two lines of headings, and the probe's own.
    ensure!(lines <= 5, "{} connections outlived their time", lines - 2);

    steps.next("ten thousand services");
    let restore = services();
    let milliseconds = milliseconds(|| {
        let output = balancer
            .output_with_input([lb_ctl.to_str().context("a path")?, "ipvsadm", "-R"], restore.as_bytes())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })?;
    rows.push(row("restoring 10,000 services of 4 backends", "ms", vec![milliseconds]));
    Ok(rows)
}

/// Where the probes run, so that the sweep's timer is in their way.
fn load(balancer: &Namespace, lb_ctl: &Path) -> Result<()> {
    let last = (available_parallelism()?.get() - 1).to_string();
    let lb_ctl = lb_ctl.to_str().context("the path of lb-ctl")?;
    balancer.run(["taskset", "-c", &last, lb_ctl, "load", "lan0", "lan1", "--mode", "native"])?;
    Ok(())
}

fn probe(wire: &Wire, packet: &Packet, seconds: u64) -> Result<Delays> {
    let packet = packet.path().to_str().context("the path of the benchmark")?;
    let namespace = |namespace: &Namespace| format!("/run/netns/{}", namespace.name());
    let (from, at, seconds) = (namespace(&wire.generator), namespace(&wire.sink), seconds.to_string());
    let command = [packet, "probe", "--from", &from, "--to", "10.9.0.1:5000", "--at", &at];
    let rest = ["--listen", "10.9.1.12:5000", "--seconds", &seconds];
    Ok(serde_json::from_str(&wire.generator.run(command.iter().chain(&rest))?)?)
}

fn delays(meanwhile: &str, delays: Delays) -> [Row; 7] {
    let row = |what: &str, unit, value| {
        Row::new(Part::Scale, &format!("{meanwhile}: {what}"), "ours", unit, vec![value])
    };
    [
        Row {
            delivered: Some(1.0 - delays.lost / (delays.lost + delays.probes)),
            ..row("greatest delay", "µs", delays.greatest / 1e3)
        },
        row("delay of 99.99 %", "µs", delays.p9999 / 1e3),
        row("packets later than 1 ms", "", delays.over_1_ms),
        row("packets", "", delays.probes),
        row("runs of the sweep", "", delays.sweeps),
        row("runs of the sweep longer than 1 ms", "", delays.long_sweeps),
        row("longest run of the sweep", "µs", delays.longest_sweep / 1e3),
    ]
}

/// Bytes of a pinned map, as the kernel accounts for them.
fn memory(balancer: &Namespace, name: &str) -> Result<u64> {
    let directory = fs::read_dir(balancer.site().bpffs().join("lb"))?.next().context("no pins")??.path();
    let map = MapInfo::from_pin(directory.join(name)).with_context(|| format!("the map {name}"))?;
    let fd = map.fd()?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock")?;
    Ok(line.trim().parse()?)
}

/// What `ipvsadm-restore` reads.
fn services() -> String {
    let mut text = String::new();
    for number in 0..SERVICES {
        let service = format!("10.100.{}.{}:80", number >> 8, number & 255);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "-A -t {service} -s wlc");
        for backend in 0..BACKENDS {
            let backend = number * BACKENDS + backend;
            let _ = writeln!(text, "-a -t {service} -r 172.16.{}.{}:80 -m -w 1", backend >> 8, backend & 255);
        }
    }
    text
}

fn milliseconds(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
