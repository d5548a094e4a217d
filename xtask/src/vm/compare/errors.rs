//! ICMP errors about packets that belong to no connection, as two sysctls have them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use super::{
    Script,
    side::{SERVER_PORT, Side, vip},
    transcript::Transcript,
};
use crate::lab::Namespace;

/// One script for each sysctl.
pub fn scripts() -> Vec<Script> {
    vec![
        Script::new("errors: nat_icmp_send", nat_icmp_send),
        Script::new("errors: schedule_icmp", schedule_icmp),
    ]
}

/// The client and the first server.
fn hosts(version: u8) -> (IpAddr, IpAddr) {
    match version {
        4 => (Ipv4Addr::new(192, 168, 2, 10).into(), Ipv4Addr::new(192, 168, 33, 111).into()),
        _ => (
            Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x10).into(),
            Ipv6Addr::new(0xfd00, 0x33, 0, 0, 0, 0, 0, 0x111).into(),
        ),
    }
}

/// How long an answer and the answer to that may take.
const FLIGHTS: Duration = Duration::from_millis(500);

fn nat_icmp_send(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let (client, server) = hosts(4);
    let client = SocketAddr::new(client, side.next_client_ports(1));
    for value in [0, 1, 0] {
        side.sysctl("nat_icmp_send", value)?;
        for (what, port, flags) in [
            ("from where the server answers", SERVER_PORT, Flags::Ack),
            ("a SYN from there", SERVER_PORT, Flags::Syn),
            ("a RST from there", SERVER_PORT, Flags::Rst),
            ("from another port", SERVER_PORT + 1, Flags::Ack),
        ] {
            let wire = side.wire_of_server()?;
            send(&side.lab.web1, client.ip(), &tcp(SocketAddr::new(server, port), client, flags)?)?;
            sleep(FLIGHTS);
            transcript.say(format!("nat_icmp_send {value}, {what}"));
            transcript.say(wire.seen()?);
        }
    }
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

/// What an error is about: family, protocol, and how the service's packets reach the server.
/// Not `-g`: before Linux 6.3 nobody tells which veth XDP can send by, and the kernel routes nothing directly.
const ABOUT: [(u8, &str, &str); 6] = [
    (4, "TCP", "-m"),
    (4, "UDP", "-m"),
    (6, "TCP", "-m"),
    (6, "UDP", "-m"),
    (4, "TCP", "-i"),
    (4, "UDP", "-i"),
];

fn schedule_icmp(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let mut services = Vec::new();
    for (version, protocol, method) in ABOUT {
        let service = SocketAddr::new(vip(version)?, side.next_port());
        let selector = if protocol == "TCP" { "-t" } else { "-u" };
        let server = SocketAddr::new(hosts(version).1, SERVER_PORT);
        side.set(&format!("-A {selector} {service} -s rr"))?;
        side.set(&format!("-a {selector} {service} -r {server} {method}"))?;
        services.push((version, service, protocol, method));
    }
    let other = side.next_port();
    for value in [0, 1] {
        side.sysctl("schedule_icmp", value)?;
        for &(version, service, protocol, method) in &services {
            let client = hosts(version).0;
            for (what, port) in [("of the service", service.port()), ("of no service", other)] {
                let client = SocketAddr::new(client, side.next_client_ports(1));
                let service = SocketAddr::new(service.ip(), port);
                let about = match protocol {
                    "TCP" => tcp(service, client, Flags::Ack)?,
                    _ => udp(service, client)?,
                };
                let wire = side.wire_of_server()?;
                send(&side.lab.client, service.ip(), &unreachable(service, client, &about)?)?;
                transcript
                    .say(format!("schedule_icmp {value}, about {protocol} {what}, IPv{version}, {method}"));
                sleep(FLIGHTS);
                transcript.say(wire.seen()?);
            }
        }
    }
    // They are listed for three seconds, which may be less than the list takes.
    sleep(Duration::from_secs(8));
    transcript.say(side.admin("-Ln")?);
    transcript.say(side.admin("-Ln --stats")?);
    side.sysctl("schedule_icmp", 0)?;
    side.set("-C")
}

/// Host unreachable, as the client's router says it of a packet from the service.
fn unreachable(service: SocketAddr, client: SocketAddr, about: &[u8]) -> Result<Vec<u8>> {
    let (ip, mut error) = (ip(client.ip(), service.ip())?, Vec::new());
    match service {
        SocketAddr::V4(_) => ip.icmpv4_raw(3, 1, [0; 4]).write(&mut error, about)?,
        SocketAddr::V6(_) => ip.icmpv6_raw(1, 3, [0; 4]).write(&mut error, about)?,
    }
    Ok(error)
}

#[derive(Clone, Copy)]
enum Flags {
    Ack,
    Syn,
    Rst,
}

/// A segment without data.
fn tcp(from: SocketAddr, to: SocketAddr, flags: Flags) -> Result<Vec<u8>> {
    let segment = ip(from.ip(), to.ip())?.tcp(from.port(), to.port(), 1, 1024);
    let segment = match flags {
        Flags::Ack => segment.ack(1),
        Flags::Syn => segment.syn(),
        Flags::Rst => segment.rst(),
    };
    let mut bytes = Vec::new();
    segment.write(&mut bytes, &[])?;
    Ok(bytes)
}

fn udp(from: SocketAddr, to: SocketAddr) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ip(from.ip(), to.ip())?.udp(from.port(), to.port()).write(&mut bytes, b"a")?;
    Ok(bytes)
}

fn ip(from: IpAddr, to: IpAddr) -> Result<PacketBuilderStep<IpHeaders>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ok(PacketBuilder::ipv4(from.octets(), to.octets(), 64)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ok(PacketBuilder::ipv6(from.octets(), to.octets(), 64)),
        _ => bail!("from {from} to {to}: two families"),
    }
}

/// Sends a whole packet from a namespace.
pub fn send(namespace: &Namespace, to: IpAddr, packet: &[u8]) -> Result<()> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = namespace
        .inside(|| socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW)))?
        .context("a raw socket")?;
    sendto(&socket, packet, SendFlags::empty(), &SocketAddr::new(to, 0))?;
    Ok(())
}
