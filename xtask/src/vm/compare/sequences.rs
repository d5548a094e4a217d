//! Which server each of sixty connections goes to, for every scheduler, and what is counted after it.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
    thread::sleep,
    time::Duration,
};

use anyhow::Result;

use super::{
    Script,
    side::{Ports, SERVER_PORT, Side, vip},
    transcript::Transcript,
};
use crate::lab::Conversation;

const CONNECTIONS: u16 = 60;
const PATIENCE: Duration = Duration::from_secs(8);
/// Without `twos`, which draws lots.
const SCHEDULERS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc", "lblcr"];
/// Those that look at an address.
const HASHING: [&str; 5] = ["dh", "sh", "mh", "lblc", "lblcr"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    TcpOverIpv6,
    Udp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// Every connection is closed before the next.
    Closed,
    /// None is closed.
    Open,
    /// Every third stays open, and half of those are closed in the middle.
    Mixed,
}

struct Case {
    scheduler: &'static str,
    flags: &'static str,
    transport: Transport,
    weights: &'static [u16],
    pattern: Pattern,
    /// Each connection comes from another address.
    many: bool,
}

/// A script for each scheduler.
pub fn scripts() -> Vec<Script> {
    let of = |scheduler: &'static str| {
        let cases = cases(scheduler);
        let services = cases.len() as u16;
        let ports = Ports { service: services, client: services * CONNECTIONS };
        let work = move |side: &Side, transcript: &mut Transcript| sequences(side, transcript, &cases);
        Script { ports, ..Script::new(format!("sequences: {scheduler}"), work) }
    };
    SCHEDULERS.map(of).into()
}

fn cases(scheduler: &'static str) -> Vec<Case> {
    use Pattern::{Closed, Mixed, Open};
    use Transport::{Tcp, TcpOverIpv6, Udp};
    let case = |flags, transport, weights, pattern, many| Case {
        scheduler,
        flags,
        transport,
        weights,
        pattern,
        many,
    };
    let mut cases = Vec::new();
    for weights in [[1, 1].as_slice(), &[3, 1]] {
        cases.extend([Mixed, Closed, Open].map(|pattern| case("", Tcp, weights, pattern, false)));
    }
    cases.extend([Mixed, Closed, Open].map(|pattern| case("", Tcp, &[5, 3, 1], pattern, false)));
    cases.push(case("", Tcp, &[2, 4, 6], Closed, false));
    cases.push(case("", Tcp, &[0, 2, 1], Mixed, false));
    cases.push(case("", Tcp, &[0, 0], Closed, false));
    cases.push(case("", Udp, &[3, 1], Open, false));
    cases.push(case("", TcpOverIpv6, &[5, 3, 1], Mixed, true));
    if HASHING.contains(&scheduler) {
        for weights in [[1, 1].as_slice(), &[3, 1], &[5, 3, 1]] {
            cases.push(case("", Tcp, weights, Mixed, true));
        }
        cases.push(case("", Udp, &[5, 3, 1], Open, true));
        cases.push(case("", Tcp, &[3, 0, 1], Mixed, true));
    }
    let flags: &[&str] = match scheduler {
        "sh" => &["sh-port", "sh-fallback", "sh-port,sh-fallback"],
        "mh" => &["mh-port", "mh-fallback", "mh-port,mh-fallback"],
        _ => &[],
    };
    for flags in flags {
        cases.push(case(flags, Tcp, &[3, 1], Mixed, true));
        cases.push(case(flags, Tcp, &[3, 0, 1], Mixed, false));
    }
    cases
}

/// All services at once, then all connections, then one list.
fn sequences(side: &Side, transcript: &mut Transcript, cases: &[Case]) -> Result<()> {
    let (mut places, mut commands) = (Vec::new(), String::new());
    for case in cases {
        let (port, client_port) = (side.next_port(), side.next_client_ports(CONNECTIONS));
        commands += &case.commands(port)?;
        places.push((case, case.service(port)?, client_port));
    }
    side.restore(&commands)?;
    // On one thread: to start one takes the machine longer than a connection does.
    let mut open = Vec::new();
    let sequences = side.lab.client.inside(|| {
        places
            .iter()
            .map(|(case, to, from)| case.traffic(*to, *from, &mut open))
            .collect::<io::Result<Vec<_>>>()
    })??;
    for (case, sequence) in cases.iter().zip(sequences) {
        transcript.say(format!("{case}: {sequence}"));
    }
    // The last acknowledgement may be under way.
    sleep(Duration::from_millis(200));
    transcript.say(side.admin("-Ln")?);
    transcript.say(side.admin("-Sn")?);
    for conversation in open {
        conversation.reset()?;
    }
    side.set("-C")
}

impl Case {
    fn commands(&self, port: u16) -> Result<String> {
        let (letter, net) = match self.transport {
            Transport::Tcp => ('t', "192.168.33."),
            Transport::TcpOverIpv6 => ('t', "fd00:33::"),
            Transport::Udp => ('u', "192.168.33."),
        };
        let service = format!("-{letter} {}", self.service(port)?);
        let flags = if self.flags.is_empty() { String::new() } else { format!(" -b {}", self.flags) };
        let mut commands = format!("-A {service} -s {}{flags}\n", self.scheduler);
        for (server, weight) in (111..).zip(self.weights) {
            let server: IpAddr = format!("{net}{server}").parse()?;
            let server = SocketAddr::from((server, SERVER_PORT));
            commands += &format!("-a {service} -r {server} -m -w {weight}\n");
        }
        Ok(commands)
    }

    fn service(&self, port: u16) -> Result<SocketAddr> {
        Ok((vip(if self.transport == Transport::TcpOverIpv6 { 6 } else { 4 })?, port).into())
    }

    /// The servers' numbers in the order of the connections; `!` for a refusal.
    fn traffic(&self, to: SocketAddr, from: u16, open: &mut Vec<Conversation>) -> io::Result<String> {
        let mut sequence = String::new();
        let mut mine = Vec::new();
        for number in 0..CONNECTIONS {
            if self.pattern == Pattern::Mixed && number == CONNECTIONS / 2 {
                let closing;
                (closing, mine) = mine.into_iter().partition(|(number, _)| number % 6 == 0);
                for (_, conversation) in closing {
                    Conversation::close(conversation)?;
                }
            }
            let from = self.source(to, from + number, number);
            let exchanged = match self.transport {
                Transport::Udp => exchange(from, to).map(|name| (name, None)),
                Transport::Tcp | Transport::TcpOverIpv6 => connect(from, to),
            };
            let conversation = match exchanged {
                Ok((name, conversation)) => {
                    sequence.push(name.chars().nth(3).unwrap_or('?'));
                    conversation
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    sequence.push('!');
                    None
                }
                // Neither side loses packets.
                Err(error) => {
                    let text = format!("{self}: connection {number}, after {sequence}: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            };
            let stays = match self.pattern {
                Pattern::Open => true,
                Pattern::Mixed => number % 3 == 0,
                Pattern::Closed => false,
            };
            match conversation {
                Some(conversation) if stays => mine.push((number, conversation)),
                Some(conversation) => conversation.close()?,
                None => {}
            }
        }
        open.extend(mine.into_iter().map(|(_, conversation)| conversation));
        Ok(sequence)
    }

    fn source(&self, to: SocketAddr, port: u16, number: u16) -> SocketAddr {
        let host = if self.many { 20 + number } else { 10 };
        match to {
            SocketAddr::V4(_) => ([192, 168, 2, host as u8], port).into(),
            // As it is written: `fd00:2::20` ends in hexadecimal digits.
            SocketAddr::V6(_) => {
                let host = if host < 100 { host / 10 * 16 + host % 10 } else { host };
                ([0xfd00, 2, 0, 0, 0, 0, 0, host], port).into()
            }
        }
    }
}

fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<(String, Option<Conversation>)> {
    let mut conversation = Conversation::open_here(from, to, PATIENCE)?;
    Ok((conversation.receive()?, Some(conversation)))
}

fn exchange(from: SocketAddr, to: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::bind(from)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    socket.send(b"x")?;
    let mut data = [0; 100];
    let length = socket.recv(&mut data)?;
    Ok(String::from_utf8_lossy(&data[..length]).into_owned())
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights: Vec<_> = self.weights.iter().map(u16::to_string).collect();
        let pattern = match self.pattern {
            Pattern::Closed => "closed",
            Pattern::Open => "open",
            Pattern::Mixed => "mixed",
        };
        let transport = match self.transport {
            Transport::Tcp => "TCP",
            Transport::TcpOverIpv6 => "TCP over IPv6",
            Transport::Udp => "UDP",
        };
        let clients = if self.many { "many clients" } else { "one client" };
        write!(f, "{} {} {transport} {} {pattern} {clients}", self.scheduler, self.flags, weights.join(":"))
    }
}
