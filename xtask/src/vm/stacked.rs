//! Devices that stand on another: macvlan and ipvlan, VXLAN, and WireGuard, whose packets have no Ethernet headers.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    tc::end,
    traffic::{Traffic, ctl},
};
use crate::lab::{Lab, Namespace};

/// Where the guest finds the tool of WireGuard.
pub const WG: &str = "vm/wg";

/// One kind of device: how it is made at both ends, and what the balancer counts by tc alone, and by what `auto` takes.
struct Kind {
    name: &'static str,
    make: fn(&Namespace, &Namespace) -> Result<()>,
    by_tc: [&'static [&'static str]; 2],
    by_auto: [&'static [&'static str]; 2],
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "macvlan",
        make: |client, balancer| on_cable(client, balancer, "macvlan mode bridge"),
        by_tc: [&["Redirected"], &["KernelDevice", "KernelVlan"]],
        // By XDP on the other interface the kernel sends to this one.
        by_auto: [&["Redirected", "KernelDevice"], &["KernelVlan"]],
    },
    Kind {
        name: "ipvlan",
        make: |client, balancer| on_cable(client, balancer, "ipvlan mode l2"),
        by_tc: [&["Redirected"], &["KernelDevice", "KernelVlan"]],
        by_auto: [&["Redirected", "KernelDevice"], &["KernelVlan"]],
    },
    Kind {
        name: "vxlan",
        make: vxlan,
        by_tc: [&["Redirected"], &["KernelDevice", "KernelVlan"]],
        by_auto: [&["Redirected", "KernelDevice"], &["KernelVlan"]],
    },
    Kind {
        name: "wireguard",
        make: wireguard,
        // Into the tunnel the kernel puts the replies.
        by_tc: [&["Redirected", "KernelDevice"], &["KernelVlan"]],
        by_auto: [&["Redirected", "KernelDevice"], &["KernelVlan"]],
    },
];

/// Tries all of them, and reports every one that fails.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for kind in &KINDS {
        for (hook, counted) in [("tc", kind.by_tc), ("auto", kind.by_auto)] {
            let result = try_kind(lb_ctl, kind, hook, counted);
            let name = format!("{}, {hook}", kind.name);
            println!("{name}: {}", if result.is_ok() { "works" } else { "FAILED" });
            failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn try_kind(lb_ctl: &Path, kind: &Kind, hook: &str, [counted, absent]: [&[&str]; 2]) -> Result<()> {
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        client.run(["modprobe", kind.name])?;
        (kind.make)(client, balancer)?;
        balancer.connect("inside", switch, "balancer")
    })?;
    let lab = lab.with_servers()?;
    let said = ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
    ensure!(said.contains("outside: attached (tc)"), "{said}");
    let traffic = Traffic::start(&lab)?;
    traffic.flows().with_context(|| ctl(&lab.balancer, "counters").unwrap_or_default())?;
    ctl(&lab.balancer, "upgrade")?;
    traffic.flows().context("after an upgrade")?;
    traffic.counted(counted, absent)?;
    ctl(&lab.balancer, "unload").map(drop)
}

/// A device of the balancer's on a cable, with which the client does nothing special.
fn on_cable(client: &Namespace, balancer: &Namespace, kind: &str) -> Result<()> {
    client.connect("eth0", balancer, "cable")?;
    // Else the cable answers ARP for it, and gets the packets.
    balancer.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
    balancer.ip(&format!("link add link cable name outside type {kind}"))?;
    balancer.ip("link set outside up").map(drop)
}

fn vxlan(client: &Namespace, balancer: &Namespace) -> Result<()> {
    client.connect("cable", balancer, "cable")?;
    for (namespace, name, own, far) in [(client, "eth0", 1, 2), (balancer, "outside", 2, 1)] {
        end(namespace, name, "vxlan id 7 local {4} remote {far4} dstport 4789", own, far)?;
        namespace.ip(&format!("link set {name} mtu 1450"))?;
    }
    Ok(())
}

fn wireguard(client: &Namespace, balancer: &Namespace) -> Result<()> {
    client.connect("cable", balancer, "cable")?;
    let ends =
        [(client, "eth0", 1, "0.0.0.0/0,::/0"), (balancer, "outside", 2, "192.168.2.10/32,fd00:2::10/128")];
    let wg = format!("/{WG}");
    let mut public = Vec::new();
    for (namespace, name, own, _) in ends {
        end(namespace, name, "wireguard", own, 3 - own)?;
        let private = namespace.run([&wg, "genkey"])?;
        let file = namespace.site().directory().join(format!("key-{name}"));
        fs::write(&file, &private)?;
        let told = namespace.output_with_input([&wg, "pubkey"], private.as_bytes())?;
        public.push(String::from_utf8(told.stdout)?.trim().to_owned());
        let file = file.display().to_string();
        namespace.run([&wg, "set", name, "listen-port", "51820", "private-key", &file])?;
    }
    for ((namespace, name, own, allowed), public) in ends.into_iter().zip(public.iter().rev()) {
        let endpoint = format!("10.0.0.{}:51820", 3 - own);
        namespace.run([&wg, "set", name, "peer", public, "allowed-ips", allowed, "endpoint", &endpoint])?;
    }
    Ok(())
}
