//! A director moves from the kernel's IPVS to ours while clients are connected.

use std::{
    net::SocketAddrV4,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::lab::{Conversation, Echo, Lab, VIP};

/// How long the stream runs; the move comes early in it.
const STREAM_SECONDS: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(20);
const ECHO_PORT: u16 = 8_080;
const CLIENT: &str = "192.168.2.10:30000";

/// What IPVS is told.
const COMMANDS: [&str; 12] = [
    "-A -t 192.168.2.200:80 -s wlc",
    "-a -t 192.168.2.200:80 -r 192.168.33.111:80 -m -w 3 -x 1000 -y 500",
    "-a -t 192.168.2.200:80 -r 192.168.33.112:80 -m",
    "-A -t 192.168.2.200:8080 -s wrr",
    "-a -t 192.168.2.200:8080 -r 192.168.33.111:8080 -m -w 2",
    "-A -t 192.168.2.200:5201 -s rr",
    "-a -t 192.168.2.200:5201 -r 192.168.33.111:5201 -m",
    "-A -u 192.168.2.200:53 -s sh -b sh-port,sh-fallback",
    "-a -u 192.168.2.200:53 -r 192.168.33.112:53 -m -w 0",
    "-A -t [fd00:2::200]:80 -s mh",
    "-a -t [fd00:2::200]:80 -r [fd00:33::111]:80 -m",
    "--set 700 100 200",
];

/// Moves, and looks for a connection that did not survive it.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let lab = Lab::network(lb_ctl.into())?;
    let balancer = &lab.balancer;
    for command in COMMANDS {
        balancer.run(format!("ipvsadm {command}").split(' '))?;
    }
    balancer.sysctl("net/ipv4/vs/expire_nodest_conn", "1")?;
    let _echo = Echo::start(&lab.web1, "web1", ECHO_PORT)?;
    let client: SocketAddrV4 = CLIENT.parse()?;
    let service: SocketAddrV4 = format!("{VIP}:{ECHO_PORT}").parse()?;
    let mut conversation = lab.client.inside(|| Conversation::open_here(client, service, PATIENCE))??;
    conversation.receive().context("the server's greeting through IPVS")?;
    ensure!(conversation.say("before")? == "web1:before", "the echo through IPVS");
    let _server = lab.web1.spawn(["iperf3", "-s"])?;
    // Until it listens.
    let started = Instant::now();
    while let Err(error) = lab.web1.run(["iperf3", "-c", "127.0.0.1", "-n", "1K"]) {
        ensure!(started.elapsed() < PATIENCE, "{error:#}");
        sleep(Duration::from_millis(100));
    }
    let seconds = STREAM_SECONDS.to_string();
    let stream = lab.client.spawn(["iperf3", "-c", VIP, "-t", &seconds, "-b", "20M", "-J"])?;
    sleep(Duration::from_secs(2));

    let configured = configuration(&balancer.run(["ipvsadm", "-Ln"])?);
    balancer.lb_ctl(["load", "outside", "inside"])?;
    let announced = balancer.lb_ctl(["import-ipvs", "--dry-run"])?;
    ensure!(announced.contains("Timeout (tcp tcpfin udp): 700 100 200"), "{announced}");
    ensure!(announced.contains("expire_nodest_conn = 1"), "{announced}");
    ensure!(balancer.lb_ctl(["list", "-n"])?.lines().count() == 3, "a dry run has changed something");
    let started = Instant::now();
    let said = balancer.lb_ctl(["import-ipvs", "--connections"])?;
    println!("import-ipvs took {:.1} s: {}", started.elapsed().as_secs_f64(), said.replace('\n', "; "));
    let passed = balancer.counter("MidStream")?;
    balancer.run(["ipvsadm", "-C"])?;

    let imported = configuration(&balancer.lb_ctl(["list", "-n"])?);
    ensure!(imported == configured, "IPVS had\n{configured}imported\n{imported}");
    ensure!(balancer.lb_ctl(["set"])?.contains(": 700 100 200"), "the timeouts");
    ensure!(balancer.lb_ctl(["sysctl", "expire_nodest_conn"])?.contains("= 1"), "the sysctls");
    ensure!(balancer.lb_ctl(["list", "-n", "--thresholds"])?.contains(" 1000       500 "), "the thresholds");
    ensure!(conversation.say("after")? == "web1:after", "the echo after the move");
    let rows = balancer.connections()?;
    let row = rows.iter().find(|row| row.client == CLIENT).context("its connection")?;
    ensure!(row.state == "ESTABLISHED" && row.seconds <= 700, "{row:?}");

    let report = stream.finish(Duration::from_secs(u64::from(STREAM_SECONDS) + 20))?;
    let report: serde_json::Value = serde_json::from_str(&report).context("iperf3's report")?;
    let intervals = report["intervals"].as_array().context("no intervals")?;
    let bytes: Vec<u64> = intervals.iter().filter_map(|interval| interval["sum"]["bytes"].as_u64()).collect();
    println!("bytes each second of the stream that moved: {bytes:?}");
    ensure!(report["error"].is_null(), "{}", report["error"]);
    ensure!(bytes.iter().rev().take(2).all(|bytes| *bytes > 0), "the stream stopped: {bytes:?}");
    let missed = balancer.counter("MidStream")? - passed;
    ensure!(missed == 0, "{missed} packets of connections that had moved were not known");
    Ok(())
}

/// A listing without what changes while connections live, and without the size of the table.
fn configuration(listing: &str) -> String {
    let row = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    let is_backend = |line: &str| line.starts_with("  -> ");
    listing
        .lines()
        .skip(1)
        .map(|line| if is_backend(line) { row(line) } else { line.trim_end().to_owned() } + "\n")
        .collect()
}
