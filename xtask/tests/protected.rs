//! AH and ESP between real hosts: they go where the key exchange between their ends goes, which is UDP between ports 500.

mod through;

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use through::{counters, ctl};
use xtask::lab::{Lab, VIP, VIP6, protected};

/// Addresses that the balancer has not got, for NAT, for direct routing and for a firewall mark; a route brings its own
/// clients' packets to the loopback.
const FOREIGN: [[&str; 3]; 2] =
    [["203.0.113.80", "203.0.113.81", "203.0.113.82"], ["fd00:99::80", "fd00:99::81", "fd00:99::82"]];
/// A server for each of two ways by NAT: what it answers to a client's port 500 does not tell which service was asked.
const SERVERS: [[&str; 2]; 2] = [["192.168.33.111", "192.168.33.112"], ["fd00:33::111", "fd00:33::112"]];

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
        for ([nat, direct, marked], [first, second]) in FOREIGN.into_iter().zip(SERVERS) {
            for (method, service, server, real, bound) in [
                ("-m", nat, &lab.web1, first, first),
                ("-g", direct, &lab.web1, first, direct),
                ("-f", marked, &lab.web2, second, second),
            ] {
                match method {
                    "-f" => add_marked(&lab, service, real)?,
                    method => add(&lab, service, real, method)?,
                }
                for client in [&lab.client, balancer] {
                    let name = format!("{hook}: {method} to {service} from {}", client.name());
                    judge(&lab, protected(client, service.parse()?, server, bound.parse()?), &name)?;
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
        // By NAT to another address of the balancer: rules bring its answers to the loopback.
        for (family, service, own) in
            [("", "203.0.113.83", "192.168.33.100"), ("-6 ", "fd00:99::83", "fd00:33::100")]
        {
            for what in ["udp sport 500", "50", "51"] {
                balancer.ip(&format!("{family}rule add ipproto {what} lookup 100"))?;
            }
            balancer.ip(&format!("{family}route add local default dev lo table 100"))?;
            add(&lab, service, own, "-m")?;
            let result = protected(&lab.client, service.parse()?, balancer, own.parse()?);
            judge(&lab, result, &format!("{hook}: -m to {own}, of the balancer"))?;
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

/// The same by a mark for the datagrams, which AH and ESP follow.
fn add_marked(lab: &Lab, service: &str, server: &str) -> Result<()> {
    let (option, server) = match server.contains(':') {
        true => ("1 -6", format!("[{server}]")),
        false => ("1", server.to_owned()),
    };
    ctl(&lab.balancer, &format!("mark add 1 -d {service} -p udp --dport 500"))?;
    ctl(&lab.balancer, &format!("service add -f {option} -s rr"))?;
    ctl(&lab.balancer, &format!("backend add -f {option} -r {server} -m")).map(drop)
}

/// One connection has seen all of it.
fn judge(lab: &Lab, result: Result<()>, name: &str) -> Result<()> {
    result.with_context(|| format!("{name}: {:?}", counters(&lab.balancer)))?;
    let stats = ctl(&lab.balancer, "list -n --stats")?;
    let row = stats.lines().find(|line| line.starts_with("UDP") || line.starts_with("FWM"));
    let row = row.context("no service")?;
    // Conns, InPkts, and three more.
    let packets: u64 = row.split_whitespace().nth_back(3).context("no packets")?.parse()?;
    ensure!(packets >= 3, "{name}: {stats}");
    Ok(())
}
