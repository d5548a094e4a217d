//! AH and ESP between real hosts: they go where the key exchange between their ends goes, which is UDP between ports 500.

mod through;

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use through::{counters, ctl};
use xtask::lab::{Lab, VIP, VIP6, protected};

/// Addresses that the balancer has not got, for NAT and for direct routing; a route brings its own clients' packets to
/// the loopback.
const FOREIGN: [[&str; 2]; 2] = [["203.0.113.80", "203.0.113.81"], ["fd00:99::80", "fd00:99::81"]];
const SERVER: [&str; 2] = ["192.168.33.111", "fd00:33::111"];

#[test]
fn ah_and_esp_follow_the_key_exchange() -> Result<()> {
    for hook in ["auto", "tc"] {
        let lab = Lab::classic()?;
        let balancer = &lab.balancer;
        // Direct routing needs far ends that take what XDP sends.
        for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
            namespace.run(["ethtool", "-K", device, "gro", "on"])?;
        }
        balancer.ip("route add 203.0.113.0/24 dev lo src 192.168.33.100")?;
        balancer.ip("-6 route add local fd00:99::/64 dev lo src fd00:33::100")?;
        lab.web1.addresses("lo", &["203.0.113.81/32", "fd00:99::81/128"])?;
        ctl(balancer, &format!("load lo outside inside --hook {hook}"))?;
        for ([nat, direct], real) in FOREIGN.into_iter().zip(SERVER) {
            for (method, service, bound) in [("-m", nat, real), ("-g", direct, direct)] {
                add(&lab, service, real, method)?;
                for client in [&lab.client, balancer] {
                    let name = format!("{hook}: {method} to {service} from {}", client.name());
                    judge(&lab, protected(client, service.parse()?, &lab.web1, bound.parse()?), &name)?;
                }
                ctl(balancer, "clear")?;
            }
        }
        for vip in [VIP, VIP6] {
            let address: IpAddr = vip.parse()?;
            add(&lab, vip, vip, "-l")?;
            judge(&lab, protected(&lab.client, address, balancer, address), &format!("{hook}: -l to {vip}"))?;
            ctl(balancer, "clear")?;
        }
    }
    Ok(())
}

/// The service of the key exchange.
fn add(lab: &Lab, service: &str, server: &str, method: &str) -> Result<()> {
    let at = |address: &str| {
        if address.contains(':') { format!("[{address}]:500") } else { format!("{address}:500") }
    };
    ctl(&lab.balancer, &format!("service add -u {} -s rr", at(service)))?;
    ctl(&lab.balancer, &format!("backend add -u {} -r {} {method}", at(service), at(server)))?;
    Ok(())
}

/// One connection has seen all of it.
fn judge(lab: &Lab, result: Result<()>, name: &str) -> Result<()> {
    result.with_context(|| format!("{name}: {:?}", counters(&lab.balancer)))?;
    let stats = ctl(&lab.balancer, "list -n --stats")?;
    let row = stats.lines().find(|line| line.starts_with("UDP")).context("no service")?;
    let packets: u64 = row.split_whitespace().nth(3).context("no packets")?.parse()?;
    ensure!(packets >= 3, "{name}: {stats}");
    Ok(())
}
