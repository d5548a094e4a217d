//! The schedulers in the kernel, with real connections, against the recorded sequences of IPVS.

mod balanced;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result};
use balanced::{Balanced, CLIENT, SERVICE, VIP_PORT};
use xtask::lab::Conversation;

/// How long a server takes at most; a refused client is told at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which rows are replayed: scheduler, flags, protocol, weights, pattern, sources.
const ROWS: [[&str; 6]; 23] = [
    ["rr", "-", "tcp", "1:1", "A", "one"],
    ["wrr", "-", "tcp", "3:1", "A", "one"],
    ["wrr", "-", "tcp", "5:3:1", "C", "one"],
    ["wrr", "-", "udp", "3:1", "U", "one"],
    ["lc", "-", "tcp", "5:3:1", "A", "one"],
    ["wlc", "-", "tcp", "3:1", "A", "one"],
    ["wlc", "-", "tcp", "5:3:1", "A", "one"],
    ["sed", "-", "tcp", "3:1", "A", "one"],
    ["sed", "-", "tcp", "5:3:1", "A", "one"],
    ["nq", "-", "tcp", "3:1", "A", "one"],
    ["nq", "-", "tcp", "5:3:1", "C", "one"],
    ["fo", "-", "tcp", "3:1", "A", "one"],
    ["ovf", "-", "tcp", "5:3:1", "A", "one"],
    ["sh", "-", "tcp", "5:3:1", "A", "many"],
    ["sh", "sh-port", "tcp", "3:1", "A", "many"],
    ["sh", "-", "udp", "5:3:1", "U", "many"],
    ["mh", "-", "tcp", "5:3:1", "A", "many"],
    ["mh", "mh-port,mh-fallback", "tcp", "1:1", "A", "many"],
    ["mh", "-", "udp", "3:1", "U", "many"],
    ["dh", "-", "tcp", "5:3:1", "A", "many"],
    ["dh", "-", "tcp", "1:1", "A", "one"],
    ["lblc", "-", "tcp", "5:3:1", "A", "many"],
    ["lblcr", "-", "tcp", "5:3:1", "A", "many"],
];

#[test]
fn sequences_are_those_recorded_from_ipvs() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lb-ebpf/tests/recorded/sched.tsv");
    let recorded = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lab = Balanced::new()?;
    lab.add_web3()?;
    let sources: Vec<_> = (20..80).map(|last| format!("192.168.2.{last}/24")).collect();
    lab.lab.client.addresses("eth0", &sources.iter().map(String::as_str).collect::<Vec<_>>())?;

    let mut wrong = Vec::new();
    for row in ROWS {
        let expected = recorded
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .find(|fields| fields.starts_with(&row))
            .with_context(|| format!("no recording of {row:?}"))?[6];
        // A table of its own: nothing of the last row is remembered.
        lab.ctl("unload")?;
        lab.ctl("load outside inside --max-connections 4096")?;
        let [scheduler, flags, protocol, weights, pattern, sources] = row;
        let option = if protocol == "udp" { "-u" } else { "-t" };
        let flags = if flags == "-" { String::new() } else { format!("-b {flags}") };
        lab.ctl(&format!("service add {option} {VIP_PORT} -s {scheduler} {flags}"))?;
        for (server, weight) in (111..).zip(weights.split(':')) {
            let backend = format!("192.168.33.{server}:8080");
            lab.ctl(&format!("backend add {option} {VIP_PORT} -r {backend} -m -w {weight}"))?;
        }
        let got = lab.lab.client.inside(|| match pattern {
            "U" => over_udp(sources),
            _ => over_tcp(pattern, sources),
        })?;
        if got != expected {
            wrong.push(format!("{row:?}\n  IPVS {expected}\n  here {got}\n{}", lab.ctl("list -n")?));
        }
        // The resets of what was open have reached the servers.
        sleep(Duration::from_millis(50));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn source(sources: &str, number: u16) -> SocketAddrV4 {
    let address = if sources == "many" { Ipv4Addr::new(192, 168, 2, 20 + number as u8) } else { CLIENT };
    SocketAddrV4::new(address, 20_001 + number)
}

/// The last letter of the server's name; `!` for none.
fn letter(answer: std::io::Result<String>) -> char {
    answer.ok().and_then(|name| name.split(':').next().and_then(|name| name.chars().last())).unwrap_or('!')
}

/// Sixty connections. A: every third stays open, and at the thirtieth every second of those closes. B:
/// each closes at once. C: all stay open.
fn over_tcp(pattern: &str, sources: &str) -> String {
    let mut open: Vec<(u16, Conversation)> = Vec::new();
    let mut sequence = String::new();
    for number in 0..60 {
        if pattern == "A" && number == 30 {
            let (closing, staying) = open.into_iter().partition(|(number, _)| number % 6 == 0);
            open = staying;
            for (_, conversation) in closing {
                let _ = conversation.close();
            }
            sleep(Duration::from_millis(50));
        }
        let conversation = Conversation::open_here(source(sources, number), SERVICE, PATIENCE);
        let (answer, conversation) = match conversation {
            Ok(mut conversation) => (conversation.receive(), Some(conversation)),
            Err(error) => (Err(error), None),
        };
        sequence.push(letter(answer));
        if let Some(conversation) = conversation {
            if pattern == "C" || pattern == "A" && number % 3 == 0 {
                open.push((number, conversation));
            } else {
                let _ = conversation.close();
            }
        }
    }
    for (_, conversation) in open {
        // So that the same port can be used again at once, on all sides.
        let _ = conversation.reset();
    }
    sequence
}

/// Sixty flows of one datagram.
fn over_udp(sources: &str) -> String {
    let exchange = |number| {
        let socket = UdpSocket::bind(source(sources, number))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(SERVICE)?;
        socket.send(b"x")?;
        let mut data = [0; 100];
        let length = socket.recv(&mut data)?;
        Ok((String::from_utf8_lossy(&data[..length]).into_owned(), socket))
    };
    let mut open = Vec::new();
    let mut sequence = String::new();
    for number in 0..60 {
        let answer: std::io::Result<(String, UdpSocket)> = exchange(number);
        sequence.push(letter(answer.map(|(name, socket)| {
            open.push(socket);
            name
        })));
    }
    sequence
}
