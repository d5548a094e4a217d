//! The short way does what the long way does, byte for byte, or nothing at all.

use etherparse::{NetHeaders, TransportHeader};
use lb_common::{
    address::Address,
    backend::{
        Backend, Member,
        method::{NAT, ROUTE},
        state,
    },
    connection::state::is_live,
    device::{Device, flags::REDIRECT},
    protocol,
    scheduler::{
        HASH_BUCKETS,
        Scheduler::{Rr, Sh, Wlc},
    },
    service::{Service, ServiceKey, flags::FULL_NAT},
    snat::ADDRESSES,
    stage::Stage,
    sysctl::Sysctl,
};
use lb_ebpf::{
    Next, Outcome, Reason, Route, Tables as _, accept,
    checksum::{fold, pseudo_header},
    go_on,
    host::{HostFrame, HostTables},
    long_way, send, shortcut,
};
use proptest::prelude::*;
use std::net::IpAddr;

const SYN: u8 = 2;
const ACK: u8 = 16;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

/// A way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nat,
    FullNat,
    Route,
}

impl Way {
    const ALL: [Self; 3] = [Self::Nat, Self::FullNat, Self::Route];

    fn method(self) -> u32 {
        if self == Self::Route { ROUTE } else { NAT }
    }
}

/// One service of each protocol with one backend behind it, and routes to both ends.
fn tables(v6: bool, way: Way) -> HostTables {
    let mut tables = HostTables::new(64, 2);
    let (client, vip, backend) = ends(v6);
    for (index, protocol) in [protocol::TCP, protocol::UDP].into_iter().enumerate() {
        let index = index as u32;
        let port = 8080u16.to_be();
        *tables.backends.at(index).unwrap() =
            Backend { address: backend, port, protocol, state: state::AVAILABLE, ..Backend::default() };
        tables.members.push(Member { backend: index, weight: 1, method: way.method(), ..Member::default() });
        let key = ServiceKey { address: vip, port: 80u16.to_be(), protocol, ..ServiceKey::default() };
        let scheduler = Rr as u8;
        let flags = if way == Way::FullNat { FULL_NAT } else { 0 };
        tables.services.insert(
            key,
            Service { key, id: index, first: index, count: 1, scheduler, flags, ..Service::default() },
        );
    }
    tables.settings.pool = [1; 2];
    *tables.sources.at(if v6 { ADDRESSES } else { 0 }).unwrap() = own(v6);
    for (end, interface) in [(client, 2), (backend, 3)] {
        let route = Route::Hop {
            interface,
            destination: [2, 0, 0, 0, 1, interface as u8],
            source: [2; 6],
            mtu: 1500,
            address: Address::UNSPECIFIED,
        };
        tables.routes.insert(end, route);
        tables.devices.insert(interface, Device { flags: REDIRECT, ..Device::default() });
    }
    tables.settings.services = 2;
    tables
}

fn ends(v6: bool) -> (Address, Address, Address) {
    match v6 {
        false => (address("10.0.0.9"), address("192.168.2.200"), address("192.168.33.111")),
        true => (address("fd00::9"), address("fd00:2::200"), address("fd00:33::111")),
    }
}

/// The balancer's own address.
fn own(v6: bool) -> Address {
    if v6 { address("fd00:33::100") } else { address("192.168.33.100") }
}

/// The port of it that the first connection gets: the same in all tables, because their random numbers are.
fn own_port(v6: bool, udp: bool) -> u16 {
    let tables = tables(v6, Way::FullNat);
    let mut frame = HostFrame::new(packet(v6, Way::Nat, udp, false, SYN, 0));
    long_way(&mut frame, &tables);
    u16::from_be(tables.connections.at(0).unwrap().source_port())
}

/// A packet of the client, or the reply that the balancer sees of a backend.
fn packet(v6: bool, way: Way, udp: bool, reply: bool, flags: u8, length: usize) -> Vec<u8> {
    use etherparse::PacketBuilder;
    let (client, vip, backend) = ends(v6);
    let (source, destination, ports) = match (reply, way) {
        (false, _) => (client, vip, (4000, 80)),
        (true, Way::Nat) => (backend, client, (8080, 4000)),
        (true, Way::FullNat) => (backend, own(v6), (8080, own_port(v6, udp))),
        (true, Way::Route) => (vip, client, (80, 4000)),
    };
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = match v6 {
        false => ethernet.ipv4(source.ipv4().to_ne_bytes(), destination.ipv4().to_ne_bytes(), 64),
        true => ethernet.ipv6(source.octets(), destination.octets(), 64),
    };
    let data = vec![0x5a; length];
    let mut bytes = Vec::new();
    if udp {
        ip.udp(ports.0, ports.1).write(&mut bytes, &data).unwrap();
    } else {
        let tcp = ip.tcp(ports.0, ports.1, 7, 1024);
        let tcp = if flags & SYN != 0 { tcp.syn() } else { tcp };
        let tcp = if flags & ACK != 0 { tcp.ack(9) } else { tcp };
        tcp.write(&mut bytes, &data).unwrap();
    }
    bytes
}

/// Leaves the checksum to the kernel, as a sender on the same machine does: the bare sum of the pseudo-header.
fn leave_open(bytes: &mut [u8], v6: bool, way: Way, udp: bool, reply: bool) {
    let (client, vip, backend) = ends(v6);
    let (source, destination) = match (reply, way) {
        (false, _) => (client, vip),
        (true, Way::Nat) => (backend, client),
        (true, Way::FullNat) => (backend, own(v6)),
        (true, Way::Route) => (vip, client),
    };
    let transport = if v6 { 54 } else { 34 };
    let (protocol, place) = if udp { (17, transport + 6) } else { (6, transport + 16) };
    let sum = pseudo_header(source, destination, protocol, (bytes.len() - transport) as u32);
    bytes[place..place + 2].copy_from_slice(&fold(sum).to_ne_bytes());
}

/// The first packet of another connection of the client's.
fn others(v6: bool, udp: bool) -> Vec<u8> {
    let mut bytes = packet(v6, Way::Nat, udp, false, SYN, 0);
    // The lower half of its port.
    bytes[if v6 { 55 } else { 35 }] ^= 1;
    bytes
}

/// Tables in which the connection stands, and the next hops of the packets that pass are known.
fn established(v6: bool, way: Way, udp: bool) -> HostTables {
    let tables = tables(v6, way);
    for (reply, flags) in [(false, SYN), (true, SYN | ACK), (false, ACK), (true, ACK)] {
        // Nothing of the backend is seen where it answers by itself.
        if reply && way == Way::Route {
            continue;
        }
        let mut frame = HostFrame::new(packet(v6, way, udp, reply, flags, 0));
        let outcome = long_way(&mut frame, &tables);
        assert_eq!(outcome.reason, Reason::Redirected);
    }
    tables
}

#[test]
fn an_established_connections_packets_take_the_short_way() {
    for (v6, way, udp, reply) in [
        (false, Way::Nat, false, false),
        (false, Way::Nat, false, true),
        (false, Way::Nat, true, false),
        (true, Way::Nat, false, true),
        (false, Way::FullNat, false, false),
        (false, Way::FullNat, false, true),
        (true, Way::FullNat, true, true),
        (true, Way::FullNat, false, false),
        (false, Way::Route, false, false),
        (true, Way::Route, true, false),
    ] {
        let mut frame = HostFrame::new(packet(v6, way, udp, reply, ACK, 100));
        let Next::End(outcome) = shortcut::handle(&mut frame, &established(v6, way, udp)) else {
            panic!("the short way");
        };
        assert_eq!((outcome.reason, outcome.detail), (Reason::Redirected, if reply { 2 } else { 3 }));
    }
}

#[test]
fn an_open_checksum_takes_the_last_stage_alone() {
    for (v6, udp, reply) in
        [(false, false, false), (false, false, true), (false, true, false), (true, false, true)]
    {
        let tables = established(v6, Way::Nat, udp);
        let mut bytes = packet(v6, Way::Nat, udp, reply, ACK, 700);
        leave_open(&mut bytes, v6, Way::Nat, udp, reply);
        let mut frame = HostFrame { partial: true, ..HostFrame::new(bytes) };
        let next = shortcut::handle(&mut frame, &tables);
        assert_eq!(next, Next::Stage(Stage::Send));
        let outcome = Outcome { reason: Reason::Redirected, detail: if reply { 2 } else { 3 } };
        assert_eq!(send(&mut frame, &tables, tables.packet().unwrap()), outcome);
        let headers = etherparse::PacketHeaders::from_ethernet_slice(&frame.bytes).unwrap();
        let (net, transport) = (headers.net.unwrap(), headers.transport.unwrap());
        let payload = headers.payload.slice();
        let (present, whole) = match (&net, &transport) {
            (NetHeaders::Ipv4(ip, _), TransportHeader::Tcp(tcp)) => {
                (tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap())
            }
            (NetHeaders::Ipv4(ip, _), TransportHeader::Udp(udp)) => {
                (udp.checksum, udp.calc_checksum_ipv4(ip, payload).unwrap())
            }
            (NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(tcp)) => {
                (tcp.checksum, tcp.calc_checksum_ipv6(ip, payload).unwrap())
            }
            _ => panic!("another packet"),
        };
        assert_eq!(present, whole);
    }
}

#[test]
fn a_plain_packet_that_opens_a_connection_goes_to_the_stage_that_makes_it() {
    for (v6, udp) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut frame = HostFrame::new(packet(v6, Way::Nat, udp, false, SYN, 0));
        let next = shortcut::handle(&mut frame, &tables(v6, Way::Nat));
        assert_eq!(next, Next::Stage(if v6 || udp { Stage::Open } else { Stage::Accept }));
    }
    // A service that asks for more.
    let mut frame = HostFrame::new(packet(false, Way::FullNat, false, false, SYN, 0));
    assert_eq!(shortcut::handle(&mut frame, &tables(false, Way::FullNat)), Next::Stage(Stage::Open));
}

#[test]
fn a_plain_syn_is_sent_at_once_where_another_has_been() {
    let tables = tables(false, Way::Nat);
    long_way(&mut HostFrame::new(others(false, false)), &tables);
    let mut frame = HostFrame::new(packet(false, Way::Nat, false, false, SYN, 0));
    assert_eq!(shortcut::handle(&mut frame, &tables), Next::Stage(Stage::Accept));
    let next = accept(&mut frame, &tables, tables.packet().unwrap());
    assert_eq!(next, Next::End(Outcome { reason: Reason::Redirected, detail: 3 }));
}

#[test]
fn where_a_key_led_counts_until_the_services_change() {
    let mut tables = tables(false, Way::Nat);
    let mut services = std::mem::take(&mut tables.services);
    let next = |tables: &HostTables| {
        shortcut::handle(&mut HostFrame::new(packet(false, Way::Nat, false, false, SYN, 0)), tables)
    };
    let foreign = Next::End(Outcome::of(Reason::NotBalanced));
    assert_eq!(next(&tables), foreign);
    std::mem::swap(&mut tables.services, &mut services);
    assert_eq!(next(&tables), foreign, "it was no service's");
    // While they change, and after that.
    for version in [1, 2] {
        tables.settings.version = version;
        assert_eq!(next(&tables), Next::Stage(Stage::Accept));
    }
    std::mem::swap(&mut tables.services, &mut services);
    for version in [3, 4] {
        tables.settings.version = version;
        assert_eq!(next(&tables), foreign);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whole packets, and packets with a byte changed anywhere in their headers.
    #[test]
    fn both_ways_agree(
        v6: bool, way in prop::sample::select(&Way::ALL[..]), udp: bool, reply: bool, flags in 0u8..32, length in 0usize..1600,
        partial: bool, is_open: bool, at in 0usize..74, byte: u8, mutate: bool, later in 0u32..60, old: bool, is_new: bool, is_other: bool,
        catch_all in 0u32..2, unasked in 0u32..2, marks in 0u32..2, scheduler in prop::sample::select(&[Rr, Wlc, Sh][..]),
    ) {
        let mut bytes = packet(v6, way, udp, reply, flags, length);
        if is_open {
            leave_open(&mut bytes, v6, way, udp, reply);
        }
        if mutate && at < bytes.len() {
            bytes[at] = byte;
        }
        let of = || {
            let mut tables = if is_new { tables(v6, way) } else { established(v6, way, udp) };
            if is_other {
                long_way(&mut HostFrame::new(others(v6, udp)), &tables);
            }
            // Within the connection's time, or after it.
            tables.now.set(tables.now.get() + if old { later * 2_000 } else { later });
            tables.settings.catch_all = catch_all;
            tables.settings.sysctls[Sysctl::NatIcmpSend as usize] = unasked;
            tables.settings.marks = [marks; 2];
            tables.services.values_mut().for_each(|service| service.scheduler = scheduler as u8);
            tables.lookup = vec![0; HASH_BUCKETS as usize];
            tables
        };
        let (short_tables, long_tables) = (of(), of());
        let mut short = HostFrame { partial, ..HostFrame::new(bytes.clone()) };
        let outcome = match shortcut::handle(&mut short, &short_tables) {
            Next::End(outcome) => outcome,
            next => {
                prop_assert_eq!(&short.bytes, &bytes, "it gave up, but changed the packet");
                go_on(&mut short, &short_tables, next)
            }
        };
        let mut long = HostFrame { partial, ..HostFrame::new(bytes) };
        prop_assert_eq!(outcome, long_way(&mut long, &long_tables));
        prop_assert_eq!(short.bytes, long.bytes);
        let live = |tables: &HostTables| {
            let slots = (0..64).map(|slot| *tables.connections.at(slot).unwrap());
            slots.filter(|connection| is_live(connection.word)).collect::<Vec<_>>()
        };
        prop_assert_eq!(live(&short_tables), live(&long_tables));
        for backend in 0..2 {
            prop_assert_eq!(*short_tables.backends.at(backend).unwrap(), *long_tables.backends.at(backend).unwrap());
            prop_assert_eq!(*short_tables.traffic.at(backend).unwrap(), *long_tables.traffic.at(backend).unwrap());
        }
    }
}
