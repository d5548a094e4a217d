//! The scenarios in memory, and what must hold for every packet.

mod ports;
mod races;
mod replies;
#[path = "../scenario/mod.rs"]
mod scenario;
mod silence;

use lb_common::{
    address::Address,
    backend::{Member, method::TUNNEL, state::REMOVED},
    connection::state,
    device::Device,
    mark::Rule,
    reason::Verdict,
    service::{Service, ServiceKey, flags::FULL_NAT},
    settings::{Settings, Table, defense::DROP_ENTRY},
    snat::{ADDRESSES, Ports, PortsKey},
    sysctl::Sysctl,
    tunnel::Tunnel,
};
use lb_ebpf::{
    Outcome, Reason, Route, Tables as _, handle,
    host::{HostFrame, HostTables},
    mark::compile,
    open,
    packet::Flow,
    sweep,
};
use ports::taken;
use proptest::prelude::*;
use scenario::{
    ACK, BOTH, Before, CLIENT_MAC, FIN, INSIDE, INSIDE_MAC, MTU, OUTSIDE, OUTSIDE_MAC, Pool, RST, SYN,
    Scenario, V4, V6, WEB_MAC, Web, World,
    check::checksums,
    frames::{Packet, crc32c, sctp, tcp, udp},
};
use std::{
    cell::{RefCell, UnsafeCell},
    net::SocketAddr,
};

fn address(text: &str) -> Address {
    text.parse::<SocketAddr>().unwrap().ip().into()
}

fn tables(scenario: &Scenario, connections: u32) -> HostTables {
    let world = scenario.world();
    let mut tables = HostTables::new(connections, world.backends.len() as u32);
    install(&mut tables, &world);
    tables.settings.connections = connections;
    for interface in [OUTSIDE, INSIDE] {
        tables.devices.insert(
            interface,
            Device {
                flags: scenario.devices,
                addresses: scenario::ADDRESSES.map(address),
                ..Device::default()
            },
        );
    }
    for ends in BOTH {
        let to = |interface, destination, source| Route::Hop {
            interface,
            destination,
            source,
            mtu: MTU,
            address: Address::UNSPECIFIED,
        };
        tables.routes.insert(address(ends.web), to(INSIDE, WEB_MAC, INSIDE_MAC));
        tables.routes.insert(address(ends.other), to(INSIDE, WEB_MAC, INSIDE_MAC));
        tables.routes.insert(address(ends.client), to(OUTSIDE, CLIENT_MAC, OUTSIDE_MAC));
        tables.routes.insert(
            address(ends.silent),
            Route::NoNeighbour { interface: INSIDE, address: Address::UNSPECIFIED },
        );
    }
    tables
}

fn install(tables: &mut HostTables, world: &World) {
    for (index, (backend, places)) in (0..).zip(world.backends.iter().zip(world.places())) {
        *tables.backends.at(index).unwrap() = *backend;
        *tables.places.at(index).unwrap() = places;
    }
    tables.members.clone_from(&world.members);
    tables.settings = world.settings;
    tables.marks = compile(&world.rules, 1, 0).unwrap();
    for (place, address) in [0, ADDRESSES].into_iter().zip(world.pool) {
        *tables.sources.at(place).unwrap() = address;
    }
    tables.ports = RefCell::new(
        world.ports.iter().map(|(key, ports)| (*key, Box::new(UnsafeCell::new(*ports)))).collect(),
    );
    tables.servers = world.servers.iter().copied().collect();
    tables.services = world.services.iter().map(|service| (service.key, *service)).collect();
}

fn run(tables: &HostTables, bytes: Vec<u8>, interface: u32) -> (Outcome, Vec<u8>) {
    let mut frame = HostFrame { interface, ..HostFrame::new(bytes) };
    let outcome = handle(&mut frame, tables);
    (outcome, frame.bytes)
}

#[test]
fn every_scenario_ends_as_it_says() {
    let mut failed = Vec::new();
    let all = scenario::all();
    // Marks come by rules, and with the packets.
    let by_packet = all.iter().filter(|scenario| scenario.marked).map(|scenario| (scenario, true));
    for (scenario, by_packet) in all.iter().map(|scenario| (scenario, false)).chain(by_packet) {
        let mut tables = tables(scenario, scenario.connections);
        if by_packet {
            tables.settings.marks = [0; 2];
        }
        for (number, step) in scenario.steps.iter().enumerate() {
            if step.before != Before::Nothing {
                let mut world = scenario.world();
                world.apply(step.before);
                tables.members = world.members;
                for (index, backend) in (0..).zip(world.backends) {
                    tables.backends.at(index).unwrap().state = backend.state;
                }
            }
            let (generic, partial) = (scenario.generic, scenario.partial);
            let bytes = step.frame.clone();
            let mark = if by_packet { step.mark } else { 0 };
            let mut frame = HostFrame { bytes, interface: step.interface, mark, generic, partial };
            let outcome = handle(&mut frame, &tables);
            let as_said = step.is_out(&frame.bytes);
            if outcome.reason != step.reason || !as_said {
                failed.push(format!(
                    "{}, packet {number}: {:?} instead of {:?}\n in  {:02x?}\n out {:02x?}\n for {:02x?}",
                    scenario.name, outcome.reason, step.reason, step.frame, frame.bytes, step.out
                ));
            }
            if !partial && step.out.is_some() && checksums(&step.frame) == Some(true) {
                assert_ne!(checksums(&frame.bytes), Some(false), "{}", scenario.name);
            }
        }
    }
    assert!(failed.is_empty(), "{} steps\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_sweep_ends_what_has_lost_its_backend() {
    for (value, left) in [(0, 1), (1, 0)] {
        let mut tables = tables(&Scenario::new(PLAIN), 64);
        tables.settings.sysctls[Sysctl::ExpireNodestConn as usize] = value;
        run(&tables, tcp(V4.client, V4.vip, SYN).link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE);
        tables.backends.at(0).unwrap().state = REMOVED;
        (0..32).for_each(|slot| _ = sweep::visit(&tables, slot, tables.now.get()));
        let live = (0..32).filter(|slot| state::is_live(tables.connections.at(*slot).unwrap().word));
        assert_eq!(live.count(), left);
    }
}

#[test]
fn defences_are_in_force_when_their_value_says_so() {
    let mut settings = Settings::new(1_000_000, [0; 2]);
    for (value, low, high) in [(0, 0, 0), (1, DROP_ENTRY, 0), (2, DROP_ENTRY, 0), (3, DROP_ENTRY, DROP_ENTRY)]
    {
        settings.sysctls[Sysctl::DropEntry as usize] = value;
        let at = |live| sweep::defense(&settings, &Table { live, ..Table::default() });
        // Below 1,024 pages of 32 slots it is nearly full.
        assert_eq!((at(1_000_000 - 32_767), at(1_000_000 - 32_768)), (low, high), "{value}");
    }
    let mut small = Settings { connections: 800, ..settings };
    small.sysctls[Sysctl::DropEntry as usize] = 1;
    let at = |live| sweep::defense(&small, &Table { live, ..Table::default() });
    assert_eq!((at(701), at(700)), (DROP_ENTRY, 0), "at most an eighth of the table");
}

#[test]
fn less_than_an_ethernet_header_passes() {
    let tables = tables(&Scenario::new(PLAIN), 64);
    for length in 0..14 {
        let outcome = run(&tables, vec![0; length], OUTSIDE).0;
        assert_eq!(outcome, Outcome::of(Reason::TruncatedEthernet));
    }
}

const PLAIN: &str = "any scenario with a backend";

/// A client's packet, and the same packet as it must be after it was rewritten there and back.
fn segment(family: usize, port: u16, is_tcp: bool, flags: u8, data: Vec<u8>) -> (Packet, Packet) {
    let ends = BOTH[family];
    let mut client: SocketAddr = ends.client.parse().unwrap();
    client.set_port(port);
    let client = client.to_string();
    let make = |from: &str, to: &str| {
        let packet = if is_tcp { tcp(from, to, flags) } else { udp(from, to) };
        packet.data(data.clone())
    };
    (make(&client, ends.vip), make(ends.web, &client))
}

/// The bytes from the addresses on: everything that NAT may put back but TTL and link addresses.
fn below_ttl(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame[12..].to_vec();
    match frame[12] {
        // IPv4: TTL and header checksum.
        8 => bytes[2 + 8] = 0,
        _ => bytes[2 + 7] = 0,
    }
    if frame[12] == 8 {
        bytes[2 + 10..2 + 12].fill(0);
    }
    bytes
}

/// Ports of clients. What comes from FTP's data port, 20, opens no connection.
const OPENING: std::ops::RangeFrom<u16> = 21..;

proptest! {
    #[test]
    fn checksums_stay_right_and_replies_come_from_the_service(
        family in 0usize..2, port in OPENING, is_tcp: bool,
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let tables = tables(&Scenario::new(PLAIN), 64);
        let (forward, reply) = segment(family, port, is_tcp, SYN, data.clone());
        let (outcome, out) = run(&tables, forward.link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE);
        prop_assert_eq!(outcome, Outcome { reason: Reason::Redirected, detail: INSIDE });
        prop_assert_eq!(checksums(&out), Some(true));
        let (outcome, out) = run(&tables, reply.clone().link(INSIDE_MAC, WEB_MAC).frame(), INSIDE);
        prop_assert_eq!(outcome, Outcome { reason: Reason::Redirected, detail: OUTSIDE });
        prop_assert_eq!(checksums(&out), Some(true));
        // From the service, with every byte that NAT has no business with as it was.
        let mut expected = reply;
        expected.source = BOTH[family].vip.parse::<SocketAddr>().unwrap().ip();
        if let scenario::frames::Payload::Tcp { source, .. } | scenario::frames::Payload::Udp { source, .. } = &mut expected.payload {
            *source = 80;
        }
        prop_assert_eq!(below_ttl(&out), below_ttl(&expected.frame()));
    }

    #[test]
    fn arbitrary_bytes_pass_unchanged(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), ethertype in 0usize..4, ip in 0u8..16,
    ) {
        let tables = tables(&Scenario::new(PLAIN), 64);
        if bytes.len() > 15 && ethertype > 0 {
            bytes[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd], [0x81, 0]][ethertype - 1]);
            bytes[0] &= 0xfe;
            bytes[14] = [0x45, 0x60][usize::from(ethertype == 2)] | ip;
        }
        let (outcome, out) = run(&tables, bytes.clone(), OUTSIDE);
        prop_assert_eq!(outcome.reason.verdict(), Verdict::Pass);
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn connections_are_counted_as_they_are(
        is_full: bool,
        events in prop::collection::vec((0usize..2, 1u16..40, any::<bool>(), 0usize..5, any::<bool>(), 0u32..4_000), 1..300),
    ) {
        let flags = if is_full { FULL_NAT } else { 0 };
        let tables = tables(&Scenario { flags, pool: Pool::AllPorts, ..Scenario::new(PLAIN) }, 32);
        for (family, port, is_tcp, flags, is_reply, pause) in events {
            let flags = [SYN, ACK, FIN | ACK, RST, SYN | ACK][flags];
            let (forward, reply) = segment(family, port, is_tcp, flags, Vec::new());
            match is_reply {
                true => run(&tables, reply.link(INSIDE_MAC, WEB_MAC).frame(), INSIDE),
                false => run(&tables, forward.link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE),
            };
            tables.now.set(tables.now.get() + pause);
            (0..32).for_each(|slot| _ = sweep::visit(&tables, slot, tables.now.get()));
            prop_assert_eq!(counted(&tables), live(&tables));
            let all: u32 = live(&tables).iter().map(|(active, inactive)| active + inactive).sum();
            prop_assert_eq!(taken(&tables), (all * u32::from(is_full)).into());
        }
        tables.now.set(tables.now.get() + 100_000);
        for _ in 0..3 {
            (0..32).for_each(|slot| _ = sweep::visit(&tables, slot, tables.now.get()));
        }
        prop_assert_eq!((counted(&tables), live(&tables)), ([(0, 0); 4], [(0, 0); 4]));
        prop_assert_eq!(taken(&tables), 0);
        prop_assert_eq!(tables.free.borrow().len() as u32, tables.used.get().min(32));
    }
}

/// Active and inactive connections of each backend, as it counts them.
fn counted(tables: &HostTables) -> [(u32, u32); 4] {
    std::array::from_fn(|index| {
        let backend = tables.backends.at(index as u32).unwrap();
        (backend.active(), backend.inactive())
    })
}

/// The same, counted in the table.
fn live(tables: &HostTables) -> [(u32, u32); 4] {
    let mut counts = [(0, 0); 4];
    for connection in (0..32).map(|slot| tables.connections.at(slot).unwrap()) {
        if state::is_live(connection.word) {
            let count = &mut counts[connection.backend_index as usize];
            if state::is_active(connection.state()) { count.0 += 1 } else { count.1 += 1 }
        }
    }
    counts
}

#[test]
fn a_flow_stays_with_its_backend() {
    let mut tables = tables(&Scenario::new(PLAIN), 64);
    // A second backend for the first service: round robin would take it for the next packet.
    let extra = tables.members.len() as u32;
    let other: SocketAddr = BOTH[0].silent.parse().unwrap();
    tables.backends.at(3).unwrap().address = other.ip().into();
    let pair = [0, 3].map(|backend| Member { backend, weight: 1, last_weight: 1, ..Member::default() });
    tables.members.extend(pair);
    for service in tables.services.values_mut() {
        (service.first, service.count) = (extra, 2);
    }
    let mut seen = std::collections::HashSet::new();
    for port in 1..20 {
        let frame = |flags| segment(0, port, true, flags, Vec::new()).0.link(OUTSIDE_MAC, CLIENT_MAC).frame();
        let first = run(&tables, frame(SYN), OUTSIDE).1[30..34].to_vec();
        for _ in 0..5 {
            assert_eq!(run(&tables, frame(ACK), OUTSIDE).1[30..34], first[..]);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_mark_s_service_comes_before_the_address_s() {
    let mut tables = tables(&Scenario::new(PLAIN), 64);
    let send = |tables: &HostTables, port| {
        run(tables, segment(0, port, true, SYN, Vec::new()).0.link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE)
    };
    let of_address = tables.services[&open::key(&Flow {
        destination: address(BOTH[0].vip),
        destination_port: 80u16.to_be(),
        protocol: 6,
        ..Flow::default()
    })];
    let rule = Rule { first_port: 80, last_port: 80, protocol: 6, mark: 7, ..Rule::default() };
    tables.marks = compile(&[rule], 1, 0).unwrap();
    tables.settings.marks = [1, 0];
    assert_eq!(send(&tables, 1).0.reason, Reason::Redirected, "no service of this mark: the address's");
    let key = ServiceKey::of_mark(7, true);
    tables.services.insert(key, Service { key, count: 0, ..of_address });
    assert_eq!(send(&tables, 2).0.reason, Reason::AnsweredUnreachable, "the mark's, which has no backend");
    tables.services.insert(key, Service { key, ..of_address });
    assert_eq!(send(&tables, 3).0.reason, Reason::Redirected);
}
