//! What a scenario needs in the maps.

use super::{BOTH, Before, Pool, Scenario, V4, V6, Web};
use lb_common::{
    address::Address,
    backend::{Backend, Member, ServerKey, state},
    mark::Rule,
    protocol,
    service::{Service, ServiceKey, flags::FULL_NAT, in_use},
    settings::Settings,
    snat::{self, FIRST_PORT, PAGE, PAGES, Ports, PortsKey, ROWS},
};
use std::net::SocketAddr;

impl Scenario {
    /// Backends, services and members, as they belong in the maps. Backend `n` is service `n`'s, and
    /// `n + 4` its second.
    pub fn world(&self) -> World {
        let mut world = World {
            settings: self.settings(),
            backends: Vec::new(),
            members: Vec::new(),
            services: Vec::new(),
            pool: BOTH.map(|ends| ends.source.parse::<SocketAddr>().unwrap().ip().into()),
            ports: Vec::new(),
            servers: Vec::new(),
            rules: Vec::new(),
        };
        let second = if self.sctp { protocol::SCTP } else { protocol::UDP };
        let services: Vec<_> =
            BOTH.into_iter().flat_map(|ends| [(ends, protocol::TCP), (ends, second)]).collect();
        let ports = self.ports.or((self.port != 0).then_some((self.port, self.port)));
        let webs = services.iter().map(|(ends, kind)| {
            let web = match self.web {
                Web::There | Web::Nobody => ends.web,
                Web::Silent => ends.silent,
                Web::Lost => ends.lost,
                Web::Across if ends.web == V4.web => V6.web,
                Web::Across => V4.web,
            };
            (web, *kind)
        });
        let others = services.iter().filter(|_| self.two).map(|(ends, kind)| (ends.other, *kind));
        for (number, (text, kind)) in (0..).zip(webs.chain(others)) {
            let end: SocketAddr = text.parse().unwrap();
            world.backends.push(Backend {
                address: end.ip().into(),
                port: ports.map_or(end.port(), |ports| ports.1).to_be(),
                state: state::AVAILABLE,
                protocol: kind,
                service: number % 4,
                tunnel: self.tunnel,
                ..Backend::default()
            });
        }
        if self.flags & FULL_NAT != 0 && self.pool != Pool::AllPorts {
            world.ports = world.backends.iter().flat_map(|backend| self.taken(backend)).collect();
        }
        world.servers = world.backends.iter().map(Backend::server).collect();
        for (id, (ends, kind)) in (0..).zip(services) {
            let vip: SocketAddr = ends.vip.parse().unwrap();
            let weight = u32::from(self.web != Web::Nobody);
            let first = world.members.len() as u32;
            for backend in if self.two { vec![id + 4, id] } else { vec![id] } {
                world.members.push(Member {
                    backend,
                    weight,
                    last_weight: 1,
                    method: self.method,
                    tunnel: self.tunnel,
                    ..Member::default()
                });
            }
            let mut key = ServiceKey {
                address: Address::from(vip.ip()),
                port: ports.map_or(vip.port(), |ports| ports.0).to_be(),
                protocol: kind,
                ..ServiceKey::default()
            };
            if self.marked {
                let rule = Rule {
                    destination: key.address,
                    destination_length: 128,
                    protocol: kind,
                    ..Rule::default()
                };
                world.rules.push(Rule { last_port: u16::MAX, mark: id + 1, ..rule });
                key = ServiceKey::of_mark(id + 1, vip.is_ipv4());
            }
            world.services.push(Service {
                key,
                id,
                generation: 1,
                first,
                count: world.members.len() as u32 - first,
                divisor: 1,
                greatest: weight,
                persistence: self.persistence,
                mask: self.mask,
                engine: self.engine,
                flags: self.flags,
                state: in_use::PUBLISHED,
                ..Service::default()
            });
        }
        world
    }

    /// The ports towards a backend: all taken, but perhaps one.
    fn taken(&self, backend: &Backend) -> Vec<(PortsKey, Ports)> {
        let of_page = |page| {
            let key = PortsKey {
                backend: backend.address,
                port: backend.port,
                protocol: backend.protocol,
                place: if backend.address.is_ipv4() { 0 } else { snat::ADDRESSES as u8 },
                page: page as u8,
                ..PortsKey::default()
            };
            let mut rows = [0; ROWS as usize];
            rows[..snat::rows(page) as usize].fill(u64::MAX);
            (key, Ports { taken: (snat::rows(page) * 64).into(), rows })
        };
        let mut pages: Vec<_> = (0..PAGES).map(of_page).collect();
        if self.pool == Pool::OnePort {
            let number = u32::from(V4.source.parse::<SocketAddr>().unwrap().port()) - FIRST_PORT;
            let page = &mut pages[(number / PAGE) as usize].1;
            page.taken -= 1;
            page.rows[(number / 64 % ROWS) as usize] &= !(1 << (number % 64));
        }
        pages
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.connections, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        settings.services = if self.services { 4 } else { 0 };
        settings.catch_all = u32::from(self.ports.is_some());
        settings.defense = self.defense;
        settings.marks = [u32::from(self.marked), 0];
        settings.pool = if self.pool == Pool::NoAddress { [0; 2] } else { [1; 2] };
        for (sysctl, value) in self.sysctls {
            settings.sysctls[*sysctl as usize] = *value;
        }
        settings
    }
}

/// What is in the maps.
#[derive(Clone, Debug)]
pub struct World {
    pub settings: Settings,
    pub backends: Vec<Backend>,
    pub members: Vec<Member>,
    pub services: Vec<Service>,
    /// The first address of each family.
    pub pool: [Address; 2],
    pub ports: Vec<(PortsKey, Ports)>,
    pub servers: Vec<ServerKey>,
    /// Those of generation 1. The mark of service `n` is `n + 1`.
    pub rules: Vec<Rule>,
}

impl World {
    /// Places of the members in their list, by backend.
    pub fn places(&self) -> Vec<[u32; 2]> {
        let place = |backend| self.members.iter().position(|member| member.backend == backend);
        (0..self.backends.len() as u32).map(|backend| [place(backend).unwrap() as u32; 2]).collect()
    }

    /// Does what is done before a packet.
    pub fn apply(&mut self, before: Before) {
        for service in self.services.iter().filter(|_| before != Before::Nothing) {
            let newest = &mut self.members[service.first as usize];
            newest.weight = 0;
            if before == Before::Remove {
                self.backends[newest.backend as usize].state = state::REMOVED;
            }
        }
    }
}
