//! Tunnels, unwrapped by the kernel's own ipip, sit, ip6_tunnel, gre, ip6_gre and fou: every kind, in and around both
//! families, by the kernel's path, by XDP's where there is one, and by tc.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Namespace, VIP, VIP6};

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
                    let result = served(&lab, &vip, addresses, kind, overhead);
                    println!("{name}: {}", if result.is_ok() { "works" } else { "FAILED" });
                    failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
                    lab.balancer.lb_ctl(["clear"])?;
                }
            }
        }
        if way == "tc" {
            let result = from_the_balancer(&lab);
            println!("a client on the balancer: {}", if result.is_ok() { "works" } else { "FAILED" });
            failed.extend(result.err().map(|error| format!("a client on the balancer: {error:#}")));
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
    }
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

/// For an address that the balancer has not got, whose packets a route brings to the loopback.
fn from_the_balancer(lab: &Lab) -> Result<()> {
    // Its other address the servers have, too.
    lab.balancer.ip("route add 203.0.113.80 dev lo src 192.168.33.100")?;
    lab.balancer.ip("-6 route add local fd00:99::80 dev lo src fd00:33::100")?;
    lab.web1.addresses("lo", &["203.0.113.80/32", "fd00:99::80/128"])?;
    for (vip, server) in [("203.0.113.80", "192.168.33.111"), ("[fd00:99::80]", "[fd00:33::111]")] {
        lab.balancer.lb_ctl(["service", "add", "-t", &format!("{vip}:80")])?;
        lab.balancer.lb_ctl(["backend", "add", "-t", &format!("{vip}:80"), "-r", server, "-i"])?;
        for number in 0..3 {
            let request = ["curl", "-sS", "--max-time", "10", &format!("http://{vip}/")];
            let answer = lab.balancer.run(request).with_context(|| format!("request {number} to {vip}"))?;
            ensure!(answer == "Web1 called.\n", "request {number} to {vip}: {answer}");
        }
    }
    lab.balancer.lb_ctl(["clear"]).map(drop)
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
