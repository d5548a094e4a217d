//! Calls over SIP: which server each gets, and what a server gets that begins one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use etherparse::PacketBuilder;

use super::{
    Script,
    errors::send,
    side::{SERVER_PORT, Service, Side, vip, word},
    transcript::Transcript,
};

/// One script for calls.
pub fn scripts() -> Vec<Script> {
    vec![Script::new("calls: by Call-ID", by_call_id)]
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 33, 111);

fn by_call_id(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = Service { port: side.next_port() };
    let selector = service.to_string().replace("-t", "-u");
    let mut commands = format!("-A {selector} -s rr -p 60 --pe sip\n");
    for server in [111, 112] {
        commands += &format!("-a {selector} -r 192.168.33.{server}:{SERVER_PORT} -m\n");
    }
    side.restore(&commands)?;
    // Each comes from a port of its own: a call stays with its server though the client moves.
    let ports = side.next_client_ports(7);
    let mut sockets = Vec::new();
    for (port, call) in (ports..).zip(["a@x", "b@x", "a@x", "c@x", "b@x", "c@x"]) {
        let socket = socket(side, port)?;
        socket.send_to(message(call).as_bytes(), (vip(4)?, service.port))?;
        transcript.say(format!("call {call}: {}", heard(&socket)));
        sockets.push(socket);
    }
    // Another call from a port that has a connection goes where that goes.
    sockets[0].send_to(message("b@x").as_bytes(), (vip(4)?, service.port))?;
    transcript.say(format!("call b@x from the port of a@x: {}", heard(&sockets[0])));
    sockets[1].send_to(b"no call", (vip(4)?, service.port))?;
    transcript.say(format!("no call, from a port that has a connection: {}", heard(&sockets[1])));
    transcript.say(side.lists(&service)?);

    let called = socket(side, ports + 6)?;
    let mut packet = Vec::new();
    PacketBuilder::ipv4(SERVER.octets(), CLIENT.octets(), 64)
        .udp(SERVER_PORT, ports + 6)
        .write(&mut packet, message("d@x").as_bytes())?;
    send(&side.lab.web1, CLIENT.into(), &packet)?;
    transcript.say(format!("begun by a server: {}", heard(&called)));
    sleep(Duration::from_millis(250));
    side.set("-C")
}

fn message(call: &str) -> String {
    format!("OPTIONS sip:x SIP/2.0\r\nCall-ID: {call}\r\n\r\n")
}

fn socket(side: &Side, port: u16) -> Result<UdpSocket> {
    let socket = side.lab.client.inside(|| UdpSocket::bind((CLIENT, port)))?.context("a socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

/// Who answers, by its name and its address.
fn heard(socket: &UdpSocket) -> String {
    let mut data = [0; 200];
    let got: io::Result<(usize, SocketAddr)> = socket.recv_from(&mut data);
    match got {
        Err(error) => word(&error),
        Ok((length, from)) => {
            let text = String::from_utf8_lossy(&data[..length]);
            format!("{} from {from}", text.lines().next().unwrap_or_default())
        }
    }
}
