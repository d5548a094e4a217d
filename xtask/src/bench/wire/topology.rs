//! A generator, a balancer and a sink, each in a namespace.

use std::{
    fs,
    path::Path,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    bench::packet::Packet,
    lab::{Namespace, Process, Site},
};

/// The balancer's MAC address at `lan0`.
const BALANCER_MAC: &str = "02:00:00:00:00:02";
/// Where the neighbours behind `lan1` are said to be. Nobody has it: what comes to the sink's stack ends at
/// its door.
const NOBODY: &str = "02:00:00:00:00:11";
/// How long the last packets may be under way.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// A generator's wire to the sink.
pub struct Wire {
    pub balancer: Namespace,
    pub sink: Namespace,
    pub generator: Namespace,
    packet: Packet,
    held: Vec<Process>,
}

/// What is sent.
pub struct Send {
    pub to: &'static str,
    pub flags: &'static str,
    pub flows: u32,
    /// Number of the first flow.
    pub first: u32,
    pub count: u32,
}

/// What became of it.
pub struct Sent {
    pub nanoseconds_each: f64,
    /// 1 is all.
    pub delivered: f64,
}

#[derive(Deserialize)]
struct Printed {
    nanoseconds: f64,
    sent: f64,
}

impl Wire {
    /// With routes and neighbours, and nothing that balances.
    pub fn new(packet: &Packet, lb_ctl: &Path) -> Result<Self> {
        let site = Site::new(lb_ctl.into())?;
        let [generator, balancer, sink] = ["generator", "balancer", "sink"].map(|role| quiet(&site, role));
        let (generator, balancer, sink) = (generator?, balancer?, sink?);
        generator.connect("gen0", &balancer, "lan0")?;
        balancer.connect("lan1", &sink, "sink0")?;
        balancer.ip(&format!("link set lan0 address {BALANCER_MAC}"))?;
        balancer.ip("address add 10.9.0.1/24 dev lan0")?;
        balancer.ip("address add 10.9.1.1/24 dev lan1")?;
        generator.ip("address add 10.9.0.2/24 dev gen0")?;
        sink.ip("address add 10.9.1.12/24 dev sink0")?;
        sink.ip("route add default via 10.9.1.1")?;
        balancer.ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:00:01 dev lan0")?;
        balancer.ip(&format!("neighbour add 10.9.1.11 lladdr {NOBODY} dev lan1"))?;
        balancer.ip("route add 10.0.0.0/8 via 10.9.0.2")?;
        balancer.sysctl("net/ipv4/ip_forward", "1")?;
        Ok(Self { balancer, sink, generator, packet: packet.clone(), held: Vec::new() })
    }

    /// Holds one of the benchmark's programs at an interface.
    pub fn attach(&mut self, at: &Namespace, interface: &str, program: &str, options: &[&str]) -> Result<()> {
        self.held.push(self.packet.attach(at, interface, program, options)?);
        Ok(())
    }

    /// Sends, and counts what comes to the sink.
    pub fn send(&self, send: &Send) -> Result<Sent> {
        let before = self.arrived()?;
        let [flows, first, count] = [send.flows, send.first, send.count].map(|number| number.to_string());
        let packet = self.packet.name()?;
        let command = [packet, "send", "gen0", "--from", "10.1.7.7:40000", "--to", send.to, "--mac"];
        let flags = [BALANCER_MAC, "--flags", send.flags, "--flows", &flows, "--first", &first, "--count"];
        let printed = self.generator.run(command.iter().chain(&flags).chain(&[count.as_str()]))?;
        let Printed { nanoseconds, sent } = serde_json::from_str(&printed)?;
        let limit = Instant::now() + UNDER_WAY;
        let mut arrived = self.arrived()? - before;
        while arrived < sent && Instant::now() < limit {
            sleep(Duration::from_millis(10));
            arrived = self.arrived()? - before;
        }
        Ok(Sent { nanoseconds_each: nanoseconds, delivered: (arrived / sent).min(1.0) })
    }

    fn arrived(&self) -> Result<f64> {
        let text = self.sink.inside(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("sink0:")).context("no sink0")?;
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        ensure!(numbers.len() > 3, "the counters of sink0: {line}");
        // Received packets, and those of them that were dropped.
        Ok(numbers[1] - numbers[3])
    }
}

/// A namespace in which only we send packets.
fn quiet(site: &Arc<Site>, role: &str) -> Result<Namespace> {
    let namespace = site.namespace(role)?;
    for device in ["all", "default"] {
        namespace.sysctl(&format!("net/ipv6/conf/{device}/disable_ipv6"), "1")?;
        namespace.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    Ok(namespace)
}
