//! Full NAT with real clients and servers: nobody but the balancer knows a way to the clients.

mod through;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    num::NonZero,
};

use anyhow::{Context, Result, ensure};
use etherparse::{SlicedPacket, TransportSlice};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with},
};
use through::{PATIENCE, Path, assert_counted, counters, ctl, curl, eventually, loaded, service};
use xtask::lab::{Lab, Namespace, UdpEcho, VIP, VIP6, udp};

const PATHS: [Path; 3] = [Path::Kernel, Path::Redirect, Path::Tc];

/// The classic lab, its servers without gateways, and a pool.
fn without_gateways(path: Path) -> Result<Lab> {
    let lab = loaded(path, 1500)?;
    for server in [&lab.web1, &lab.web2] {
        server.ip("route del default")?;
        server.ip("-6 route del default")?;
    }
    lab.balancer.addresses("inside", &["192.168.33.200/24", "fd00:33::200/64"])?;
    ctl(&lab.balancer, "snat-pool add 192.168.33.200 fd00:33::200")?;
    Ok(lab)
}

/// The same as [`service`], by full NAT.
fn full_nat(lab: &Lab, protocol: &str, port: u16, servers: u16) -> Result<()> {
    service(&lab.balancer, protocol, port, servers)?;
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        ctl(&lab.balancer, &format!("service edit {protocol} {vip}:{port} --fullnat"))?;
    }
    Ok(())
}

fn assert_turns(client: &Namespace) -> Result<()> {
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        for number in 0..6 {
            let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
            let answer = curl(client, &format!("http://{vip}"))?;
            ensure!(answer == expected, "request {number} to {vip} of {}: {answer}", client.name());
        }
    }
    Ok(())
}

#[test]
fn servers_without_a_gateway_are_reached() -> Result<()> {
    for path in PATHS {
        let lab = without_gateways(path)?;
        service(&lab.balancer, "-t", 443, 2)?;
        let answer = lab.client.output(["curl", "-sSk", "--max-time", "2", &format!("https://{VIP}")])?;
        ensure!(!answer.status.success(), "by plain NAT no answer comes back: {answer:?}");
        full_nat(&lab, "-t", 80, 2)?;
        assert_turns(&lab.client)?;
        let list = ctl(&lab.balancer, "list -n")?;
        ensure!(list.matches("Masq    1      0          3").count() == 4, "{list}");
        let pool = ctl(&lab.balancer, "snat-pool list")?;
        let connections = ctl(&lab.balancer, "list --connections --json")?;
        ensure!(
            connections.matches("\"source\":\"192.168.33.200\",\"source_port\":").count() == 6,
            "{connections}"
        );
        ensure!(pool.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("6")), "{pool}");
    }
    Ok(())
}

#[test]
fn clients_in_the_servers_network_and_the_servers_themselves_are_served() -> Result<()> {
    for path in PATHS {
        let lab = without_gateways(path)?;
        full_nat(&lab, "-t", 80, 2)?;
        let neighbour = lab.site.namespace("neighbour")?;
        neighbour.connect("eth0", &lab.switch, "neighbour")?;
        lab.switch.ip("link set neighbour master br0")?;
        neighbour.addresses("eth0", &["192.168.33.50/24", "fd00:33::50/64"])?;
        for client in [&neighbour, &lab.web1, &lab.web2] {
            client.ip(&format!("route add {VIP}/32 via 192.168.33.100"))?;
            client.ip(&format!("route add {VIP6}/128 via fd00:33::100"))?;
            assert_turns(client).with_context(|| format!("{path:?} {:?}", counters(&lab.balancer)))?;
        }
    }
    Ok(())
}

#[test]
fn datagrams_come_back_in_pieces_too() -> Result<()> {
    for path in PATHS {
        let lab = without_gateways(path)?;
        let _servers = [UdpEcho::start(&lab.web1, 7000)?, UdpEcho::start(&lab.web2, 7000)?];
        full_nat(&lab, "-u", 7000, 2)?;
        for destination in [format!("{VIP}:7000"), format!("[{VIP6}]:7000")] {
            for length in [100, 4000] {
                let socket = udp(&lab.client, &destination)?;
                let sent: Vec<u8> = (0..length).map(|byte: u32| byte as u8).collect();
                socket.send(&sent)?;
                let mut received = [0; 5000];
                let count = socket.recv(&mut received).with_context(|| format!("{path:?} {destination}"))?;
                ensure!(received[..count] == sent, "{path:?} {destination}: {count} bytes that differ");
            }
        }
    }
    Ok(())
}

#[test]
fn a_closed_port_of_the_server_is_refused_in_the_services_name() -> Result<()> {
    for path in PATHS {
        let lab = without_gateways(path)?;
        full_nat(&lab, "-u", 9, 1)?;
        for destination in [format!("{VIP}:9"), format!("[{VIP6}]:9")] {
            // ICMP errors are limited, and may be lost.
            eventually(|| {
                let socket = udp(&lab.client, &destination)?;
                socket.set_read_timeout(Some(PATIENCE / 5))?;
                socket.send(b"anyone?")?;
                let error = socket.recv(&mut [0; 10]).err().context("an answer")?;
                ensure!(
                    error.kind() == std::io::ErrorKind::ConnectionRefused,
                    "{path:?} {destination}: {error}"
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_server_learns_the_smaller_mtu_of_the_clients_link() -> Result<()> {
    for path in PATHS {
        let lab = without_gateways(path)?;
        full_nat(&lab, "-t", 80, 1)?;
        lab.balancer.ip("link set outside mtu 1400")?;
        lab.web1.run(["ethtool", "-K", "eth0", "tso", "off", "gso", "off"])?;
        let files = lab.site.directory().join(format!("nginx-{}/files", lab.web1.name()));
        std::fs::create_dir_all(&files)?;
        std::fs::write(files.join("large"), vec![b'x'; 1_000_000])?;
        for (vip, seen) in [(VIP.to_owned(), "192.168.33.200"), (format!("[{VIP6}]"), "fd00:33::200")] {
            let down = curl(&lab.client, &format!("http://{vip}/files/large"))?;
            ensure!(down.len() == 1_000_000, "{path:?} {vip}: {} bytes came", down.len());
            let route = lab.web1.ip(&format!("route get {seen}"))?;
            ensure!(route.contains("mtu 1400"), "{path:?} {seen}: {route}");
        }
    }
    Ok(())
}

#[test]
fn datagrams_at_speed_arrive() -> Result<()> {
    let lab = without_gateways(Path::Redirect)?;
    full_nat(&lab, "-t", 5201, 1)?;
    full_nat(&lab, "-u", 5201, 1)?;
    let _server = lab.web1.spawn(["iperf3", "-s"])?;
    eventually(|| lab.web1.run(["iperf3", "-c", "127.0.0.1", "-n", "1K"]))?;
    for (vip, direction) in [(VIP, &[][..]), (VIP, &["-R"]), (VIP6, &[])] {
        let command = [
            "iperf3",
            "-c",
            vip,
            "-J",
            "--connect-timeout",
            "10000",
            "-u",
            "-b",
            "20M",
            "-l",
            "1200",
            "-t",
            "1",
        ];
        let report = lab.client.run(command.iter().chain(direction)).context("UDP")?;
        let lost = report.rsplit_once("\"lost_percent\":").context("no loss reported")?.1;
        let lost: f64 = lost.split([',', '}', '\n']).next().unwrap_or_default().trim().parse()?;
        ensure!(lost < 30.0, "{lost} % of the datagrams were lost {vip} {direction:?}");
    }
    assert_counted(&lab.balancer, "Redirected", 3_000)
}

/// Every packet on the wire of a namespace.
fn tap(namespace: &Namespace) -> Result<OwnedFd> {
    const ALL: NonZero<u32> = NonZero::new(0x0003_u16.to_be() as u32).unwrap();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let protocol = Some(Protocol::from_raw(ALL));
    Ok(namespace.inside(|| socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol))??)
}

/// Of the packets to port 80 that have come: whether each names a client, and which.
fn named(tap: &OwnedFd) -> Vec<Option<SocketAddr>> {
    let mut frame = [0; 2048];
    let mut named = Vec::new();
    while let Ok((length, _)) = recv(tap, &mut frame[..], RecvFlags::empty()) {
        let Ok(packet) = SlicedPacket::from_ethernet(&frame[..length]) else { continue };
        if let Some(TransportSlice::Tcp(tcp)) = packet.transport
            && tcp.destination_port() == 80
        {
            if tcp.syn() {
                // What came before it is another connection's.
                named.clear();
            }
            // As the readers called TOA take it: kind, length, port, address.
            named.push(match *tcp.options() {
                [254, 8, p, q, a, b, c, d, ..] => {
                    Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))))
                }
                [254, 20, p, q, ref address @ ..] => {
                    let address: Option<&[u8; 16]> = address.first_chunk();
                    address.map(|&address| SocketAddr::from((address, u16::from_be_bytes([p, q]))))
                }
                _ => None,
            });
        }
    }
    named
}

#[test]
fn the_server_is_told_who_the_client_is_until_it_answers() -> Result<()> {
    let lab = without_gateways(Path::Redirect)?;
    full_nat(&lab, "-t", 80, 1)?;
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        ctl(&lab.balancer, &format!("service edit -t {vip}:80 --toa"))?;
    }
    for (vip, host) in [(format!("{VIP}:80"), "192.168.2.200"), (format!("[{VIP6}]:80"), "[fd00:2::200]")] {
        curl(&lab.client, &format!("http://{host}"))?;
        let tap = tap(&lab.web1)?;
        let mut stream = lab.client.inside(|| TcpStream::connect(&vip))??;
        let client = stream.local_addr()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let length = stream.read(&mut [0; 4096])?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        ensure!(length > 0, "an answer");
        let named = named(&tap);
        // SYN; the acknowledgement and the request; what follows the answer.
        ensure!(
            named.len() >= 5 && named[..3] == [None, Some(client), Some(client)],
            "{vip} {client}: {named:?}"
        );
        ensure!(named[3..].iter().all(Option::is_none), "{vip}: {named:?}");
    }
    Ok(())
}

#[test]
fn an_address_that_is_removed_serves_its_connections_to_their_end() -> Result<()> {
    let lab = without_gateways(Path::Redirect)?;
    let _server = UdpEcho::start(&lab.web1, 7000)?;
    full_nat(&lab, "-u", 7000, 1)?;
    let ask = |socket: &std::net::UdpSocket| -> Result<()> {
        socket.send(b"are you there?")?;
        ensure!(socket.recv(&mut [0; 100]).context("an answer")? == 14);
        Ok(())
    };
    let old = udp(&lab.client, &format!("{VIP}:7000"))?;
    ask(&old)?;
    ctl(&lab.balancer, "snat-pool del 192.168.33.200")?;
    ask(&old)?;
    let pool = ctl(&lab.balancer, "snat-pool list")?;
    ensure!(pool.contains("inside, removed"), "{pool}");
    let new = udp(&lab.client, &format!("{VIP}:7000"))?;
    new.set_read_timeout(Some(PATIENCE / 10))?;
    ensure!(ask(&new).is_err());
    assert_counted(&lab.balancer, "PoolEmpty", 1)?;
    lab.balancer.addresses("inside", &["192.168.33.201/24"])?;
    ctl(&lab.balancer, "snat-pool add 192.168.33.201")?;
    new.set_read_timeout(Some(PATIENCE))?;
    ask(&new)?;
    ask(&old)
}
