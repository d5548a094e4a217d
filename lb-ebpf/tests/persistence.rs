//! The life of a persistence template, as time goes by.

mod scenario;

use lb_common::{
    backend::{Member, state::REMOVED},
    connection::{
        Connection,
        state::{ASSURED, INVALID, TEMPLATE, is_connection, is_live, is_template},
    },
    settings::defense::DROP_ENTRY,
    sysctl::Sysctl,
    time::{remaining, seconds, ticks},
};
use lb_ebpf::{
    Reason, handle,
    host::{HostFrame, HostTables},
    sweep,
};
use scenario::{
    ACK, INSIDE, INSIDE_MAC, OUTSIDE, OUTSIDE_MAC, SYN, Scenario, V4, WEB_MAC, World,
    frames::{Packet, tcp, udp},
};

const SLOTS: u32 = 32;
/// `web` and `other` of the TCP service.
const WEB: u32 = 0;
const OTHER: u32 = 4;

struct Balancer {
    tables: HostTables,
    world: World,
}

impl Balancer {
    fn new(sysctls: &'static [(Sysctl, u32)]) -> Self {
        let scenario =
            Scenario { two: true, persistence: 300, sysctls, connections: SLOTS, ..Scenario::new("") };
        let world = scenario.world();
        let mut tables = HostTables::new(SLOTS, world.backends.len() as u32);
        for (index, (backend, places)) in (0..).zip(world.backends.iter().zip(world.places())) {
            *tables.backends.at(index).unwrap() = *backend;
            *tables.places.at(index).unwrap() = places;
        }
        tables.members.clone_from(&world.members);
        tables.settings = world.settings;
        tables.services = world.services.iter().map(|service| (service.key, *service)).collect();
        Self { tables, world }
    }

    fn send(&self, packet: Packet, from_inside: bool) -> Reason {
        let (frame, interface) = match from_inside {
            true => (packet.link(INSIDE_MAC, WEB_MAC), INSIDE),
            false => (packet.link(OUTSIDE_MAC, scenario::CLIENT_MAC), OUTSIDE),
        };
        handle(&mut HostFrame { interface, ..HostFrame::new(frame.frame()) }, &self.tables).reason
    }

    /// A client's SYN; the index of the backend that it went to.
    fn connect(&self, client: &str) -> u32 {
        self.send(tcp(client, V4.vip, SYN), false);
        let port = client.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let found = self.slots().find(|slot| is_connection(slot.word) && slot.client_port == port.to_be());
        found.unwrap().backend_index
    }

    fn slots(&self) -> impl Iterator<Item = Connection> {
        (0..SLOTS).map(|slot| *self.tables.connections.at(slot).unwrap())
    }

    fn template(&self) -> Connection {
        self.slots().find(|slot| is_live(slot.word) && is_template(slot.word)).expect("a template")
    }

    fn left(&self) -> u32 {
        let left = remaining(self.template().expires, self.tables.now.get()) as u32;
        // To the nearest second: a wait is rounded up to ticks.
        seconds(left + ticks(1) / 2)
    }

    fn persistent(&self) -> [u32; 2] {
        [WEB, OTHER].map(|backend| self.tables.backends.at(backend).unwrap().persistent)
    }

    /// Lets time go by, and the sweep with it.
    fn wait(&self, seconds: u32) {
        self.tables.now.set(self.tables.now.get() + ticks(seconds));
        for slot in 0..SLOTS {
            sweep::visit(&self.tables, slot, self.tables.now.get());
        }
    }

    fn entries(&self) -> usize {
        let buckets =
            (0..lb_common::bucket::buckets(SLOTS)).map(|index| *self.tables.buckets.at(index).unwrap());
        buckets.flat_map(|bucket| bucket.entries).filter(|entry| *entry != 0).count()
    }
}

#[test]
fn a_template_lasts_from_the_last_new_connection() {
    let balancer = Balancer::new(&[]);
    balancer.connect("192.168.2.10:40000");
    let template = balancer.template();
    assert_eq!((template.client_port, template.service_port, template.state()), (0, 80u16.to_be(), TEMPLATE));
    assert_eq!((balancer.persistent(), balancer.left()), ([0, 1], 300));
    balancer.wait(50);
    balancer.send(tcp("192.168.2.10:40000", V4.vip, ACK), false);
    assert_eq!(balancer.left(), 250, "a packet does not restart it");
    balancer.connect("192.168.2.10:40001");
    assert_eq!((balancer.left(), balancer.template().controlled), (300, 2));
}

#[test]
fn it_outlives_its_time_while_it_controls_connections() {
    let balancer = Balancer::new(&[]);
    balancer.connect("192.168.2.10:40000");
    balancer.send(tcp("192.168.2.10:40000", V4.vip, ACK), false);
    balancer.wait(301);
    assert_eq!((balancer.left(), balancer.template().controlled), (60, 1), "armed again");
    balancer.connect("192.168.2.10:40001");
    assert_eq!(balancer.left(), 60, "and that stays its timeout");
    // ESTABLISHED ends after 900 s.
    for _ in 0..20 {
        balancer.wait(60);
    }
    assert_eq!(
        (balancer.persistent(), balancer.slots().filter(|slot| is_live(slot.word)).count()),
        ([0, 0], 0)
    );
    assert_eq!(balancer.entries(), 0, "nothing stays in the index");
}

#[test]
fn it_ends_with_its_time_when_it_controls_nothing() {
    let balancer = Balancer::new(&[]);
    assert_eq!(balancer.connect("192.168.2.10:40000"), OTHER);
    // SYN_RECV ends after 60 s; the template's 300 s are over, but the sweep has not come by.
    balancer.wait(61);
    assert_eq!(balancer.template().controlled, 0);
    balancer.tables.now.set(balancer.tables.now.get() + ticks(300));
    assert_eq!(balancer.connect("192.168.2.10:40001"), WEB, "the next of rr");
    balancer.wait(0);
    assert_eq!(balancer.persistent(), [1, 0]);
}

#[test]
fn it_is_assured_once_a_connection_is_established() {
    let balancer = Balancer::new(&[]);
    balancer.connect("192.168.2.10:40000");
    balancer.send(tcp("192.168.2.10:40000", V4.vip, ACK), false);
    assert_eq!(balancer.template().state(), TEMPLATE | ASSURED);

    let balancer = Balancer::new(&[]);
    balancer.send(udp(V4.client, V4.vip), false);
    assert_eq!(balancer.template().state(), TEMPLATE);
    balancer.send(udp(V4.other, V4.client), true);
    assert_eq!(balancer.template().state(), TEMPLATE | ASSURED, "by a reply, for UDP");
}

#[test]
fn without_its_backend_it_moves_to_a_port_where_nobody_looks() {
    for sysctls in [&[][..], &[(Sysctl::ExpireQuiescentTemplate, 1)]] {
        let mut balancer = Balancer::new(sysctls);
        balancer.connect("192.168.2.10:40000");
        if sysctls.is_empty() {
            balancer.tables.backends.at(OTHER).unwrap().state = REMOVED;
        }
        balancer.tables.members[balancer.world.services[0].first as usize].weight = 0;
        assert_eq!(balancer.connect("192.168.2.10:40001"), WEB);
        let templates: Vec<_> =
            balancer.slots().filter(|slot| is_live(slot.word) && is_template(slot.word)).collect();
        let told = |template: &Connection| {
            (template.backend_index, template.service_port, template.backend_port, template.controlled)
        };
        let (http, backend) = (80u16.to_be(), 8080u16.to_be());
        assert_eq!(
            templates.iter().map(told).collect::<Vec<_>>(),
            [(OTHER, 0xffff, 0xffff, 1), (WEB, http, backend, 1)]
        );
        assert_eq!((templates[0].state(), balancer.persistent()), (TEMPLATE | INVALID, [1, 1]));
        for _ in 0..20 {
            balancer.wait(60);
        }
        assert_eq!((balancer.persistent(), balancer.entries()), ([0, 0], 0));
    }
}

#[test]
fn a_version_that_is_not_published_is_not_followed() {
    let mut balancer = Balancer::new(&[(Sysctl::ExpireQuiescentTemplate, 1)]);
    assert_eq!(balancer.connect("192.168.2.10:40000"), OTHER);
    let list = balancer.world.services[0];
    let coming = balancer.tables.members.len() as u32;
    for published in list.first..list.first + list.count {
        let member = balancer.tables.members[published as usize];
        balancer.tables.members.push(Member { weight: 0, ..member });
        let places = balancer.tables.places.at(member.backend).unwrap();
        *places = [published, coming + published - list.first];
    }
    assert_eq!(balancer.connect("192.168.2.10:40001"), OTHER);
    balancer.tables.places.at(OTHER).unwrap().reverse();
    assert_eq!(balancer.connect("192.168.2.10:40002"), OTHER);
    assert_eq!(balancer.template().controlled, 3);
}

#[test]
fn with_expire_nodest_conn_it_goes_with_its_backend() {
    let balancer = Balancer::new(&[(Sysctl::ExpireNodestConn, 1)]);
    balancer.connect("192.168.2.10:40000");
    balancer.tables.backends.at(OTHER).unwrap().state = REMOVED;
    for _ in 0..2 {
        balancer.wait(0);
    }
    assert_eq!((balancer.persistent(), balancer.entries()), ([0, 0], 0));
}

#[test]
fn drop_entry_takes_half_open_connections_and_then_their_templates() {
    let mut balancer = Balancer::new(&[]);
    balancer.connect("192.168.2.10:40000");
    balancer.connect("192.168.2.11:40000");
    balancer.send(tcp("192.168.2.11:40000", V4.vip, ACK), false);
    balancer.tables.settings.defense = DROP_ENTRY;
    for _ in 0..2_000 {
        balancer.wait(0);
    }
    let live: Vec<_> = balancer.slots().filter(|slot| is_live(slot.word)).collect();
    assert_eq!(live.len(), 2, "the established one and its template: {live:?}");
    assert!(live.iter().any(|slot| slot.state() == TEMPLATE | ASSURED));
}
