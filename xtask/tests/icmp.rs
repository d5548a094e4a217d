//! Ping, traceroute and path MTU discovery through the balancer, as with IPVS.

mod through;

use std::{
    fs,
    io::ErrorKind,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use through::{PATIENCE, Path, loaded, service};
use xtask::lab::{Conversation, Lab, Namespace, UdpEcho, VIP, VIP6, udp};

#[test]
fn the_host_answers_ping_to_the_service_address() -> Result<()> {
    let lab = loaded(Path::Kernel, 1500)?;
    service(&lab.balancer, "-t", 80, 2)?;
    for destination in [VIP, VIP6, "192.168.33.111", "fd00:33::112"] {
        lab.client.run(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "5", destination])?;
    }
    assert!(through::counters(&lab.balancer)?.contains_key("IcmpToHost"));
    Ok(())
}

#[test]
fn traceroute_shows_the_service_as_the_balancer_and_as_the_server() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        let _server = UdpEcho::start(&lab.web1, 8080)?;
        service(&lab.balancer, "-t", 80, 2)?;
        service(&lab.balancer, "-u", 8080, 1)?;
        // A closed port: the server's ICMP error ends the trace.
        service(&lab.balancer, "-u", 9, 1)?;
        for destination in [VIP, VIP6] {
            for [protocol, port] in [["-T", "80"], ["-U", "8080"], ["-U", "9"]] {
                let trace = ["-n", protocol, "-p", port, "-q", "1", "-m", "4", "-w", "3", destination];
                let trace = lab.client.run(["traceroute"].iter().chain(&trace))?;
                let hops: Vec<_> =
                    trace.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap_or("")).collect();
                ensure!(hops == [destination, destination], "{path:?} {protocol} {port}: {trace}");
            }
        }
    }
    Ok(())
}

const LENGTH: usize = 1_000_000;

/// Where the first server's nginx looks for files.
fn files(lab: &Lab) -> Result<PathBuf> {
    let files = lab.site.directory().join(format!("nginx-{}", lab.web1.name())).join("files");
    fs::create_dir_all(&files)?;
    fs::write(files.join("large"), vec![b'x'; LENGTH])?;
    Ok(files)
}

/// The path MTU that a namespace has learned for a destination.
fn assert_learned(namespace: &Namespace, destination: &str, mtu: u32) -> Result<()> {
    let route = namespace.ip(&format!("route get {destination}"))?;
    ensure!(route.contains(&format!("mtu {mtu}")), "{} to {destination}: {route}", namespace.name());
    Ok(())
}

#[test]
fn a_client_learns_the_smaller_mtu_of_the_servers_link() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        service(&lab.balancer, "-t", 80, 1)?;
        // The servers keep 1500, so that their segment size does not give it away.
        lab.balancer.ip("link set inside mtu 1400")?;
        // As a client whose device does not segment: its packets on the wire are what it sends.
        lab.client.run(["ethtool", "-K", "eth0", "tso", "off", "gso", "off"])?;
        let form = format!("@{}", files(&lab)?.join("large").display());
        for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
            let url = format!("http://{vip}/");
            let command = ["curl", "-sSf", "--max-time", "20", "-H", "Expect:", "--data-binary", &form, &url];
            ensure!(lab.client.run(command)? == "Web1 called.\n", "{path:?} {vip}: upload");
            assert_learned(&lab.client, vip.trim_matches(['[', ']']), 1400)?;
        }
    }
    Ok(())
}

#[test]
fn a_server_learns_the_smaller_mtu_of_the_clients_link() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        service(&lab.balancer, "-t", 80, 1)?;
        lab.balancer.ip("link set outside mtu 1400")?;
        lab.web1.run(["ethtool", "-K", "eth0", "tso", "off", "gso", "off"])?;
        files(&lab)?;
        for (vip, client) in [(VIP.to_owned(), "192.168.2.10"), (format!("[{VIP6}]"), "fd00:2::10")] {
            let down = through::curl(&lab.client, &format!("http://{vip}/files/large"))?;
            ensure!(down.len() == LENGTH, "{path:?} {vip}: {} bytes came", down.len());
            assert_learned(&lab.web1, client, 1400)?;
        }
    }
    Ok(())
}

#[test]
fn a_client_of_a_server_that_is_gone_is_told_so() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        service(&lab.balancer, "-t", 80, 1)?;
        lab.web1.ip("link set eth0 down")?;
        lab.balancer.ip("neigh flush dev inside")?;
        for (from, vip) in [("0.0.0.0", VIP), ("::", VIP6)] {
            let (from, to): (IpAddr, IpAddr) = (from.parse()?, vip.parse()?);
            let began = Instant::now();
            let Err(error) = Conversation::open(&lab.client, (from, 0), (to, 80), PATIENCE)? else {
                bail!("{path:?} {vip}: somebody answered")
            };
            let took = began.elapsed();
            ensure!(error.kind() == ErrorKind::HostUnreachable, "{path:?} {vip}: {error} after {took:?}");
            ensure!(took > Duration::from_secs(2), "{path:?} {vip}: told after {took:?}");
        }
        // The client that is told need not be the one whose packet makes the kernel ask again.
        lab.web1.ip("link set eth0 up")?;
        lab.web1.gateways(&["192.168.33.100"])?;
        through::eventually(|| {
            let answer = through::curl(&lab.client, &format!("http://{VIP}"))?;
            ensure!(answer == "Web1 called.\n", "{path:?}: {answer}");
            Ok(())
        })?;
        let counters = through::counters(&lab.balancer)?;
        let told = ["AnsweredHostUnreachable", "AnsweredKernel"].map(|name| counters.contains_key(name));
        ensure!(told == [path != Path::Kernel, path == Path::Kernel], "{path:?}: {counters:?}");
    }
    Ok(())
}

#[test]
fn an_mtu_error_from_a_router_behind_the_balancer_reaches_its_client() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        // The server moves behind web2.
        let far = narrow(&lab, 1300)?;
        let _server = UdpEcho::start(&far, 7000)?;
        for (vip, server) in [(VIP.to_owned(), "192.168.44.1"), (format!("[{VIP6}]"), "[fd00:44::1]")] {
            through::ctl(&lab.balancer, &format!("service add -u {vip}:7000 -s rr"))?;
            through::ctl(&lab.balancer, &format!("backend add -u {vip}:7000 -r {server}:7000 -m"))?;
            // The first is too long and is lost; the kernel fragments those after it.
            through::eventually(|| {
                let socket = udp(&lab.client, &format!("{vip}:7000"))?;
                socket.set_read_timeout(Some(PATIENCE / 10))?;
                socket.send(&[7; 1400])?;
                ensure!(socket.recv(&mut [0; 1500])? == 1400, "a datagram cut short");
                Ok(())
            })?;
            let vip = vip.trim_matches(['[', ']']);
            assert_learned(&lab.client, vip, 1300)?;
        }
        assert!(through::counters(&lab.balancer)?.keys().any(|reason| reason.starts_with("IcmpError")));
    }
    Ok(())
}

#[test]
fn an_mtu_error_about_a_tunnels_packet_reaches_the_client() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        narrow(&lab, 1400)?;
        for (kind, between) in [("ipip", 0), ("gue --tun-port 6080", 12), ("gre --tun-csum", 8)] {
            for (vip, server, outer) in
                [(VIP.to_owned(), "192.168.44.1", 20), (format!("[{VIP6}]"), "[fd00:44::1]", 40)]
            {
                through::ctl(&lab.balancer, &format!("service add -u {vip}:7000 -s rr"))?;
                let backend = format!("backend add -u {vip}:7000 -r {server} -i --tun-type {kind}");
                through::ctl(&lab.balancer, &backend)?;
                // Nobody unwraps it: it does not come through.
                let socket = udp(&lab.client, &format!("{vip}:7000"))?;
                through::eventually(|| {
                    let _ = socket.send(&[7; 1380]);
                    assert_learned(&lab.client, vip.trim_matches(['[', ']']), 1400 - outer - between)
                })
                .with_context(|| format!("{path:?}, {kind}: {:?}", through::counters(&lab.balancer)))?;
                lab.client.ip("route flush cache")?;
                lab.client.ip("-6 route flush cache")?;
                through::ctl(&lab.balancer, "clear")?;
            }
        }
        through::assert_counted(&lab.balancer, "IcmpErrorKernel", 6)?;
    }
    Ok(())
}

/// A host behind `web2`, which routes to it over a link of that MTU: 192.168.44.1 and fd00:44::1.
fn narrow(lab: &Lab, mtu: u32) -> Result<Namespace> {
    lab.web2.forward()?;
    let far = lab.site.namespace("far")?;
    far.connect("eth0", &lab.web2, "far")?;
    for (namespace, device) in [(&far, "eth0"), (&lab.web2, "far")] {
        namespace.ip(&format!("link set {device} mtu {mtu}"))?;
    }
    far.addresses("eth0", &["192.168.44.1/24", "fd00:44::1/64"])?;
    lab.web2.addresses("far", &["192.168.44.2/24", "fd00:44::2/64"])?;
    far.gateways(&["192.168.44.2", "fd00:44::2"])?;
    lab.balancer.ip("route add 192.168.44.0/24 via 192.168.33.112")?;
    lab.balancer.ip("route add fd00:44::/64 via fd00:33::112")?;
    Ok(far)
}
