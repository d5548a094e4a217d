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
    sockopt::{Timeout, set_socket_timeout},
};

use crate::lab::{Lab, Namespace, VIP, VIP6};

/// One for each way, so that connections are not counted for others.
const PORTS: [u16; 4] = [8080, 8081, 8082, 8083];
/// Where the balancer's own server listens.
const OWN: u16 = 9000;

/// Where associations are opened, and under which address, `UNSPECIFIED` for any.
type Client<'a> = (&'a Namespace, IpAddr);

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// By the kernel's path, by XDP's where there is one, and by tc; by NAT, by direct routing's table of states in a tunnel;
/// with clients and servers on the balancer, and over IPv6, too. All senders leave the CRC open.
pub fn run(lb_ctl: &Path) -> Result<()> {
    for way in ["the kernel", "XDP", "tc"] {
        let lab = Lab::raise(lb_ctl.into())?;
        lab.client.run(["modprobe", "-a", "sctp", "ipip"])?;
        for (server, name) in [(&lab.web1, "web1"), (&lab.web2, "web2")] {
            for port in PORTS {
                // Takes IPv4 as well.
                serve(server, name, ANY6, port)?;
            }
            server.addresses("lo", &[&format!("{VIP}/32")])?;
            server.ip("link set tunl0 up")?;
            for device in ["all", "tunl0"] {
                server.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
            }
        }
        if way == "XDP" {
            for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
                namespace.run(["ethtool", "-K", device, "gro", "on"])?;
            }
        }
        let features = lab.client.run(["ethtool", "-k", "eth0"])?;
        ensure!(features.contains("tx-checksum-sctp: on"), "the client makes the CRC itself: {features}");
        let hook = if way == "tc" { "tc" } else { "auto" };
        lab.balancer.lb_ctl(["load", "outside", "inside", "lo", "--hook", hook])?;
        for ((method, any), port) in [("-m", ANY), ("-i", ANY), ("-m", ANY6)].into_iter().zip(PORTS) {
            let what = format!("SCTP {method} from {any}, by {way}");
            associations(&lab, (&lab.client, any), method, port).with_context(|| what.clone())?;
            println!("{what}: works");
        }
        // The servers have the service's address too, as tunnels want it, and would answer themselves.
        let own = (&lab.balancer, "192.168.33.100".parse()?);
        associations(&lab, own, "-m", PORTS[3]).context("a client on the balancer")?;
        println!("SCTP -m, a client on the balancer, {way}: works");
        on_the_balancer(&lab).context("a server on the balancer")?;
        println!("SCTP -m, a server on the balancer, {way}: works");
        println!("{}", lab.balancer.lb_ctl(["counters"])?);
    }
    Ok(())
}

fn associations(lab: &Lab, client: Client<'_>, method: &str, port: u16) -> Result<()> {
    let ctl = |words: &str| lab.balancer.lb_ctl(words.split_whitespace());
    let (vip, network, end) = match client.1 {
        IpAddr::V4(_) => (VIP.to_owned(), "192.168.33.", ""),
        IpAddr::V6(_) => (format!("[{VIP6}]"), "[fd00:33::", "]"),
    };
    let service = format!("--sctp-service {vip}:{port}");
    ctl(&format!("service add {service} -s rr"))?;
    for server in [111, 112] {
        ctl(&format!("backend add {service} -r {network}{server}{end} {method}"))?;
    }
    for number in 0..4 {
        let mut stream = open(client, port)?;
        let expected = if number % 2 == 0 { "web2" } else { "web1" };
        ensure!(receive(&mut stream)? == expected, "association {number}");
        stream.write_all(b"x")?;
        ensure!(receive(&mut stream)? == format!("{expected}:x"), "the answer of {expected}");
    }
    let kept = open(client, port)?;
    sleep(Duration::from_millis(500));
    let rows = lab.balancer.connections()?.into_iter();
    let ours = rows.filter(|row| row.service.ends_with(&format!(":{port}")));
    let mut states: Vec<_> = ours.map(|row| row.state).collect();
    states.sort();
    let expected = ["CLOSED", "CLOSED", "CLOSED", "CLOSED", "ESTABLISHED"];
    ensure!(states == expected, "{states:?}");
    let list = ctl("list -n")?;
    let rows: Vec<Vec<_>> = list
        .lines()
        .filter(|line| line.starts_with("  -> ") && line.contains(network))
        .map(|line| line.split_whitespace().skip(4).collect())
        .collect();
    ensure!(rows == [["0", "2"], ["1", "2"]], "{list}");
    drop(kept);
    ctl("clear").map(drop)
}

/// A server on the balancer, at another port than the service's: a rule brings its packets to the loopback.
fn on_the_balancer(lab: &Lab) -> Result<()> {
    let balancer = &lab.balancer;
    serve(balancer, "balancer", "192.168.33.100".parse()?, OWN)?;
    balancer.ip(&format!("rule add ipproto sctp sport {OWN} lookup 100"))?;
    balancer.ip("route add local default dev lo table 100")?;
    let ctl = |words: String| balancer.lb_ctl(words.split_whitespace());
    ctl(format!("service add --sctp-service {VIP}:{}", PORTS[0]))?;
    ctl(format!("backend add --sctp-service {VIP}:{} -r 192.168.33.100:{OWN} -m", PORTS[0]))?;
    for _ in 0..2 {
        let mut stream = open((&lab.client, ANY), PORTS[0])?;
        ensure!(receive(&mut stream)? == "balancer", "its name");
        stream.write_all(b"x")?;
        ensure!(receive(&mut stream)? == "balancer:x", "its answer");
    }
    ctl("clear".to_owned()).map(drop)
}

fn open((client, address): Client<'_>, port: u16) -> Result<TcpStream> {
    let vip = if address.is_ipv4() { VIP } else { VIP6 };
    client.inside(|| -> Result<TcpStream> {
        let socket = association(address)?;
        for direction in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&socket, direction, Some(Duration::from_secs(10)))?;
        }
        bind(&socket, &SocketAddr::new(address, 0))?;
        connect(&socket, &SocketAddr::new(vip.parse()?, port)).context("connecting")?;
        Ok(TcpStream::from(socket))
    })?
}

fn association(address: IpAddr) -> Result<OwnedFd> {
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
fn serve(namespace: &Namespace, name: &str, address: IpAddr, port: u16) -> Result<()> {
    let listener = namespace.inside(|| -> Result<OwnedFd> {
        let listener = association(address)?;
        bind(&listener, &SocketAddr::new(address, port))?;
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
