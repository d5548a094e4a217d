//! The life of connections: states, remaining times, and what is counted meanwhile.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{
    Script,
    side::{SERVER_PORT, Service, Side, vip},
    transcript::Transcript,
};
use crate::lab::{Conversation, Namespace};

/// One script for each kind of life.
pub fn scripts() -> Vec<Script> {
    vec![
        Script::new("life: the client closes first", client_closes),
        Script::new("life: the server closes first", server_closes),
        Script::new("life: half closed by the client", half_closed),
        Script::new("life: half open", half_open),
        Script::new("life: a reset from the client, and a closed port", resets),
        Script::new("life: a datagram", datagram),
        Script::new("life: remaining time, and timeouts that change", timeouts),
        Script::new("life: a client's port is used again", port_reuse),
    ]
}

fn client_closes(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let mut first = opened(side, transcript, &service)?;
    let second = opened(side, transcript, &service)?;
    transcript.say(side.lists(&service)?);
    transcript.say(first.say("a")?);
    first.close()?;
    transcript.say(side.lists(&service)?);
    second.close()?;
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn server_closes(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let conversation = opened(side, transcript, &service)?;
    side.servers[0].close_all();
    transcript.say(side.lists(&service)?);
    conversation.close()?;
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn half_closed(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let mut conversation = opened(side, transcript, &service)?;
    let silent = Silent::from_now(&side.lab.web1)?;
    conversation.shut()?;
    transcript.say(side.lists(&service)?);
    silent.end()?;
    // The server's end has been lost, and comes again.
    while !conversation.receive()?.is_empty() {}
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

fn half_open(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("wlc", &[1, 1])?;
    let silent = [Silent::from_now(&side.lab.web1)?, Silent::from_now(&side.lab.web2)?];
    for _ in 0..3 {
        let source = ([192, 168, 2, 10], side.next_client_ports(1));
        let patience = Duration::from_millis(300);
        let opened = Conversation::open(&side.lab.client, source, service.address()?, patience)?;
        transcript.say(opened.map_or("no answer", |_| "an answer"));
        transcript.say(side.lists(&service)?);
    }
    silent.into_iter().try_for_each(Silent::end)?;
    side.set("-C")
}

fn resets(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let conversation = opened(side, transcript, &service)?;
    conversation.reset()?;
    transcript.say(side.lists(&service)?);

    let closed = Service { port: side.next_port() };
    side.set(&format!("-A {closed} -s rr"))?;
    side.set(&format!("-a {closed} -r 192.168.33.111:81 -m"))?;
    let wire = side.wire()?;
    let (answer, _) = side.connect(&closed)?;
    transcript.say(answer);
    transcript.say(wire.seen()?);
    transcript.say(side.lists(&closed)?);
    side.set("-C")
}

fn datagram(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = Service { port: side.next_port() };
    let selector = service.to_string().replace("-t", "-u");
    let mut commands = format!("-A {selector} -s rr\n");
    for server in [111, 112] {
        commands += &format!("-a {selector} -r 192.168.33.{server}:{SERVER_PORT} -m\n");
    }
    side.restore(&commands)?;
    let sockets = [udp(side, &service)?, udp(side, &service)?];
    for (socket, word) in [(&sockets[0], "a"), (&sockets[0], "bb"), (&sockets[1], "ccc")] {
        socket.send(word.as_bytes())?;
        let mut data = [0; 100];
        let length = socket.recv(&mut data)?;
        transcript.say(String::from_utf8_lossy(&data[..length]));
        transcript.say(side.lists(&service)?);
    }
    // Counters are brought up to date every two seconds. Over TCP, acknowledgements would differ.
    sleep(Duration::from_secs(3));
    for list in ["-Ln --stats", "-Ln --stats --exact", "-Ln --persistent-conn", "-Ln --thresholds"] {
        transcript.say(side.admin(list)?);
    }
    transcript.say(side.admin(&format!("-Ln {selector} --stats"))?);
    side.set(&format!("-Z {selector}"))?;
    transcript.say(side.admin("-Ln --stats")?);
    transcript.say(side.lists(&service)?);
    side.set("-C")
}

/// A socket to a service, from a port that was not used before.
pub(super) fn udp(side: &Side, service: &Service) -> Result<UdpSocket> {
    let port = side.next_client_ports(1);
    let to = SocketAddr::from((vip(4)?, service.port));
    let socket = side.lab.client.inside(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::from(([192, 168, 2, 10], port)))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect(to)?;
        Ok(socket)
    })??;
    Ok(socket)
}

fn timeouts(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1])?;
    let mut conversation = opened(side, transcript, &service)?;
    sleep(Duration::from_secs(5));
    transcript.say(side.connections(&service)?);
    transcript.say(conversation.say("a")?);
    transcript.say(side.connections(&service)?);
    side.set("--set 100 30 40")?;
    // The next packet is what brings the new time.
    transcript.say(side.connections(&service)?);
    transcript.say(conversation.say("b")?);
    transcript.say(side.connections(&service)?);
    // 0 leaves a time as it is.
    side.set("--set 0 0 50")?;
    side.servers[0].close_all();
    transcript.say(side.lists(&service)?);
    side.set("--set 3 3 3")?;
    let mut short = opened(side, transcript, &service)?;
    transcript.say(short.say("c")?);
    sleep(Duration::from_secs(5));
    transcript.say("after its end:");
    transcript.say(side.lists(&service)?);
    let wire = side.wire()?;
    short.send("d")?;
    transcript
        .say(short.receive().map_or_else(|error| super::side::word(&error), |said| format!("'{said}'")));
    transcript.say(wire.seen()?);
    conversation.close()?;
    side.set("--set 900 120 300")?;
    side.set("-C")
}

fn port_reuse(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = side.service("rr", &[1, 1])?;
    let port = side.next_client_ports(1);
    // The client may use the port again at once: it does not remember that it closed first. In all other scripts
    // it does, and so has an answer to a FIN that comes twice.
    let remembered = |count| side.lab.client.sysctl("net/ipv4/tcp_max_tw_buckets", count);
    remembered("0")?;
    for number in 0..4 {
        let (name, conversation) = side.connect_from(port, &service)?;
        transcript.say(name);
        let conversation = conversation.context("no connection")?;
        if number < 2 {
            conversation.close()?
        } else {
            conversation.reset()?
        };
        transcript.say(side.lists(&service)?);
    }
    remembered("65536")?;
    side.set("-C")
}

/// A connection, whose server is said.
pub fn opened(side: &Side, transcript: &mut Transcript, service: &Service) -> Result<Conversation> {
    let (name, conversation) = side.connect(service)?;
    transcript.say(&name);
    conversation.with_context(|| format!("no connection: {name}"))
}

/// A server whose packets are lost on their way out.
struct Silent<'a>(&'a Namespace);

impl<'a> Silent<'a> {
    fn from_now(server: &'a Namespace) -> Result<Self> {
        let hook = "{ type filter hook output priority 0; policy drop; }";
        server.run(["nft", &format!("add table ip silent; add chain ip silent out {hook}")])?;
        Ok(Self(server))
    }

    fn end(self) -> Result<()> {
        self.0.run(["nft", "delete table ip silent"]).map(drop)
    }
}
