//! ICMP errors about packets that belong to no connection, as two sysctls have them.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use super::{
    Script,
    side::{SERVER_PORT, Side},
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

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 200);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 33, 111);
/// How long an answer and the answer to that may take.
const FLIGHTS: Duration = Duration::from_millis(500);

fn nat_icmp_send(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let client = (CLIENT, side.next_client_ports(1));
    for value in [0, 1, 0] {
        side.sysctl("nat_icmp_send", value)?;
        for (what, port, flags) in [
            ("from where the server answers", SERVER_PORT, Flags::Ack),
            ("a SYN from there", SERVER_PORT, Flags::Syn),
            ("a RST from there", SERVER_PORT, Flags::Rst),
            ("from another port", SERVER_PORT + 1, Flags::Ack),
        ] {
            let wire = side.wire_of_server()?;
            send(&side.lab.web1, client.0, &tcp((SERVER, port), client, flags)?)?;
            sleep(FLIGHTS);
            transcript.say(format!("nat_icmp_send {value}, {what}"));
            transcript.say(wire.seen()?);
        }
    }
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn schedule_icmp(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    for value in [0, 1] {
        side.sysctl("schedule_icmp", value)?;
        for (what, port) in [("of the service", service.port), ("of no service", side.next_port())] {
            let client = (CLIENT, side.next_client_ports(1));
            let about = tcp((VIP, port), client, Flags::Ack)?;
            let wire = side.wire_of_server()?;
            let mut error = Vec::new();
            // Host unreachable, as the client's router says it.
            PacketBuilder::ipv4(CLIENT.octets(), VIP.octets(), 64)
                .icmpv4_raw(3, 1, [0; 4])
                .write(&mut error, &about)?;
            send(&side.lab.client, VIP, &error)?;
            transcript.say(format!("schedule_icmp {value}, about a connection {what}"));
            sleep(FLIGHTS);
            transcript.say(wire.seen()?);
        }
    }
    // It is listed for three seconds, which may be less than the list takes.
    sleep(Duration::from_secs(8));
    transcript.say(side.lists(&service)?);
    side.sysctl("schedule_icmp", 0)?;
    side.set("-C")
}

#[derive(Clone, Copy)]
enum Flags {
    Ack,
    Syn,
    Rst,
}

/// A segment without data.
fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: Flags) -> Result<Vec<u8>> {
    let segment = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64).tcp(from.1, to.1, 1, 1024);
    let segment = match flags {
        Flags::Ack => segment.ack(1),
        Flags::Syn => segment.syn(),
        Flags::Rst => segment.rst(),
    };
    let mut bytes = Vec::new();
    segment.write(&mut bytes, &[])?;
    Ok(bytes)
}

/// Sends a whole packet from a namespace.
pub fn send(namespace: &Namespace, to: Ipv4Addr, packet: &[u8]) -> Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = namespace
        .inside(|| socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::RAW)))?
        .context("a raw socket")?;
    sendto(&socket, packet, SendFlags::empty(), &SocketAddrV4::new(to, 0))?;
    Ok(())
}
