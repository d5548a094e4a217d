//! The same traffic through ours and through the kernel's IPVS, each in a lab of its own: every
//! connection has to go to the same server, and both have to list the same afterwards.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, VIP};

const CONNECTIONS: usize = 30;
/// Without `twos`, which draws lots.
const SCHEDULERS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc", "lblcr"];
const WEIGHTS: [[u16; 2]; 1] = [[3, 1]];
/// The case number plus this is the service's port: IPVS remembers removed servers by it.
const FIRST_PORT: u16 = 2001;

#[derive(Clone, Copy)]
enum Pattern {
    /// Every connection is closed before the next.
    Closed,
    /// None is closed.
    Open,
    /// Every third stays open, and half of those are closed in the middle.
    Mixed,
    /// Closed, and every one comes from another address.
    ManyClients,
}

struct Case {
    scheduler: &'static str,
    weights: [u16; 2],
    pattern: Pattern,
    port: u16,
}

/// What can be seen of a case.
#[derive(PartialEq, Eq)]
struct Seen {
    sequence: String,
    table: String,
    connections: Vec<String>,
}

/// Runs all cases, reports all differences.
pub fn run(lb_ctl: &std::path::Path) -> Result<()> {
    let ours = Lab::raise(lb_ctl.into())?;
    let theirs = Lab::raise(lb_ctl.into())?;
    ours.balancer.lb_ctl(["load", "outside", "inside"])?;
    for lab in [&ours, &theirs] {
        for number in 0..CONNECTIONS {
            lab.client.addresses("eth0", &[&format!("192.168.2.{}/24", 20 + number)])?;
        }
    }
    let cases = cases();
    let mut different = 0;
    let started = Instant::now();
    for (number, case) in cases.iter().enumerate() {
        let expected = case.seen(&theirs, &theirs_does)?;
        let seen = case.seen(&ours, &ours_does)?;
        let verdict = if seen == expected { "same" } else { "DIFFERENT" };
        println!("[{}/{}] {case}: {verdict} {}", number + 1, cases.len(), seen.sequence);
        if seen != expected {
            different += 1;
            println!("IPVS:\n{expected}ours:\n{seen}");
        }
    }
    ours.balancer.lb_ctl(["unload"])?;
    println!(
        "{} cases of {CONNECTIONS} connections in {:.0} s, {different} different from IPVS",
        cases.len(),
        started.elapsed().as_secs_f64()
    );
    ensure!(different == 0, "{different} cases differ from IPVS");
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for scheduler in SCHEDULERS {
        for weights in WEIGHTS {
            for pattern in [Pattern::Closed, Pattern::Open, Pattern::Mixed, Pattern::ManyClients] {
                // Many clients tell apart only those that look at the client.
                if matches!(pattern, Pattern::ManyClients) && !["sh", "mh"].contains(&scheduler) {
                    continue;
                }
                let port = FIRST_PORT + cases.len() as u16;
                cases.push(Case { scheduler, weights, pattern, port });
            }
        }
    }
    cases
}

/// The commands of one side: to add a service, to add a backend, to list.
type Does<'a> = &'a dyn Fn(&Lab, &str) -> Result<String>;

fn ours_does(lab: &Lab, command: &str) -> Result<String> {
    let command = command
        .replace("-A ", "service add ")
        .replace("-a ", "backend add ")
        .replace("-Lnc", "list -n --connections")
        .replace("-Ln ", "list -n ")
        .replace("-list ", "--service ");
    lab.balancer.lb_ctl(command.split(' '))
}

fn theirs_does(lab: &Lab, command: &str) -> Result<String> {
    lab.balancer.run(format!("ipvsadm {}", command.replace("-list ", "-t ")).split(' '))
}

impl Case {
    fn seen(&self, lab: &Lab, does: Does) -> Result<Seen> {
        let service = format!("{VIP}:{}", self.port);
        does(lab, &format!("-A -t {service} -s {}", self.scheduler))?;
        for (server, weight) in ["192.168.33.111", "192.168.33.112"].iter().zip(self.weights) {
            does(lab, &format!("-a -t {service} -r {server}:80 -m -w {weight}"))?;
        }
        // One thread for all: entering a namespace takes the kernel longer than a connection.
        let (sequence, open) = lab.client.inside(|| self.traffic())??;
        // The last FIN may still be under way.
        sleep(Duration::from_millis(100));
        // Above the table stands the size of the connection table.
        let table = does(lab, &format!("-Ln -list {service}"))?;
        let table = table.lines().skip(1).map(|line| format!("{}\n", line.trim_end())).collect();
        let mut connections: Vec<_> =
            does(lab, "-Lnc")?.lines().filter_map(|line| connection(line, &service)).collect();
        connections.sort();
        drop(open);
        Ok(Seen { sequence, table, connections })
    }

    /// The servers' numbers in the order of the connections, and the connections still open.
    fn traffic(&self) -> Result<(String, Vec<TcpStream>)> {
        let mut sequence = String::new();
        let mut open = Vec::new();
        for number in 0..CONNECTIONS {
            if matches!(self.pattern, Pattern::ManyClients) {
                let source = format!("192.168.2.{}", 20 + number);
                ip(&["route", "replace", VIP, "dev", "eth0", "src", &source])?;
            }
            if matches!(self.pattern, Pattern::Mixed) && number == CONNECTIONS / 2 {
                let mut place = 0;
                open.retain_mut(|stream| {
                    place += 1;
                    place % 2 == 0 || close(stream).is_err()
                });
            }
            let (server, mut stream) = match ask(self.port) {
                Ok(answered) => answered,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    sequence.push('!');
                    continue;
                }
                Err(error) => return Err(error).with_context(|| format!("{self}, connection {number}")),
            };
            sequence.push(server);
            let stays = match self.pattern {
                Pattern::Open => true,
                Pattern::Mixed => number % 3 == 0,
                Pattern::Closed | Pattern::ManyClients => false,
            };
            if stays {
                open.push(stream);
            } else {
                close(&mut stream)?;
            }
        }
        if matches!(self.pattern, Pattern::ManyClients) {
            ip(&["route", "delete", VIP, "dev", "eth0"])?;
        }
        Ok((sequence, open))
    }
}

/// In the namespace that the calling thread is in.
fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status()?;
    ensure!(status.success(), "ip {} ended with {status}", arguments.join(" "));
    Ok(())
}

/// Opens a connection and returns the number of the server that answers.
fn ask(port: u16) -> std::io::Result<(char, TcpStream)> {
    let mut stream = TcpStream::connect((VIP, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")?;
    let (mut answer, mut piece) = (String::new(), [0; 1024]);
    while !answer.ends_with("called.\n") {
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => answer.push_str(&String::from_utf8_lossy(&piece[..length])),
        }
    }
    let server = answer.rsplit_once("Web").and_then(|(_, rest)| rest.chars().next());
    Ok((server.unwrap_or('?'), stream))
}

/// The client closes first and waits for the server, so that both sides' FINs have gone through.
fn close(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    // The client's last ACK is still to come.
    sleep(Duration::from_millis(5));
    Ok(())
}

/// State, client and server of a line of the list; the rest is time, or chance, or known.
fn connection(line: &str, service: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [protocol, _expires, state, source, to, destination] = words[..] else { return None };
    let client = source.rsplit_once(':')?.0;
    (to == service).then(|| format!("{protocol} {state} {client} {destination}"))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = match self.pattern {
            Pattern::Closed => "closed",
            Pattern::Open => "open",
            Pattern::Mixed => "mixed",
            Pattern::ManyClients => "many clients",
        };
        write!(f, "{} {}:{} {pattern}", self.scheduler, self.weights[0], self.weights[1])
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}\n{}", self.sequence, self.table)?;
        // In runs: sixty lines say little more than their kinds and numbers.
        for run in self.connections.chunk_by(|one, other| one == other) {
            writeln!(f, "  {} x {}", run.len(), run[0])?;
        }
        Ok(())
    }
}
