//! SCTP between real stacks, as IPVS was recorded with it: an association at a time, and one that stays open.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::Path,
    thread::{sleep, spawn},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, SocketType, accept, bind, connect, listen, socket,
    sockopt::{Timeout, set_ipv6_v6only, set_socket_timeout},
};

use crate::lab::{Lab, Namespace, VIP, VIP6, sent_to_veth};

/// A service's addresses that the balancer has not got: a route brings its own clients' packets to the loopback.
const FOREIGN: &str = "203.0.113.80";
const FOREIGN6: &str = "fd00:99::80";
/// The balancer's own: its clients are bound to them, and its server listens there by NAT.
const OWN: &str = "192.168.33.100";
const OWN6: &str = "fd00:33::100";
/// Where that server listens, and another on the service's address.
const OWN_PORT: u16 = 9000;
const LOCAL_PORT: u16 = 9001;
/// Ways to the servers, each by both families, and a port for each: the client's. The next one is for the balancer's own.
const METHODS: [(&str, u16); 4] = [("-m", 8080), ("-m --fullnat", 8082), ("-i", 8084), ("-g", 8086)];

/// By the kernel's path, by XDP's where there is one, and by tc: by every method, over both families, with clients and
/// servers on the balancer, too. Reports all that fail.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let mut failed = Vec::new();
    for way in ["the kernel", "XDP", "tc"] {
        let lab = lab(lb_ctl, way)?;
        let mut judge = |what: &str, result: Result<()>| {
            println!("SCTP {what}, {way}: {}", if result.is_ok() { "works" } else { "FAILED" });
            failed.extend(result.err().map(|error| format!("SCTP {what}, {way}: {error:#}")));
            lab.balancer.lb_ctl(["clear"])
        };
        for (method, port) in METHODS {
            for (vip, own) in [(FOREIGN, OWN), (FOREIGN6, OWN6)] {
                let vip = vip.parse()?;
                let (to, to_own) = (SocketAddr::new(vip, port), SocketAddr::new(vip, port + 1));
                if method != "-g" || sends_directly(&lab, way)? {
                    judge(
                        &format!("{method} to {vip}"),
                        associations(&lab, &lab.client, any(to), to, method),
                    )?;
                }
                let from = SocketAddr::new(own.parse()?, 0);
                let result = associations(&lab, &lab.balancer, from, to_own, method);
                judge(&format!("{method} to {vip}, a client on the balancer"), result)?;
            }
        }
        for (vip, own) in [(VIP, OWN), (VIP6, OWN6)] {
            let server = SocketAddr::new(vip.parse()?, LOCAL_PORT);
            judge(&format!("-l to {vip}"), on_the_balancer(&lab, server, server, "-l"))?;
            let (to, server) = (SocketAddr::new(vip.parse()?, 8080), SocketAddr::new(own.parse()?, OWN_PORT));
            let family = if to.is_ipv4() { "" } else { "-6 " };
            lab.balancer.ip(&format!("{family}rule add ipproto sctp sport {OWN_PORT} lookup 100"))?;
            lab.balancer.ip(&format!("{family}route add local default dev lo table 100"))?;
            judge(
                &format!("-m to {vip}, a server on the balancer"),
                on_the_balancer(&lab, to, server, "-m"),
            )?;
        }
        println!("{}", lab.balancer.lb_ctl(["counters"])?);
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// By direct routing XDP has to send by itself, and cannot make a CRC that the sender left open: this client's is whole.
fn sends_directly(lab: &Lab, way: &str) -> Result<bool> {
    if way != "tc" {
        lab.client.run(["ethtool", "-K", "eth0", "tx-checksum-sctp", "off"])?;
    }
    Ok(way == "tc" || way == "XDP" && sent_to_veth()? == "Redirected")
}

fn lab(lb_ctl: &Path, way: &str) -> Result<Lab> {
    let lab = Lab::raise(lb_ctl.into())?;
    lab.client.run(["modprobe", "-a", "sctp", "ipip", "ip6_tunnel"])?;
    for (server, name) in [(&lab.web1, "web1"), (&lab.web2, "web2")] {
        server.addresses("lo", &[&format!("{FOREIGN}/32"), &format!("{FOREIGN6}/128")])?;
        server.ip("-6 tunnel change ip6tnl0 mode any")?;
        for device in ["tunl0", "ip6tnl0"] {
            server.ip(&format!("link set {device} up"))?;
        }
        for device in ["all", "tunl0"] {
            server.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
        }
        for (method, first) in METHODS {
            for (vip, port) in
                [FOREIGN, FOREIGN6].into_iter().flat_map(|vip| [(vip, first), (vip, first + 1)])
            {
                // By NAT it answers in the balancer's name whatever it is bound to. Else one that is bound to any
                // address may answer from another one than the service's, and the client breaks off.
                let vip = SocketAddr::new(vip.parse()?, port);
                serve(server, name, if method.starts_with("-m") { any(vip) } else { vip })?;
            }
        }
    }
    let features = lab.client.run(["ethtool", "-k", "eth0"])?;
    ensure!(features.contains("tx-checksum-sctp: on"), "the client makes the CRC itself: {features}");
    if way == "XDP" {
        for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
            namespace.run(["ethtool", "-K", device, "gro", "on"])?;
        }
    }
    let balancer = &lab.balancer;
    balancer.ip(&format!("route add {FOREIGN} dev lo src {OWN}"))?;
    balancer.ip(&format!("-6 route add local {FOREIGN6} dev lo src {OWN6}"))?;
    balancer.addresses("inside", &["192.168.33.200/24", "fd00:33::200/64"])?;
    let hook = if way == "tc" { "tc" } else { "auto" };
    balancer.lb_ctl(["load", "outside", "inside", "lo", "--hook", hook])?;
    balancer.lb_ctl(["snat-pool", "add", "192.168.33.200", "fd00:33::200"])?;
    Ok(lab)
}

fn associations(lab: &Lab, client: &Namespace, from: SocketAddr, to: SocketAddr, method: &str) -> Result<()> {
    let ctl = |words: &str| lab.balancer.lb_ctl(words.split_whitespace());
    let (network, end) = if to.is_ipv4() { ("192.168.33.", "") } else { ("[fd00:33::", "]") };
    let service = format!("--sctp-service {to}");
    let (method, full) = method.split_once(' ').unwrap_or((method, ""));
    ctl(&format!("service add {service} -s rr {full}"))?;
    for server in [111, 112] {
        ctl(&format!("backend add {service} -r {network}{server}{end} {method}"))?;
    }
    for number in 0..2 {
        let mut stream = open(client, from, to).with_context(|| format!("association {number}"))?;
        let expected = if number % 2 == 0 { "web2" } else { "web1" };
        ensure!(receive(&mut stream)? == expected, "association {number}");
        stream.write_all(b"x")?;
        ensure!(receive(&mut stream)? == format!("{expected}:x"), "the answer of {expected}");
    }
    let kept = open(client, from, to)?;
    sleep(Duration::from_millis(500));
    let rows = lab.balancer.connections()?.into_iter();
    let ours = rows.filter(|row| row.service == to.to_string());
    let mut states: Vec<_> = ours.map(|row| row.state).collect();
    states.sort();
    let expected = ["CLOSED", "CLOSED", "ESTABLISHED"];
    ensure!(states == expected, "{states:?}");
    let list = ctl("list -n")?;
    let rows: Vec<Vec<_>> = list
        .lines()
        .filter(|line| line.starts_with("  -> ") && line.contains(network))
        .map(|line| line.split_whitespace().skip(4).collect())
        .collect();
    ensure!(rows == [["0", "1"], ["1", "1"]], "{list}");
    drop(kept);
    Ok(())
}

/// A server on the balancer. At another port than the service's it takes a rule that brings its packets to the loopback.
fn on_the_balancer(lab: &Lab, to: SocketAddr, server: SocketAddr, method: &str) -> Result<()> {
    serve(&lab.balancer, "balancer", server)?;
    let ctl = |words: String| lab.balancer.lb_ctl(words.split_whitespace());
    ctl(format!("service add --sctp-service {to}"))?;
    ctl(format!("backend add --sctp-service {to} -r {server} {method}"))?;
    for _ in 0..2 {
        let mut stream = open(&lab.client, any(to), to)?;
        ensure!(receive(&mut stream)? == "balancer", "its name");
        stream.write_all(b"x")?;
        ensure!(receive(&mut stream)? == "balancer:x", "its answer");
    }
    Ok(())
}

/// Any address of the family, and the same port.
fn any(of: SocketAddr) -> SocketAddr {
    let address = match of {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, of.port())
}

fn open(client: &Namespace, from: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    client.inside(|| -> Result<TcpStream> {
        let socket = association(from)?;
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&socket, direction, Some(Duration::from_secs(10)))?;
        }
        bind(&socket, &SocketAddr::new(from.ip(), 0))?;
        connect(&socket, &to).context("connecting")?;
        Ok(TcpStream::from(socket))
    })?
}

fn association(address: SocketAddr) -> Result<OwnedFd> {
    let number = RawProtocol::new(132).context("a number")?;
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket(family, SocketType::STREAM, Some(Protocol::from_raw(number)))?)
}

fn receive(stream: &mut TcpStream) -> Result<String> {
    let mut data = [0; 100];
    let length = stream.read(&mut data)?;
    Ok(String::from_utf8_lossy(&data[..length]).into_owned())
}

/// Says its name, then echoes. Its thread ends with the machine.
fn serve(namespace: &Namespace, name: &str, address: SocketAddr) -> Result<()> {
    let listener = namespace.inside(|| -> Result<OwnedFd> {
        let listener = association(address)?;
        if address.is_ipv6() {
            // A server of IPv4 has the same port.
            set_ipv6_v6only(&listener, true)?;
        }
        bind(&listener, &address)?;
        listen(&listener, 16)?;
        Ok(listener)
    })??;
    let name = name.to_owned();
    spawn(move || {
        while let Ok(client) = accept(&listener) {
            let (mut client, name) = (TcpStream::from(client), name.clone());
            spawn(move || {
                let mut data = [0; 100];
                let mut sent = client.write_all(name.as_bytes());
                while sent.is_ok()
                    && let Ok(length @ 1..) = client.read(&mut data)
                {
                    sent = client.write_all(&[name.as_bytes(), b":", &data[..length]].concat());
                }
            });
        }
    });
    Ok(())
}
