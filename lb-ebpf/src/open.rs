//! A packet without a connection: whose is it, may it start one, and which backend gets it?

use crate::{
    Frame, Reason, Steps, Tables,
    packet::{Flow, Packet, bits},
    persistence::FTP,
    schedule,
    state::sctp::Event,
    wire::tcp::flags::{RST, SYN},
};
use core::hint::black_box;
use lb_common::{
    address::Address,
    backend::{Backend, ServerKey},
    memo::{self, Memo},
    protocol,
    service::{
        ServiceKey, engine,
        flags::{FULL_NAT, ONE_PACKET, TOA},
    },
    settings::{Settings, defense},
    sysctl::Sysctl,
};

/// Where a new connection goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The member that it goes to: its place in the map of member lists.
    pub member: u32,
    /// Slot of the template that controls it, from 1; 0 is none. It is held until the connection ends.
    pub template: u32,
    /// Of [`how`].
    pub how: u32,
    /// What [`crate::snat::take`] took for it; 0 is nothing.
    pub source: u32,
}

impl Choice {
    /// The port that a packet gets at a backend, network order, and whether that is the packet's own.
    #[inline(always)]
    pub fn port(&self, backend: &Backend, packet: &Packet) -> (u16, bool) {
        let is_any = backend.port == 0 || self.how & how::ANY_PORT != 0;
        (if is_any { packet.flow.destination_port } else { backend.port }, is_any)
    }
}

/// What is special about a new connection.
pub mod how {
    /// It lives for one datagram (`-o`).
    pub const ONE_PACKET: u32 = 1;
    /// It keeps its port, because its service is for more ports than one.
    pub const ANY_PORT: u32 = 2;
    /// Its backend sees an address of the balancer as the client (`--fullnat`).
    pub const FULL_NAT: u32 = 4;
    /// Its backend is told the client's address (`--toa`).
    pub const TOLD: u32 = 8;
    /// Another balancer has held it: no packet opens it.
    pub const ADOPTED: u32 = 16;
}

/// FTP's data port, network order.
pub const FTP_DATA: u16 = 20_u16.to_be();
/// Ports below are not FTP's to choose for data.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Where a packet's new connection goes, if the packet belongs to a service.
#[inline(always)]
pub fn schedule<F: Frame, T: Steps>(frame: &F, tables: &T, packet: &Packet) -> Result<Choice, Reason> {
    let flow = &packet.flow;
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let service = tables.record(packet.service).ok_or(Reason::NotBalanced)?;
    let is_own_port = service.key.mark != 0 || service.key.port == flow.destination_port;
    // A backend's data connection to an FTP client; and FTP's service takes others for its clients alone.
    if flow.source_port == FTP_DATA || !is_own_port && service.persistence == 0 {
        return Err(Reason::NotBalanced);
    }
    if settings.defense & defense::DROP_PACKET != 0 && is_unlucky(tables, settings) {
        return Err(Reason::DropPacket);
    }
    let (mut how, mut call) = (0, 0);
    if service.flags & ONE_PACKET != 0 && flow.protocol as u8 == protocol::UDP {
        how |= how::ONE_PACKET;
    } else if service.flags & FULL_NAT != 0 {
        how |= how::FULL_NAT;
        if service.flags & TOA != 0 && flow.protocol as u8 == protocol::TCP {
            how |= how::TOLD;
        }
    }
    if service.persistence != 0 {
        if service.key.port != flow.destination_port {
            how |= how::ANY_PORT;
        }
        if service.engine == engine::SIP {
            call = tables.call(frame, packet)?;
        }
        let followed = tables.follow(packet, call)?;
        if followed.template != 0 {
            return Ok(Choice { how, ..followed });
        }
    }
    match schedule::choose(tables, service, flow) {
        Some(member) => {
            let template = if service.persistence == 0 { 0 } else { tables.begin(packet, call, member)? };
            Ok(Choice { member, template, how, source: 0 })
        }
        // As `ip_vs_leave` does: the port may be the host's.
        None if !is_own_port && service.key.port == FTP => Err(Reason::NotBalanced),
        None if service.key.mark != 0 && settings.sysctl(Sysctl::CacheBypass) != 0 => Err(Reason::Bypassed),
        None => Err(Reason::NoBackend),
    }
}

/// Where the record of the service lies that a client's packet is for: that of its firewall mark, else that of
/// its port, else FTP's, else that of all ports (`ip_vs_service_find`).
#[inline(always)]
pub fn service<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> Option<u32> {
    if packet.mark != 0
        && let Some(service) = tables.service(settings, &ServiceKey::of_mark(packet.mark, packet.is_ipv4()))
    {
        return Some(service);
    }
    let flow = &packet.flow;
    let mut key = key(flow);
    if let Some(service) = tables.service(settings, &key) {
        return Some(service);
    }
    if settings.catch_all == 0 {
        return None;
    }
    let port = u16::from_be(flow.destination_port);
    if flow.protocol as u8 == protocol::TCP
        && (flow.destination_port == FTP_DATA || port >= FIRST_UNPRIVILEGED)
    {
        key.port = FTP;
        if let Some(service) = tables.service(settings, &key) {
            return Some(service);
        }
    }
    key.port = 0;
    tables.service(settings, &key)
}

/// Where the record of a key's service lies, as this CPU remembers it, or looks it up and remembers it.
#[inline(always)]
pub fn remembered<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> Option<u32> {
    // Read once.
    let version = black_box(settings.version);
    let memo = tables.memo(memo::place(key))?;
    if memo.version == version && memo.key == *key {
        return memo.record.checked_sub(1);
    }
    // A barrier: what is found is at least as new.
    tables.add32(&mut memo.version, 0);
    let found = tables.service(settings, key);
    if version & 1 == 0 {
        *memo = Memo { key: *key, record: found.map_or(0, |record| record + 1), version };
    }
    found
}

/// The key of the service for exactly this address and port.
#[inline(always)]
pub fn key(flow: &Flow) -> ServiceKey {
    ServiceKey {
        address: flow.destination,
        mark: 0,
        port: flow.destination_port,
        protocol: flow.protocol as u8,
        bank: 0,
    }
}

/// Whether a packet without a connection may start one: anything but TCP without SYN
/// (`tcp_conn_schedule`), SCTP without INIT (`sctp_conn_schedule`), AH and ESP. With `sloppy_tcp` anything
/// but RST may, with `sloppy_sctp` anything. Of what an ICMP error quotes only the ports are known, and they do.
#[inline(always)]
pub fn may_open(settings: &Settings, packet: &Packet) -> bool {
    match packet.flow.protocol as u8 {
        _ if packet.is_quoted() => true,
        protocol::TCP => {
            let needed = if settings.sysctl(Sysctl::SloppyTcp) != 0 { 0 } else { SYN };
            packet.tcp_flags & (needed | RST) == needed
        }
        protocol::SCTP => packet.chunk == Event::Init as u8 || settings.sysctl(Sysctl::SloppySctp) != 0,
        _ => packet.bits & bits::FOLLOWS == 0,
    }
}

/// Why a packet that belongs to no connection and may start none goes where it goes. IPVS drops all such
/// SCTP; here what is no service's is the host's.
#[inline(always)]
pub fn unopened<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> Reason {
    match packet.flow.protocol as u8 {
        protocol::TCP => Reason::MidStream,
        protocol::SCTP if tables.service(settings, &key(&packet.flow)).is_some() => Reason::Unassociated,
        _ => Reason::NotBalanced,
    }
}

/// Why a packet that might open a connection, but of no service, goes where it goes.
#[inline(always)]
pub fn unserved(packet: &Packet) -> Reason {
    if packet.is_quoted() { Reason::IcmpToHost } else { Reason::NotBalanced }
}

/// In the place of a service: there is none, and the packet is answered. See [`is_unasked`].
pub const UNASKED: u32 = u32::MAX;

/// Whether a packet without a connection comes from where a server answers by NAT, and is to be answered
/// (`ip_vs_out`, `nat_icmp_send`): not what says itself that there is no connection.
#[inline(always)]
pub fn is_unasked<T: Tables>(tables: &T, settings: &Settings, packet: &Packet) -> bool {
    if settings.sysctl(Sysctl::NatIcmpSend) == 0 || packet.is_quoted() {
        return false;
    }
    let flow = &packet.flow;
    let protocol = flow.protocol as u8;
    let is_asked = match protocol {
        protocol::TCP => packet.tcp_flags & RST == 0,
        protocol::UDP => true,
        protocol::SCTP => packet.chunk != Event::Abort as u8,
        _ => false,
    };
    let mut key = ServerKey { address: flow.source, port: flow.source_port, protocol, reserved: [0; 5] };
    if !is_asked {
        return false;
    }
    if tables.is_server(&key) {
        return true;
    }
    key.protocol = 0;
    tables.is_server(&key)
}

/// Gives the answer to such a packet the name of this host, which routes it, not that of whom it was sent to.
#[inline(always)]
pub fn answer_in_own_name<T: Tables>(tables: &T, packet: &mut Packet) {
    let own = tables
        .device(packet.interface)
        .map_or(Address::UNSPECIFIED, |device| device.source(packet.is_ipv4()));
    if own != Address::UNSPECIFIED {
        packet.flow.destination = own;
    }
}

/// Whether `drop_packet` takes this one (`ip_vs_todrop`), which counts and does not draw lots.
#[inline(always)]
fn is_unlucky<T: Tables>(tables: &T, settings: &Settings) -> bool {
    let rate = settings.sysctl(Sysctl::AmDroprate);
    rate <= 1 || tables.random().is_multiple_of(rate)
}
