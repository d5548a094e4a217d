//! VLANs by the kernel's 8021q: the program below them, where it sees tags or does not, and on them.

use std::{net::UdpSocket, path::Path, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};

use super::traffic::{Traffic, ctl};
use crate::lab::{Lab, Namespace, VIP, VIP6, sent_to_veth};

/// Stands for what [`sent_to_veth`] says.
const SENT_TO_VETH: &str = "";

/// Marks all that comes in by the device below.
const NFT: &str = "add table netdev f; add chain netdev f c { type filter hook ingress device outside priority 0; }; \
                   add rule netdev f c meta mark set 1";

/// One way to have VLANs, and where the packets must have gone.
struct Case {
    name: &'static str,
    /// What `lb-ctl load` is told: `{outside}` and `{inside}` are the devices with the addresses.
    load: &'static str,
    /// Tags of each frame: one, or a service tag and one.
    tags: u8,
    /// Whether tags travel beside the bytes, as veth and most network cards have it.
    beside: bool,
    /// Whether the servers are behind tags too.
    inside: bool,
    /// Reasons that must have been counted, and those that must not.
    counted: &'static [&'static str],
    absent: &'static [&'static str],
}

const CASES: [Case; 8] = [
    Case {
        name: "XDP below, tag beside the frame",
        load: "outside inside",
        tags: 1,
        beside: true,
        inside: true,
        counted: &["KernelDevice"],
        absent: &["Redirected", "KernelVlan"],
    },
    Case {
        name: "XDP below, tag beside the frame, servers without",
        load: "outside inside",
        tags: 1,
        beside: true,
        inside: false,
        // Requests only.
        counted: &["KernelDevice", SENT_TO_VETH],
        absent: &["KernelVlan"],
    },
    Case {
        name: "XDP below, tag in the frame",
        load: "outside inside",
        tags: 1,
        beside: false,
        inside: true,
        counted: &["KernelVlan"],
        absent: &["Redirected", "KernelDevice"],
    },
    Case {
        name: "XDP below, two tags, one of them beside the frame",
        load: "outside inside",
        tags: 2,
        beside: true,
        inside: true,
        counted: &["KernelVlan"],
        absent: &["Redirected"],
    },
    Case {
        name: "XDP below, two tags in the frame",
        load: "outside inside",
        tags: 2,
        beside: false,
        inside: true,
        counted: &["KernelVlan"],
        absent: &["Redirected", "KernelDevice"],
    },
    Case {
        name: "tc below",
        load: "outside inside --hook tc",
        tags: 1,
        beside: true,
        inside: true,
        counted: &["KernelVlan"],
        absent: &["Redirected", "KernelDevice"],
    },
    Case {
        name: "tc on the VLANs",
        load: "{outside} {inside}",
        tags: 1,
        beside: true,
        inside: true,
        counted: &["Redirected"],
        absent: &["KernelVlan", "KernelDevice"],
    },
    Case {
        name: "tc on the inner ones of two VLANs",
        load: "{outside} {inside}",
        tags: 2,
        beside: false,
        inside: true,
        counted: &["Redirected"],
        absent: &["KernelVlan", "KernelDevice"],
    },
];

/// Tries all of them, and reports every one that fails.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for case in &CASES {
        let result = try_case(lb_ctl, case);
        println!("{}: {}", case.name, if result.is_ok() { "works" } else { "FAILED" });
        failed.extend(result.err().map(|error| format!("{}: {error:#}", case.name)));
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn try_case(lb_ctl: &Path, case: &Case) -> Result<()> {
    let lab = Lab::raise(lb_ctl.into())?;
    // Two tags in the bytes would make a full frame too long for a veth of 1,500.
    for (namespace, device) in ends(&lab) {
        namespace.ip(&format!("link set {device} mtu 1508"))?;
        if !case.beside {
            namespace.run(["ethtool", "-K", device, "tx-vlan-hw-insert", "off"])?;
            namespace.run(["ethtool", "-K", device, "tx-vlan-stag-hw-insert", "off"])?;
        }
    }
    // What may be redirected is to be redirected.
    for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
        namespace.run(["ethtool", "-K", device, "gro", "on"])?;
    }
    let outside = tag(&lab.balancer, "outside", case.tags, 5)?;
    move_addresses(&lab.balancer, "outside", &outside, &["192.168.2.200/24", "fd00:2::200/64"])?;
    let client = tag(&lab.client, "eth0", case.tags, 5)?;
    move_addresses(&lab.client, "eth0", &client, &["192.168.2.10/24", "fd00:2::10/64"])?;
    lab.client.gateways(&[VIP, VIP6])?;
    let mut inside = "inside".to_owned();
    if case.inside {
        inside = tag(&lab.balancer, "inside", case.tags, 7)?;
        move_addresses(&lab.balancer, "inside", &inside, &["192.168.33.100/24", "fd00:33::100/64"])?;
        for (server, host) in [(&lab.web1, 111), (&lab.web2, 112)] {
            let device = tag(server, "eth0", case.tags, 7)?;
            let own = [format!("192.168.33.{host}/24"), format!("fd00:33::{host}/64")];
            move_addresses(server, "eth0", &device, &own.each_ref().map(String::as_str))?;
            server.gateways(&["192.168.33.100", "fd00:33::100"])?;
        }
    }
    let load = case.load.replace("{outside}", &outside).replace("{inside}", &inside);
    ctl(&lab.balancer, &format!("load {load}"))?;
    let traffic = Traffic::start(&lab)?;
    traffic.flows().with_context(|| ctl(&lab.balancer, "counters").unwrap_or_default())?;
    let sent_to_veth = sent_to_veth()?;
    let counted =
        case.counted.iter().map(|&reason| if reason == SENT_TO_VETH { sent_to_veth } else { reason });
    traffic.counted(&counted.collect::<Vec<_>>(), case.absent)?;
    if case.load.starts_with('{') {
        a_mark_of_the_device_below_is_seen(&lab)?;
    }
    // A tag beside the frame is hidden from XDP: there the card's filter has to keep other VLANs away.
    if !case.beside || case.load.contains("tc") {
        another_vlan_reaches_nobody(&lab, &traffic)?;
    }
    Ok(())
}

/// nftables marks what the device below receives; the program on the VLAN goes by that.
fn a_mark_of_the_device_below_is_seen(lab: &Lab) -> Result<()> {
    lab.balancer.run(["nft", NFT])?;
    for (vip, option, server) in
        [(VIP.to_owned(), "", "192.168.33.112"), (format!("[{VIP6}]"), " -6", "[fd00:33::112]")]
    {
        ctl(&lab.balancer, &format!("service add -f 1{option}"))?;
        ctl(&lab.balancer, &format!("backend add -f 1{option} -r {server}:80 -m"))?;
        for number in 0..3 {
            // By the address it would be the other server's turn.
            let answer = lab.client.run(["curl", "-sS", "--max-time", "20", &format!("http://{vip}/")])?;
            ensure!(answer == "Web2 called.\n", "marked request {number} to {vip}: {answer}");
        }
        ctl(&lab.balancer, &format!("service del -f 1{option}"))?;
    }
    lab.balancer.run(["nft", "flush ruleset"]).map(drop)
}

/// Both ends of every cable.
fn ends(lab: &Lab) -> [(&Namespace, &'static str); 8] {
    [
        (&lab.client, "eth0"),
        (&lab.balancer, "outside"),
        (&lab.balancer, "inside"),
        (&lab.switch, "balancer"),
        (&lab.switch, "web1"),
        (&lab.switch, "web2"),
        (&lab.web1, "eth0"),
        (&lab.web2, "eth0"),
    ]
}

/// A VLAN on a device, up; with two tags on another in between. Its name.
fn tag(namespace: &Namespace, lower: &str, tags: u8, id: u16) -> Result<String> {
    let mut lower = lower.to_owned();
    if tags == 2 {
        lower = vlan(namespace, &lower, "802.1ad", id + 100, 1504)?;
    }
    vlan(namespace, &lower, "802.1Q", id, 1500)
}

fn vlan(namespace: &Namespace, lower: &str, protocol: &str, id: u16, mtu: u16) -> Result<String> {
    let name = format!("vlan{id}");
    namespace.ip(&format!("link add link {lower} name {name} type vlan protocol {protocol} id {id}"))?;
    namespace.ip(&format!("link set {name} mtu {mtu} up"))?;
    Ok(name)
}

/// Takes the addresses of one device, and the routes by it, and gives another these.
fn move_addresses(namespace: &Namespace, from: &str, to: &str, addresses: &[&str]) -> Result<()> {
    namespace.ip(&format!("address flush dev {from}"))?;
    namespace.ip(&format!("-6 route flush dev {from}"))?;
    namespace.addresses(to, addresses)
}

/// Datagrams for the service with the tag of a VLAN that the balancer has not got: the kernel drops them.
fn another_vlan_reaches_nobody(lab: &Lab, traffic: &Traffic<'_>) -> Result<()> {
    let name = vlan(&lab.client, "eth0", "802.1Q", 9, 1500)?;
    lab.client.addresses(&name, &["192.168.9.10/24"])?;
    let link = lab.balancer.ip("-br link show outside")?;
    let mac = link.split_whitespace().find(|word| word.contains(':')).context("no MAC address")?;
    lab.client.ip(&format!("neighbour add {VIP} lladdr {mac} dev {name}"))?;
    lab.client.ip(&format!("route add {VIP}/32 dev {name}"))?;
    let before = traffic.received();
    let socket = lab.client.inside(|| UdpSocket::bind("192.168.9.10:0"))??;
    for _ in 0..5 {
        socket.send_to(b"x", (VIP, 7000))?;
    }
    sleep(Duration::from_millis(500));
    ensure!(traffic.received() == before, "datagrams of another VLAN reached a server");
    Ok(())
}
