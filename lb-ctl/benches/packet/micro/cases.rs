//! What is measured: which packets, given to what, in which balancer.

use crate::{
    instance::{INSIDE, OUTSIDE, Target},
    packets::{Flags, Macs, Pattern, tcp},
};
use std::net::SocketAddr;

const CLIENT: &str = "10.1.7.7:40000";
const BACKEND: &str = "10.9.1.11:80";
const CLIENT6: &str = "[fd01::1]:40000";
const PASS: u32 = 2;
const TRANSMIT: u32 = 3;
const REDIRECT: u32 = 4;
/// So many that none comes twice.
const NEW: u32 = 1 << 22;
const PACKETS: u32 = 300_000;
const CONNECTIONS: u32 = 30_000;
/// Connections a round of each case of [`Balancer::Schedulers`], whose table holds a million.
const FEW_CONNECTIONS: u32 = 4_096;

/// Many, and so many that no cache holds them.
const FLOWS: [u32; 2] = [1 << 16, 1 << 19];
const SCHEDULERS: [&str; 3] = ["wlc", "wrr", "mh"];
const BACKENDS: [u32; 5] = [1, 2, 100, 1_000, 4_096];

/// The balancers, which differ in their services.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Balancer {
    /// Four services, one or two backends.
    Small,
    /// The same, for a case with so many connections that they must be the only ones: all there are say how dense it
    /// is what a CPU remembers.
    Alone(u32),
    /// A service for each scheduler and number of backends.
    Schedulers,
    /// As the small one, among 10,000 services of 4 backends.
    Services,
}

impl Balancer {
    pub const ALL: [Self; 5] =
        [Self::Small, Self::Alone(FLOWS[0]), Self::Alone(FLOWS[1]), Self::Schedulers, Self::Services];

    /// Its services, as `ipvsadm-restore` reads them.
    pub fn services(self) -> String {
        let mut lines = String::new();
        match self {
            Self::Small | Self::Alone(_) | Self::Services => {
                service(&mut lines, "10.9.0.1:80", "wlc", ["10.9.1.11:80"]);
                service(&mut lines, "10.9.0.1:81", "wlc", ["10.9.1.11:81", "10.9.1.12:81"]);
                service(&mut lines, "10.9.0.1:82", "wlc", ["10.9.1.11:82", "10.9.1.12:82"]);
                service(&mut lines, "[fd09::1]:80", "wlc", ["[fd19::11]:80"]);
            }
            Self::Schedulers => {
                for (port, (scheduler, backends)) in (1000..).zip(schedulers()) {
                    // At a port of its own: else all would have the same replies, of the same clients.
                    let backends = (0..backends).map(|number| backend(number, port));
                    service(&mut lines, &format!("10.9.0.1:{port}"), scheduler, backends);
                }
            }
        }
        if self == Self::Services {
            for number in 0..9_996 {
                let name = format!("10.100.{}.{}:80", number >> 8, number & 255);
                service(
                    &mut lines,
                    &name,
                    "wlc",
                    (4 * number..4 * number + 4).map(|number| backend(number, 80)),
                );
            }
        }
        lines
    }

    /// What `lb-ctl` is told besides.
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Schedulers => &[],
            // As many addresses as all rounds of new connections need.
            Self::Small | Self::Alone(_) | Self::Services => &[
                "snat-pool add 10.9.1.1 10.9.1.2 10.9.1.3 10.9.1.4",
                "service edit -t 10.9.0.1:82 --fullnat",
            ],
        }
    }
}

fn backend(number: u32, port: u16) -> String {
    format!("172.16.{}.{}:{port}", number >> 8, number & 255)
}

/// A line for each service and backend, as `ipvsadm-restore` reads them.
fn service(
    lines: &mut String,
    service: &str,
    scheduler: &str,
    backends: impl IntoIterator<Item = impl AsRef<str>>,
) {
    lines.push_str(&format!("-A -t {service} -s {scheduler}\n"));
    for backend in backends {
        lines.push_str(&format!("-a -t {service} -r {} -m -w 1\n", backend.as_ref()));
    }
}

fn schedulers() -> impl Iterator<Item = (&'static str, u32)> {
    SCHEDULERS.into_iter().flat_map(|scheduler| BACKENDS.map(|backends| (scheduler, backends)))
}

/// One of the things measured.
pub struct Case {
    pub name: String,
    pub target: Target,
    pub balancer: Balancer,
    /// By which interface it comes: `lan0` (0) or `lan1` (1).
    pub interface: usize,
    pub pattern: Pattern,
    /// Packets that make the connections, each sent once for every flow.
    pub before: Vec<Pattern>,
    /// Packets a round.
    pub packets: u32,
    /// The XDP action that every packet must get.
    pub action: u32,
}

impl Case {
    fn new(name: &str, target: Target, pattern: Pattern, action: u32) -> Self {
        let packets = PACKETS.max(pattern.flows);
        let (name, balancer) = (name.to_owned(), Balancer::Small);
        Self { name, target, balancer, interface: 0, pattern, before: vec![], packets, action }
    }

    fn established(name: &str, client: &str, service: &str, flows: u32) -> Self {
        let packet = |flags| outside(client, service, flags, flows);
        let before = vec![packet(Flags::Syn), packet(Flags::Ack)];
        Self { before, ..Self::new(name, Target::Balance, packet(Flags::Ack), REDIRECT) }
    }

    fn opening(name: &str, service: &str, packets: u32) -> Self {
        let pattern = outside(CLIENT, service, Flags::Syn, NEW);
        Self { packets, ..Self::new(name, Target::Balance, pattern, REDIRECT) }
    }

    /// Whether others are measured against it.
    pub fn is_floor(&self) -> bool {
        self.target != Target::Balance
    }

    /// Whether each packet has to be of a flow that was not there.
    pub fn is_opening(&self) -> bool {
        self.pattern.flows == NEW
    }
}

fn outside(from: &str, to: &str, flags: Flags, flows: u32) -> Pattern {
    packet(OUTSIDE, from, to, flags, flows)
}

fn packet(macs: Macs, from: &str, to: &str, flags: Flags, flows: u32) -> Pattern {
    let end = |text: &str| text.parse::<SocketAddr>().unwrap();
    tcp(macs, end(from), end(to), flags, flows)
}

/// All of them, in the order that they are reported in.
pub fn cases() -> Vec<Case> {
    let vip = "10.9.0.1:80";
    let plain = |flows| outside(CLIENT, vip, Flags::Ack, flows);
    let not_ours =
        |name, flags| Case::new(name, Target::Balance, outside(CLIENT, "10.9.0.1:22", flags, 0), PASS);
    let alone = |name, flows| {
        let case = Case::established(name, CLIENT, vip, flows);
        Case { balancer: Balancer::Alone(flows), ..case }
    };
    let mut cases = vec![
        Case::new("floor: restore the packet, XDP_TX", Target::Floor, plain(0), TRANSMIT),
        Case::new("floor, flows rotated", Target::Floor, plain(FLOWS[0]), TRANSMIT),
        Case::new("the memory alone, 65,536 flows", Target::Memory, plain(FLOWS[0]), TRANSMIT),
        Case::new("the memory alone, 524,288 flows", Target::Memory, plain(FLOWS[1]), TRANSMIT),
        Case::new("bare redirect", Target::Redirect, plain(0), REDIRECT),
        Case::established("established, IPv4, 1 flow", CLIENT, vip, 0),
        alone("established, IPv4, 65,536 flows", FLOWS[0]),
        alone("established, IPv4, 524,288 flows", FLOWS[1]),
        Case {
            pattern: packet(INSIDE, BACKEND, CLIENT, Flags::Ack, 0),
            interface: 1,
            ..Case::established("established, IPv4, replies, 1 flow", CLIENT, vip, 0)
        },
        Case::established("established, IPv6, 1 flow", CLIENT6, "[fd09::1]:80", 0),
        Case {
            pattern: packet(INSIDE, "[fd19::11]:80", CLIENT6, Flags::Ack, 0),
            interface: 1,
            ..Case::established("established, IPv6, replies, 1 flow", CLIENT6, "[fd09::1]:80", 0)
        },
        Case::established("established, full NAT, IPv4, 1 flow", CLIENT, "10.9.0.1:82", 0),
        not_ours("not ours: TCP to another port", Flags::Ack),
        not_ours("not ours: SYN to another port", Flags::Syn),
        Case::opening("new connection, wlc, 2 backends", "10.9.0.1:81", CONNECTIONS),
        Case::opening("new connection, wlc, 2 backends, full NAT", "10.9.0.1:82", CONNECTIONS),
    ];
    for (port, (scheduler, backends)) in (1000..).zip(schedulers()) {
        let name = format!("new connection, {scheduler} of {backends} backends");
        let case = Case::opening(&name, &format!("10.9.0.1:{port}"), FEW_CONNECTIONS);
        cases.push(Case { balancer: Balancer::Schedulers, ..case });
    }
    let among = [
        Case::established("established, 1 flow, among 10,000 services", CLIENT, vip, 0),
        Case::new(
            "not ours: SYN, among 10,000 services",
            Target::Balance,
            outside(CLIENT, "10.9.0.1:22", Flags::Syn, 0),
            PASS,
        ),
        Case::opening("new connection, among 10,000 services", "10.9.0.1:81", CONNECTIONS),
    ];
    cases.extend(among.map(|case| Case { balancer: Balancer::Services, ..case }));
    cases
}
