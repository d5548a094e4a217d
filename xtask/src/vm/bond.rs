//! Bonds by the kernel's bonding, over two cables each: the program in the drivers below, and by tc.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::traffic::{Traffic, ctl};
use crate::lab::{Lab, Namespace, sent_to_veth};

/// Modes of the bonding driver in which it takes XDP programs.
const MODES: [&str; 3] = ["active-backup", "balance-rr", "802.3ad"];

/// Tries all of them, and reports every one that fails.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for (mode, hook) in MODES.map(|mode| (mode, "auto")).into_iter().chain([("active-backup", "tc")]) {
        let result = bonded(lb_ctl, mode, hook);
        println!("{mode}, {hook}: {}", if result.is_ok() { "works" } else { "FAILED" });
        failed.extend(result.err().map(|error| format!("{mode}, {hook}: {error:#}")));
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn bonded(lb_ctl: &Path, mode: &str, hook: &str) -> Result<()> {
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        for number in 0..2 {
            client.connect(&format!("c{number}"), balancer, &format!("o{number}"))?;
            balancer.connect(&format!("i{number}"), switch, &format!("s{number}"))?;
        }
        bond(client, "eth0", "c", mode)?;
        bond(balancer, "outside", "o", mode)?;
        bond(balancer, "inside", "i", mode)?;
        bond(switch, "balancer", "s", mode)
    })?;
    let lab = lab.with_servers()?;
    // So that the far ends take what is redirected.
    for (namespace, ports) in [(&lab.client, "c"), (&lab.switch, "s")] {
        for number in 0..2 {
            namespace.run(["ethtool", "-K", &format!("{ports}{number}"), "gro", "on"])?;
        }
    }
    let said = ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
    let attached = if hook == "tc" { "tc" } else { "native" };
    ensure!(said.contains(&format!("outside: attached ({attached})")), "{said}");
    let traffic = Traffic::start(&lab)?;
    traffic.flows().with_context(|| ctl(&lab.balancer, "counters").unwrap_or_default())?;
    // One cable of each bond is cut.
    for (namespace, port) in [(&lab.client, "c0"), (&lab.switch, "s0")] {
        namespace.ip(&format!("link set {port} down"))?;
    }
    traffic.flows().with_context(|| format!("a cable less: {:?}", ctl(&lab.balancer, "counters")))?;
    let sent = if hook == "tc" { "Redirected" } else { sent_to_veth()? };
    let other = if sent == "Redirected" { "KernelDevice" } else { "Redirected" };
    traffic.counted(&[sent], &[other])?;
    ctl(&lab.balancer, "unload").map(drop)
}

/// A bond over two devices whose names begin alike, up.
fn bond(namespace: &Namespace, name: &str, ports: &str, mode: &str) -> Result<()> {
    let fast = if mode == "802.3ad" { " lacp_rate fast" } else { "" };
    namespace.ip(&format!("link add {name} type bond mode {mode} miimon 100{fast}"))?;
    for number in 0..2 {
        // Only a device that is down becomes a port.
        namespace.ip(&format!("link set {ports}{number} down"))?;
        namespace.ip(&format!("link set {ports}{number} master {name}"))?;
    }
    if mode == "active-backup" {
        // Else either end of the cables may begin with another one, and nothing comes through.
        namespace.ip(&format!("link set {name} type bond primary {ports}0"))?;
    }
    namespace.ip(&format!("link set {name} up")).map(drop)
}
