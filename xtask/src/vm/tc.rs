//! The program for tc: by a link or a filter, as the kernel has it, on veth that hand over long segments and open
//! checksums; and on tunnels, whose packets have no Ethernet headers.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::traffic::{Traffic, ctl};
use crate::lab::{Lab, Namespace, VIP, VIP6};

/// Tunnels that carry both families, towards the client.
const TUNNELS: [&str; 2] = ["gre local {4} remote {far4}", "ip6tnl mode any local {6} remote {far6}"];

/// Tries all of them, and reports every one that fails.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    let mut judge = |name: &str, result: Result<()>| {
        println!("{name}: {}", if result.is_ok() { "works" } else { "FAILED" });
        failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
    };
    for hook in ["tc", "clsact"] {
        judge(&format!("veth, {hook}"), on_veth(lb_ctl, hook));
    }
    for tunnel in TUNNELS {
        let kind = tunnel.split(' ').next().unwrap_or_default();
        for hook in ["auto", "tc"] {
            judge(&format!("{kind}, {hook}"), on_tunnel(lb_ctl, tunnel, hook));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn on_veth(lb_ctl: &Path, hook: &str) -> Result<()> {
    let lab = Lab::raise(lb_ctl.into())?;
    ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
    let filters = || lab.balancer.run(["tc", "filter", "show", "dev", "outside", "ingress"]);
    if hook == "clsact" {
        ensure!(filters()?.contains("direct-action"), "no filter: {}", filters()?);
    }
    let traffic = Traffic::start(&lab)?;
    traffic.flows().with_context(|| ctl(&lab.balancer, "counters").unwrap_or_default())?;
    ctl(&lab.balancer, "upgrade")?;
    traffic.flows().context("after an upgrade")?;
    traffic.counted(&["Redirected"], &["KernelDevice"])?;
    if hook == "clsact" {
        a_mark_of_a_filter_before_is_seen(&lab)?;
    }
    ctl(&lab.balancer, "unload")?;
    let left = lab.balancer.run(["tc", "qdisc", "show", "dev", "outside"])?;
    ensure!(!left.contains("clsact"), "left behind: {left}");
    Ok(())
}

/// A filter with a lower number is asked before.
fn a_mark_of_a_filter_before_is_seen(lab: &Lab) -> Result<()> {
    lab.balancer.run(["modprobe", "-a", "cls_matchall", "act_skbedit"])?;
    let filter = "tc filter add dev outside ingress prio 1 matchall action skbedit mark 1 continue";
    lab.balancer.run(filter.split(' '))?;
    for (vip, option, server) in [(VIP, "", "192.168.33.112"), (VIP6, " -6", "[fd00:33::112]")] {
        ctl(&lab.balancer, &format!("service add -f 1{option}"))?;
        ctl(&lab.balancer, &format!("backend add -f 1{option} -r {server}:80 -m"))?;
        let host = if option.is_empty() { vip.to_owned() } else { format!("[{vip}]") };
        for number in 0..3 {
            // By the address it would be the other server's turn.
            let answer = lab.client.run(["curl", "-sS", "--max-time", "20", &format!("http://{host}/")])?;
            ensure!(answer == "Web2 called.\n", "marked request {number} to {vip}: {answer}");
        }
        ctl(&lab.balancer, &format!("service del -f 1{option}"))?;
    }
    lab.balancer.run(["tc", "filter", "del", "dev", "outside", "ingress", "prio", "1"]).map(drop)
}

fn on_tunnel(lb_ctl: &Path, tunnel: &str, hook: &str) -> Result<()> {
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        client.connect("cable", balancer, "cable")?;
        balancer.connect("inside", switch, "balancer")?;
        end(client, "eth0", tunnel, 1, 2)?;
        end(balancer, "outside", tunnel, 2, 1)
    })?;
    let lab = lab.with_servers()?;
    let refused = lab.balancer.lb_ctl_output(["load", "outside", "--hook", "xdp"])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("outside has no Ethernet headers"), "{said}");
    let said = ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
    ensure!(said.contains("outside: attached (tc)"), "{said}");
    let traffic = Traffic::start(&lab)?;
    traffic.flows().with_context(|| ctl(&lab.balancer, "counters").unwrap_or_default())?;
    // Requests are sent on; into the tunnel the kernel puts the replies.
    traffic.counted(&["Redirected", "KernelDevice"], &["KernelVlan"])?;
    // What is not balanced passes, and answers of the balancer's own find back.
    let ping = ["ping", "-c", "1", "-W", "5", VIP];
    lab.client.run(ping)?;
    let nobody = lab.client.output(["curl", "-sS", "--max-time", "5", "http://192.168.2.200:81/"])?;
    ensure!(nobody.status.code() == Some(7), "a port that nobody listens on: {:?}", nobody.status);
    ctl(&lab.balancer, "service add -t 192.168.2.200:82")?;
    let nobody = lab.client.output(["curl", "-sS", "--max-time", "5", "http://192.168.2.200:82/"])?;
    ensure!(nobody.status.code() == Some(7), "a service without backends: {:?}", nobody.status);
    ensure!(lab.balancer.counter("AnsweredUnreachable")? > 0, "{}", ctl(&lab.balancer, "counters")?);
    ctl(&lab.balancer, "unload").map(drop)
}

/// One end of a tunnel through `cable`, up.
pub fn end(namespace: &Namespace, name: &str, tunnel: &str, own: u8, far: u8) -> Result<()> {
    namespace.addresses("cable", &[&format!("10.0.0.{own}/24"), &format!("fd00:aa::{own}/64")])?;
    let mut options =
        tunnel.replace("{4}", &format!("10.0.0.{own}")).replace("{6}", &format!("fd00:aa::{own}"));
    options =
        options.replace("{far4}", &format!("10.0.0.{far}")).replace("{far6}", &format!("fd00:aa::{far}"));
    namespace.ip(&format!("link add {name} type {options}"))?;
    namespace.ip(&format!("link set {name} up")).map(drop)
}
