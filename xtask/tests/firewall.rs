//! Firewall marks that nftables sets: where tc comes after it and sees them, and where it comes before.

mod through;

use std::env;

use anyhow::{Context, Result, ensure};
use through::{counters, ctl, curl};
use xtask::lab::{Lab, Namespace, VIP, VIP6};

/// Marks everything that a device receives, before the kernel's own stack.
const INGRESS: &str = "add table netdev f; add chain netdev f c \
                       { type filter hook ingress device DEVICE priority 0; }; add rule netdev f c meta mark set 1";
/// The same at a hook of the stack.
const HOOK: &str = "add table FAMILY f; add chain FAMILY f c { type filter hook WHERE priority 0; }; \
                    add rule FAMILY f c meta mark set 1";

fn at(family: &str, hook: &str) -> String {
    HOOK.replace("FAMILY", family).replace("WHERE", hook)
}

/// The lab without the addresses of `outside`, which belong to a device above it.
fn above(lay: impl FnOnce(&Namespace) -> Result<()>) -> Result<Lab> {
    let lb_ctl = env::var_os("LB_CTL").context("LB_CTL is not set; run: cargo xtask test")?;
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        client.connect("eth0", balancer, "below")?;
        // Else a device below answers ARP for it, and gets the packets.
        balancer.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        lay(balancer)?;
        balancer.ip("link set outside up")?;
        balancer.connect("inside", switch, "balancer")
    })?;
    lab.with_servers()
}

/// A lab with the balancer loaded by tc: by the address everything goes to `web1`, by the mark to `web2`.
fn loaded(lab: Lab, interfaces: &str) -> Result<Lab> {
    let balancer = &lab.balancer;
    ctl(balancer, &format!("load {interfaces} --hook tc"))?;
    for (vip, option, network) in
        [(VIP.to_owned(), "", "192.168.33."), (format!("[{VIP6}]"), " -6", "fd00:33::")]
    {
        let server = |host: u32| match option {
            "" => format!("{network}{host}"),
            _ => format!("[{network}{host}]"),
        };
        ctl(balancer, &format!("service add -t {vip}:80"))?;
        ctl(balancer, &format!("backend add -t {vip}:80 -r {}:80 -m", server(111)))?;
        ctl(balancer, &format!("service add -f 1{option}"))?;
        ctl(balancer, &format!("backend add -f 1{option} -r {}:80 -m", server(112)))?;
    }
    Ok(lab)
}

/// Whether a client of either family is served by the mark's server once a ruleset is in force.
fn is_seen(balancer: &Namespace, client: &Namespace, ruleset: &str) -> Result<bool> {
    let ask = |server: u32| -> Result<()> {
        for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
            let answer = curl(client, &format!("http://{vip}/"))?;
            ensure!(answer == format!("Web{server} called.\n"), "{ruleset}: {vip} answers {answer}");
        }
        Ok(())
    };
    ask(1).with_context(|| format!("before: {:?}", counters(balancer)))?;
    balancer.run(["nft", ruleset])?;
    let seen = ask(2);
    let unseen = ask(1);
    balancer.run(["nft", "flush ruleset"])?;
    ask(1).context("afterwards")?;
    ensure!(seen.is_ok() != unseen.is_ok(), "{seen:?} {unseen:?} {:?}", counters(balancer));
    Ok(seen.is_ok())
}

#[test]
fn what_marks_behind_the_program_is_not_seen() -> Result<()> {
    let lab = loaded(Lab::classic()?, "outside inside")?;
    for ruleset in [INGRESS.replace("DEVICE", "outside"), at("inet", "prerouting"), at("inet", "input")] {
        ensure!(!is_seen(&lab.balancer, &lab.client, &ruleset)?, "{ruleset}");
    }
    Ok(())
}

#[test]
fn a_bridge_sees_the_marks_of_its_ports_and_of_its_own_hook() -> Result<()> {
    let lab = above(|balancer| balancer.bridge("outside", &["below"]))?;
    let lab = loaded(lab, "outside inside")?;
    for ruleset in [INGRESS.replace("DEVICE", "below"), at("bridge", "prerouting"), at("bridge", "input")] {
        ensure!(is_seen(&lab.balancer, &lab.client, &ruleset)?, "{ruleset}");
    }
    Ok(())
}

#[test]
fn a_macvlan_sees_the_marks_of_the_device_below() -> Result<()> {
    let lab =
        above(|balancer| balancer.ip("link add link below name outside type macvlan mode bridge").map(drop))?;
    let lab = loaded(lab, "outside inside")?;
    ensure!(is_seen(&lab.balancer, &lab.client, &INGRESS.replace("DEVICE", "below"))?);
    Ok(())
}

#[test]
fn a_mark_goes_through_a_veth_within_the_host() -> Result<()> {
    // The firewall's device, a bridge, and a cable from it to the program's.
    let lab = above(|balancer| {
        balancer.ip("link add outside type veth peer name leg")?;
        balancer.ip("link set leg up")?;
        balancer.bridge("br9", &["below", "leg"])
    })?;
    let lab = loaded(lab, "outside inside")?;
    ensure!(is_seen(&lab.balancer, &lab.client, &INGRESS.replace("DEVICE", "below"))?);
    Ok(())
}

#[test]
fn a_mark_does_not_come_from_another_namespace() -> Result<()> {
    let lab = loaded(Lab::classic()?, "outside inside")?;
    ensure!(!is_seen(&lab.client, &lab.client, &at("inet", "output"))?);
    Ok(())
}

#[test]
fn clients_on_the_balancer_are_marked_where_they_send() -> Result<()> {
    let lab = loaded(Lab::classic()?, "lo outside inside")?;
    ensure!(is_seen(&lab.balancer, &lab.balancer, &at("inet", "output"))?);
    ensure!(!is_seen(&lab.balancer, &lab.balancer, &at("inet", "prerouting"))?);
    Ok(())
}
