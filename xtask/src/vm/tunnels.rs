//! Tunnels, unwrapped by the kernel's own ipip, sit, ip6_tunnel, gre, ip6_gre and fou: every kind, in and around both
//! families, by the kernel's path, by XDP's where there is one, and by tc.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Namespace, VIP, VIP6, protected};

/// What is typed, and how many bytes it puts between the two IP headers.
const KINDS: [(&str, u32); 6] = [
    ("ipip", 0),
    ("gue --tun-port 6080", 12),
    ("gue --tun-port 6080 --tun-csum", 12),
    ("gue --tun-port 6080 --tun-remcsum", 12),
    ("gre", 4),
    ("gre --tun-csum", 8),
];

/// What the balancer sends through: the kernel, XDP towards far ends that have GRO, tc.
const WAYS: [&str; 3] = ["the kernel", "XDP", "tc"];

/// Tries all of them, and reports every one that fails.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for way in WAYS {
        let lab = lab(lb_ctl, way)?;
        let mut number = 0;
        for (kind, between) in KINDS {
            if kind == "gre --tun-csum" {
                expect_checksums(&lab)?;
            }
            for (outer, addresses) in [
                ("IPv4", ["192.168.33.111", "192.168.33.112"]),
                ("IPv6", ["[fd00:33::111]", "[fd00:33::112]"]),
            ] {
                let overhead = between + if outer == "IPv4" { 20 } else { 40 };
                for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
                    let name = format!("{kind}: {vip} in {outer}, by {way}");
                    number += 1;
                    let foreign = foreign(vip.starts_with('['), number);
                    let result = served(&lab, &vip, addresses, kind, overhead)
                        .and_then(|()| without_ports(&lab, &lab.client, foreign, addresses[0], kind))
                        .and_then(|()| own_clients(&lab, way, foreign, addresses[0], kind));
                    println!("{name}: {}", if result.is_ok() { "works" } else { "FAILED" });
                    failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
                    lab.balancer.lb_ctl(["clear"])?;
                }
            }
        }
        println!("{}", lab.balancer.lb_ctl(["counters"])?);
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn lab(lb_ctl: &Path, way: &str) -> Result<Lab> {
    let lab = Lab::raise(lb_ctl.into())?;
    lab.client.run(["modprobe", "-a", "ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre", "fou", "fou6"])?;
    for server in [&lab.web1, &lab.web2] {
        unwrap(server)?;
        server.ip("route add local 203.0.113.0/24 dev lo")?;
        server.ip("-6 route add local fd00:99::/64 dev lo")?;
        // A route of this kind suffices to bind for IPv4 only.
        server.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
    }
    // Its other address the servers have, too.
    lab.balancer.ip("route add 203.0.113.0/24 dev lo src 192.168.33.100")?;
    lab.balancer.ip("-6 route add local fd00:99::/64 dev lo src fd00:33::100")?;
    if way == "XDP" {
        for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
            namespace.run(["ethtool", "-K", device, "gro", "on"])?;
        }
    }
    let (hook, more) = if way == "tc" { ("tc", &["lo"][..]) } else { ("xdp", &[][..]) };
    lab.balancer.lb_ctl([&["load", "outside", "inside", "--hook", hook], more].concat())?;
    Ok(lab)
}

/// Lets a server take what is wrapped for it, from any sender.
fn unwrap(server: &Namespace) -> Result<()> {
    server.addresses("lo", &[&format!("{VIP}/32"), &format!("{VIP6}/128")])?;
    server.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    server.ip("-6 tunnel change ip6tnl0 mode any")?;
    for device in ["tunl0", "sit0", "ip6tnl0", "gre0", "ip6gre0"] {
        server.ip(&format!("link set {device} up"))?;
        server.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    server.ip("fou add port 6080 gue")?;
    server.ip("-6 fou add port 6080 gue").map(drop)
}

/// A GRE device takes packets with checksums or those without: this is the last kind.
fn expect_checksums(lab: &Lab) -> Result<()> {
    for (server, number) in [(&lab.web1, 111), (&lab.web2, 112)] {
        server.ip(&format!("link add sum4 type gre local 192.168.33.{number} icsum"))?;
        server.ip(&format!("link add sum6 type ip6gre local fd00:33::{number} remote :: icsum"))?;
        for device in ["sum4", "sum6"] {
            server.ip(&format!("link set {device} up"))?;
            server.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
        }
    }
    Ok(())
}

/// An address that the balancer has not got, another one for each number: a connection outlives its service, and would
/// go on by the kind of tunnel before.
fn foreign(is_ipv6: bool, number: u8) -> IpAddr {
    if is_ipv6 { [0xfd00, 0x99, 0, 0, 0, 0, 0, number.into()].into() } else { [203, 0, 113, number].into() }
}

/// A datagram, AH and ESP, which follow it.
fn without_ports(lab: &Lab, client: &Namespace, vip: IpAddr, server: &str, kind: &str) -> Result<()> {
    let service = SocketAddr::new(vip, 500);
    let ctl = |words: String| lab.balancer.lb_ctl(words.split_whitespace());
    ctl(format!("service add -u {service}"))?;
    ctl(format!("backend add -u {service} -r {server} -i --tun-type {kind}"))?;
    protected(client, vip, &lab.web1, vip).with_context(|| client.name().to_owned())?;
    ctl(format!("service del -u {service}")).map(drop)
}

/// Clients on the balancer: a route brings their packets to the loopback, where tc takes them.
fn own_clients(lab: &Lab, way: &str, vip: IpAddr, server: &str, kind: &str) -> Result<()> {
    if way != "tc" {
        return Ok(());
    }
    let service = SocketAddr::new(vip, 80);
    let ctl = |words: String| lab.balancer.lb_ctl(words.split_whitespace());
    ctl(format!("service add -t {service}"))?;
    ctl(format!("backend add -t {service} -r {server} -i --tun-type {kind}"))?;
    let answer = lab.balancer.run(["curl", "-sS", "--max-time", "10", &format!("http://{service}/")])?;
    ensure!(answer == "Web1 called.\n", "to the balancer itself: {answer}");
    without_ports(lab, &lab.balancer, vip, server, kind)
}

/// Small requests, and a long one that meets the tunnel's MTU.
fn served(lab: &Lab, vip: &str, servers: [&str; 2], kind: &str, overhead: u32) -> Result<()> {
    let ctl = |words: &str| lab.balancer.lb_ctl(words.split_whitespace());
    ctl(&format!("service add -t {vip}:80 -s rr"))?;
    for server in servers {
        ctl(&format!("backend add -t {vip}:80 -r {server} -i --tun-type {kind}"))?;
    }
    let url = format!("http://{vip}/");
    for number in 0..4 {
        let answer = lab.client.run(["curl", "-sS", "--max-time", "10", &url])?;
        let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
        ensure!(answer == expected, "request {number}: {answer}");
    }
    let file = lab.site.directory().join("body");
    fs::write(&file, vec![b'x'; 200_000])?;
    let body = format!("@{}", file.display());
    let sent = ["curl", "-sS", "--max-time", "20", "--data-binary", &body, &url];
    let answer = lab.client.run(sent).context("sending 200,000 bytes")?;
    ensure!(answer.ends_with("called.\n"), "{answer}");
    let route = lab.client.ip(&format!("route get {}", vip.trim_matches(['[', ']'])))?;
    ensure!(route.contains(&format!("mtu {}", 1500 - overhead)), "path MTU: {route}");
    lab.client.ip("route flush cache")?;
    lab.client.ip("-6 route flush cache")?;
    let stats = ctl("list -n --stats")?;
    let row = stats.lines().find(|line| line.starts_with("TCP")).context("no service")?;
    let figures: Vec<_> = row.split_whitespace().skip(2).collect();
    ensure!(figures[0] == "5", "{row}");
    Ok(())
}
