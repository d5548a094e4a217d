//! One of the two balancers in a lab of its own: the kernel's IPVS or ours.

use std::{
    cell::Cell,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::wire::Wire;
use crate::lab::{Conversation, Echo, Lab, VIP, VIP6};

/// Where each server answers.
pub const SERVER_PORT: u16 = 8080;
/// How many connections either side can hold; the first line of a list says it.
const CONNECTIONS: &str = "65536";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a packet may be under way.
const FLIGHT: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Ipvs,
    Ours,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipvs => "IPVS",
            Self::Ours => "ours",
        }
    }
}

/// A lab with three servers and one of the balancers.
pub struct Side {
    pub lab: Lab,
    pub servers: [Echo; 3],
    who: Who,
    // Given out once, in the same order on either side.
    ports: Cell<Ports>,
}

/// Ports, or how many of them.
#[derive(Clone, Copy)]
pub struct Ports {
    pub service: u16,
    pub client: u16,
}

impl Ports {
    /// As many more.
    pub fn and(self, more: Self) -> Self {
        Self { service: self.service + more.service, client: self.client + more.client }
    }

    /// So many times as many.
    pub fn times(self, count: u16) -> Self {
        Self { service: self.service * count, client: self.client * count }
    }
}

impl Side {
    /// The first of all.
    pub const PORTS: Ports = Ports { service: 2001, client: 4001 };

    pub fn raise(who: Who, lb_ctl: &Path) -> Result<Self> {
        let lab = Lab::network(lb_ctl.into())?;
        let web3 = lab.site.namespace("web3")?;
        web3.connect("eth0", &lab.switch, "web3")?;
        lab.switch.ip("link set web3 master br0")?;
        web3.addresses("eth0", &["192.168.33.113/24", "fd00:33::113/64"])?;
        web3.gateways(&["192.168.33.100", "fd00:33::100"])?;
        let clients: Vec<_> = (20..80)
            .flat_map(|number| [format!("192.168.2.{number}/24"), format!("fd00:2::{number}/64")])
            .collect();
        lab.client.addresses("eth0", &clients.iter().map(String::as_str).collect::<Vec<_>>())?;
        // A refusal that comes while `connect` is still at it is taken for a passing trouble, and counts only
        // when it comes again, for the SYN that TCP sends a second later.
        lab.client.run("tc qdisc add dev eth0 root netem delay 1ms".split(' '))?;
        // Else the kernel sends one error a second, and a client's next attempt decides what is seen.
        lab.balancer.sysctl("net/ipv4/icmp_ratelimit", "0")?;
        lab.balancer.sysctl("net/ipv6/icmp/ratelimit", "0")?;
        let servers = [
            Echo::start(&lab.web1, "web1", SERVER_PORT)?,
            Echo::start(&lab.web2, "web2", SERVER_PORT)?,
            Echo::start(&web3, "web3", SERVER_PORT)?,
        ];
        if who == Who::Ours {
            lab.balancer.lb_ctl(["load", "outside", "inside", "--max-connections", CONNECTIONS])?;
        }
        Ok(Self { lab, servers, who, ports: Cell::new(Self::PORTS) })
    }

    /// Ports from these on are given out next: nobody had them before.
    pub fn begin(&self, ports: Ports) {
        self.ports.set(ports);
    }

    /// A port for a service that had none before: IPVS remembers removed servers by it.
    pub fn next_port(&self) -> u16 {
        let ports = self.ports.get();
        self.ports.set(Ports { service: ports.service + 1, ..ports });
        ports.service
    }

    /// The first of so many client ports that nobody had before.
    pub fn next_client_ports(&self, count: u16) -> u16 {
        let ports = self.ports.get();
        self.ports.set(Ports { client: ports.client + count, ..ports });
        ports.client
    }

    /// A command of ipvsadm; what it printed, and its exit status unless that is 0.
    pub fn admin(&self, words: &str) -> Result<String> {
        told(&self.tool().args(words.split(' ')).output()?)
    }

    /// The same for a command that has to succeed in silence.
    pub fn set(&self, words: &str) -> Result<()> {
        let said = self.admin(words)?;
        ensure!(said.is_empty(), "ipvsadm {words}: {said}");
        Ok(())
    }

    /// The same for many, a line each, in one process.
    pub fn restore(&self, lines: &str) -> Result<()> {
        let mut child = self.tool().arg("-R").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("stdin is piped")?.write_all(lines.as_bytes())?;
        let said = told(&child.wait_with_output()?)?;
        ensure!(said.is_empty(), "ipvsadm -R: {said}");
        Ok(())
    }

    fn tool(&self) -> Command {
        match self.who {
            Who::Ipvs => self.lab.balancer.command("ipvsadm"),
            Who::Ours => {
                let mut command = self.lab.balancer.command(self.lab.site.lb_ctl());
                command.arg("ipvsadm");
                command
            }
        }
    }

    /// A TCP service with these weights, `web1` first; its selector.
    pub fn service(&self, scheduler: &str, weights: &[u16]) -> Result<Service> {
        let service = Service { port: self.next_port() };
        let mut lines = format!("-A {service} -s {scheduler}\n");
        for (server, weight) in (111..).zip(weights) {
            lines += &format!("-a {service} -r 192.168.33.{server}:{SERVER_PORT} -m -w {weight}\n");
        }
        self.restore(&lines)?;
        Ok(service)
    }

    /// Connects from a port that was not used before, and waits for the server to say its name.
    pub fn connect(&self, service: &Service) -> Result<(String, Option<Conversation>)> {
        self.connect_from(self.next_client_ports(1), service)
    }

    /// The same from a port.
    pub fn connect_from(&self, port: u16, service: &Service) -> Result<(String, Option<Conversation>)> {
        let source = (Ipv4Addr::new(192, 168, 2, 10), port);
        let conversation = Conversation::open(&self.lab.client, source, service.address()?, PATIENCE)?;
        Ok(match conversation {
            Err(error) => (word(&error), None),
            Ok(mut conversation) => match conversation.receive() {
                Err(error) => (word(&error), None),
                Ok(name) => (name, Some(conversation)),
            },
        })
    }

    /// The lists of services and of one service's connections, which ipvsadm does not sort.
    pub fn lists(&self, service: &Service) -> Result<String> {
        sleep(FLIGHT);
        Ok(self.admin("-Ln")? + &self.connections(service)?)
    }

    /// The list of a service's connections. IPVS's goes on by number after each page, so that it lacks a line
    /// when a connection before it ended meanwhile: what counts is what comes twice.
    pub fn connections(&self, service: &Service) -> Result<String> {
        let mut last = self.connections_once(service)?;
        for _ in 0..5 {
            let next = self.connections_once(service)?;
            let is_complete = next.lines().count() == last.lines().count();
            last = next;
            if is_complete {
                break;
            }
        }
        Ok(last)
    }

    fn connections_once(&self, service: &Service) -> Result<String> {
        let list = self.admin("-Lnc")?;
        let address = format!(" {} ", service.address()?);
        let mut lines: Vec<_> = list.lines().enumerate().collect();
        lines.retain(|(number, line)| *number < 2 || line.contains(&address));
        // By all that stands behind the remaining time.
        lines[2..].sort_by_key(|(_, line)| line.get(10..));
        Ok(lines.iter().map(|(_, line)| format!("{line}\n")).collect())
    }

    /// Listens to what the client's host gets from now on.
    pub fn wire(&self) -> Result<Wire> {
        Wire::of_client(&self.lab.client)
    }

    /// The same of the first server's host.
    pub fn wire_of_server(&self) -> Result<Wire> {
        Wire::of_server(&self.lab.web1)
    }

    /// Sets one of IPVS's sysctls.
    pub fn sysctl(&self, name: &str, value: u8) -> Result<()> {
        match self.who {
            Who::Ipvs => self.lab.balancer.sysctl(&format!("net/ipv4/vs/{name}"), &value.to_string()),
            Who::Ours => self.lab.balancer.lb_ctl(["sysctl", &format!("{name}={value}")]).map(drop),
        }
    }
}

/// What a command printed, and its exit status unless that is 0.
fn told(output: &Output) -> Result<String> {
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said += &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        said += &format!("{}\n", output.status);
    }
    Ok(said)
}

/// A TCP service on the balancer's first address, written as ipvsadm's selector.
pub struct Service {
    pub port: u16,
}

impl Service {
    pub fn address(&self) -> Result<SocketAddr> {
        Ok((VIP.parse::<IpAddr>()?, self.port).into())
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "-t {VIP}:{}", self.port)
    }
}

/// The address of a family's service.
pub fn vip(version: u8) -> Result<IpAddr> {
    (if version == 4 { VIP } else { VIP6 }).parse().context("an address of the lab")
}

/// Short, and the same on every machine.
pub fn word(error: &io::Error) -> String {
    match error.kind() {
        // A timeout of a socket.
        io::ErrorKind::WouldBlock => "no answer".to_owned(),
        kind => kind.to_string(),
    }
}
