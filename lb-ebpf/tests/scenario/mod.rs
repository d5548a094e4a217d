//! The behaviour of the packet path as one table, run in memory (`tests/scenarios.rs`) and in the
//! kernel (`lb-ctl/tests/packets.rs`).

#![allow(
    dead_code,
    missing_docs,
    reason = "two test binaries use a part of it each; names say what things are"
)]

pub mod associations;
pub mod check;
pub mod errors;
pub mod flows;
pub mod frames;
pub mod full_nat;
pub mod matrix;
pub mod methods;
pub mod persistence;
pub mod shapes;
pub mod tunnels;
pub mod world;

use frames::Packet;
use lb_common::{
    address::Address, backend::method, device::flags::REDIRECT, reason::Reason, sysctl::Sysctl,
    tunnel::Tunnel,
};
pub use world::World;

/// The two interfaces and their neighbours.
pub const OUTSIDE: u32 = 11;
pub const INSIDE: u32 = 13;
pub const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0b];
pub const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0d];
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
pub const WEB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x6f];
pub const MTU: u16 = 1500;
/// The balancer's own, inside.
pub const ADDRESSES: [&str; 2] = ["192.168.33.100:0", "[2001:db8:33::100]:0"];

/// One family's addresses.
pub struct Ends {
    pub client: &'static str,
    pub vip: &'static str,
    pub web: &'static str,
    /// The second backend, where there are two.
    pub other: &'static str,
    /// A backend whose neighbour is not known.
    pub silent: &'static str,
    /// A backend to which there is no route.
    pub lost: &'static str,
    pub router: &'static str,
    /// What backends see by full NAT: the one port that the pool has left.
    pub source: &'static str,
}

pub const V4: Ends = Ends {
    client: "192.168.2.10:40000",
    vip: "192.168.2.200:80",
    web: "192.168.33.111:8080",
    other: "192.168.33.112:8080",
    silent: "192.168.33.113:8080",
    lost: "203.0.113.9:8080",
    router: "192.168.2.1:0",
    source: "192.168.33.100:34567",
};
pub const V6: Ends = Ends {
    client: "[2001:db8:2::10]:40000",
    vip: "[2001:db8:2::200]:80",
    web: "[2001:db8:33::111]:8080",
    other: "[2001:db8:33::112]:8080",
    silent: "[2001:db8:33::113]:8080",
    lost: "[2001:db8:99::9]:8080",
    router: "[2001:db8:2::1]:0",
    source: "[2001:db8:33::100]:34567",
};
pub const BOTH: [&Ends; 2] = [&V4, &V6];

/// Which backend the services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Web {
    There,
    Nobody,
    Silent,
    Lost,
    /// One of the other family.
    Across,
}

/// What full NAT has left for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    AllPorts,
    /// [`Ends::source`] towards each backend.
    OnePort,
    /// An address with no port.
    NoPort,
    NoAddress,
}

/// One packet, and what must become of it.
#[derive(Clone, Debug)]
pub struct Step {
    pub frame: Vec<u8>,
    pub interface: u32,
    pub reason: Reason,
    /// The frame afterwards; `None` where it is dropped.
    pub out: Option<Vec<u8>>,
    /// Offsets in it of bytes that may be anything.
    pub free: Vec<usize>,
    pub before: Before,
    /// The firewall mark that the kernel keeps with the packet, where it does (tc).
    pub mark: u32,
}

/// What an admin does before a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// The newest backend of each service gets weight 0.
    Quiesce,
    /// It is removed.
    Remove,
}

impl Step {
    /// Whether this is what must become of it.
    pub fn is_out(&self, bytes: &[u8]) -> bool {
        let Some(out) = &self.out else { return true };
        out.len() == bytes.len() && (0..out.len()).all(|at| out[at] == bytes[at] || self.free.contains(&at))
    }
}

/// A behaviour.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub web: Web,
    /// How its packets reach it.
    pub method: u32,
    pub tunnel: Tunnel,
    /// Instead of UDP.
    pub sctp: bool,
    /// On the service's side and the backend's, instead of theirs; 0 for none.
    pub port: u16,
    pub services: bool,
    /// Whether the services are those of firewall marks, which rules give where the kernel does not.
    pub marked: bool,
    /// Whether each service has two backends, the other one being the newer.
    pub two: bool,
    /// Seconds of persistence.
    pub persistence: u32,
    pub mask: Address,
    /// [`lb_common::service::engine`].
    pub engine: u8,
    /// [`lb_common::service::flags`].
    pub flags: u8,
    /// For services by full NAT.
    pub pool: Pool,
    /// Ports of the services and of the backends, where they are not those of [`Ends`].
    pub ports: Option<(u16, u16)>,
    pub sysctls: &'static [(Sysctl, u32)],
    /// [`lb_common::settings::defense`]: in force, as the sweep says.
    pub defense: u32,
    pub generic: bool,
    pub partial: bool,
    pub devices: u32,
    /// Slots of the connection table.
    pub connections: u32,
    pub steps: Vec<Step>,
}

impl Scenario {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            web: Web::There,
            method: method::NAT,
            tunnel: Tunnel::default(),
            sctp: false,
            port: 0,
            services: true,
            marked: false,
            two: false,
            persistence: 0,
            mask: Address::ALL,
            engine: 0,
            flags: 0,
            pool: Pool::OnePort,
            ports: None,
            sysctls: &[],
            defense: 0,
            generic: false,
            partial: false,
            devices: REDIRECT,
            connections: 64,
            steps: Vec::new(),
        }
    }

    /// A packet from outside.
    pub fn client_sends(self, packet: Packet, reason: Reason, out: Option<Vec<u8>>) -> Self {
        self.bytes(packet.link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE, reason, out)
    }

    /// A packet from inside.
    pub fn web_sends(self, packet: Packet, reason: Reason, out: Option<Vec<u8>>) -> Self {
        self.bytes(packet.link(INSIDE_MAC, WEB_MAC).frame(), INSIDE, reason, out)
    }

    pub fn bytes(mut self, frame: Vec<u8>, interface: u32, reason: Reason, out: Option<Vec<u8>>) -> Self {
        self.steps.push(Step {
            frame,
            interface,
            reason,
            out,
            free: Vec::new(),
            before: Before::Nothing,
            mark: 0,
        });
        self
    }

    /// In the last packet that was added, what may be anything.
    pub fn but_for(mut self, places: &[std::ops::Range<usize>]) -> Self {
        self.steps.last_mut().unwrap().free = places.iter().cloned().flatten().collect();
        self
    }

    /// The firewall mark of the last packet.
    pub fn marked(mut self, mark: u32) -> Self {
        self.steps.last_mut().unwrap().mark = mark;
        self
    }

    /// What an admin does before the last packet.
    pub fn after(mut self, before: Before) -> Self {
        self.steps.last_mut().unwrap().before = before;
        self
    }

    /// A frame from outside that must pass unchanged.
    pub fn passes(self, frame: Vec<u8>, reason: Reason) -> Self {
        let out = Some(frame.clone());
        self.bytes(frame, OUTSIDE, reason, out)
    }

    /// A packet from outside that must pass unchanged.
    pub fn client_passes(self, packet: Packet, reason: Reason) -> Self {
        self.passes(packet.link(OUTSIDE_MAC, CLIENT_MAC).frame(), reason)
    }

    /// Opens a connection over TCP.
    pub fn open(self, ends: &Ends) -> Self {
        let opened = to_web(frames::tcp(ends.client, ends.web, SYN));
        self.client_sends(frames::tcp(ends.client, ends.vip, SYN), Reason::Redirected, opened)
    }

    /// Opens a connection over UDP.
    pub fn open_udp(self, ends: &Ends) -> Self {
        let opened = to_web(frames::udp(ends.client, ends.web));
        self.client_sends(frames::udp(ends.client, ends.vip), Reason::Redirected, opened)
    }
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// As it leaves for the backend: one TTL less.
pub fn to_web(packet: Packet) -> Option<Vec<u8>> {
    let ttl = packet.ttl - 1;
    Some(packet.ttl(ttl).link(WEB_MAC, INSIDE_MAC).frame())
}

/// As it leaves for the client: one TTL less.
pub fn to_client(packet: Packet) -> Option<Vec<u8>> {
    let ttl = packet.ttl - 1;
    Some(packet.ttl(ttl).link(CLIENT_MAC, OUTSIDE_MAC).frame())
}

/// As it is left to the kernel when it came from outside.
pub fn kept(packet: Packet) -> Option<Vec<u8>> {
    Some(packet.link(OUTSIDE_MAC, CLIENT_MAC).frame())
}

/// As it goes back to the client whose packet it answers.
pub fn back(packet: Packet) -> Option<Vec<u8>> {
    Some(packet.link(CLIENT_MAC, OUTSIDE_MAC).frame())
}

/// Every behaviour.
pub fn all() -> Vec<Scenario> {
    [matrix::all(), but_matrix()].concat()
}

/// Those that are no two alike but for the method and the protocol.
pub fn but_matrix() -> Vec<Scenario> {
    let all = [flows::all(), shapes::all(), errors::all(), methods::all(), tunnels::all()];
    [all.concat(), associations::all(), persistence::all(), full_nat::all()].concat()
}
