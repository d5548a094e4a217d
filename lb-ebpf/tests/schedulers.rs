//! The schedulers against IPVS: what it was recorded to do, and what its sources say.

use lb_common::{
    address::Address,
    backend::{ACTIVE, Backend, INACTIVE, Member, flags::OVERLOAD, state},
    limits::BACKENDS_PER_SERVICE,
    scheduler::{NO_BACKEND, Scheduler, Turn, flags},
    service::Service,
    time::ticks,
};
use lb_ebpf::{
    host::HostTables,
    plan::{Plan, plan, start},
    schedule::{Request, bound, choose},
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

/// A balancer with one service, whose members are published as `lb-ctl` does.
struct Balancer {
    tables: HostTables,
    service: Service,
}

impl Balancer {
    fn new(scheduler: Scheduler, scheduler_flags: u8) -> Self {
        let service = Service { scheduler: scheduler as u8, scheduler_flags, ..Service::default() };
        Self { tables: HostTables::new(16, 8_192), service }
    }

    /// A service with backends of these weights, in the order of its list: the newest first.
    fn listed(scheduler: Scheduler, weights: &[u32]) -> Self {
        let mut balancer = Self::new(scheduler, 0);
        balancer.publish((0..).zip(weights).map(|(backend, &weight)| member(backend, weight)).collect());
        balancer
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler::from_number(self.service.scheduler).unwrap()
    }

    fn members(&self) -> Vec<Member> {
        self.tables.members[self.service.first as usize..][..self.service.count as usize].to_vec()
    }

    fn publish(&mut self, members: Vec<Member>) {
        let known: Vec<_> = members
            .iter()
            .map(|&member| {
                let backend = self.backend(member.backend);
                (member, backend.address, backend.port)
            })
            .collect();
        let Plan { divisor, greatest, table } = plan(self.scheduler(), false, &known);
        let plan = Plan { divisor, greatest, table: Vec::new() };
        let turn = Turn { word: self.tables.turns.at(self.service.id).unwrap().word };
        let old = (self.service.generation != 0).then_some((&self.service, turn));
        let start = start(self.scheduler(), old, &self.members(), &members, &plan);
        self.service = Service {
            generation: self.service.generation + 1,
            first: self.tables.members.len() as u32,
            count: members.len() as u32,
            table: self.tables.lookup.len() as u32,
            divisor,
            greatest,
            start,
            ..self.service
        };
        self.tables.members.extend(members);
        self.tables.lookup.extend(table);
    }

    /// Adds a backend, which comes to the head of the list.
    fn add(&mut self, backend: u32, weight: u32) {
        let mut members = self.members();
        members.insert(0, member(backend, weight));
        self.publish(members);
    }

    fn edit(&mut self, position: usize, change: impl Fn(&mut Member)) {
        let mut members = self.members();
        change(&mut members[position]);
        self.publish(members);
    }

    fn remove(&mut self, position: usize) {
        let mut members = self.members();
        let removed = members.remove(position);
        self.backend(removed.backend).state = state::REMOVED;
        self.publish(members);
    }

    fn backend(&self, index: u32) -> &mut Backend {
        self.tables.backend(index)
    }

    /// Active and inactive connections of a backend.
    fn set_connections(&self, index: u32, active: u64, inactive: u64) {
        self.backend(index).connections = active * ACTIVE + inactive * INACTIVE;
    }

    fn choose(&self, request: &Request) -> Option<Member> {
        choose(&self.tables, &self.service, request)
    }

    /// The backend that the next connection of a client goes to. It counts as what `counted` says.
    fn connect(&self, request: &Request, counted: u64) -> Option<u32> {
        let member = self.choose(request)?;
        let backend = self.backend(member.backend);
        backend.connections += counted;
        bound(&member, backend);
        Some(member.backend)
    }

    /// The backends of the next connections as letters, `-` for none. They are not counted.
    fn letters(&self, connections: usize) -> String {
        (0..connections)
            .map(|_| self.choose(&request()).map_or('-', |member| (b'A' + member.backend as u8) as char))
            .collect()
    }
}

trait At {
    fn backend(&self, index: u32) -> &mut Backend;
}

impl At for HostTables {
    fn backend(&self, index: u32) -> &mut Backend {
        self.backends.at(index).unwrap()
    }
}

fn member(backend: u32, weight: u32) -> Member {
    Member { backend, weight, last_weight: weight, ..Member::default() }
}

fn ip(octets: [u8; 4]) -> Address {
    IpAddr::from(octets).into()
}

fn request() -> Request {
    from(ip([192, 168, 2, 10]), 20_001)
}

fn from(client: Address, port: u16) -> Request {
    Request {
        client,
        destination: ip([192, 168, 2, 200]),
        client_port: port.to_be(),
        destination_port: 8080_u16.to_be(),
    }
}

/// One line of the recording.
struct Recorded<'a> {
    line: &'a str,
    scheduler: Scheduler,
    flags: u8,
    service: &'a str,
    weights: Vec<u32>,
    pattern: &'a str,
    sources: &'a str,
    sequence: &'a str,
}

fn recorded() -> Vec<Recorded<'static>> {
    let lines = include_str!("recorded/sched.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap();
            let (scheduler, names) = (Scheduler::from_name(next()).unwrap(), next());
            Recorded {
                line,
                scheduler,
                flags: if names.contains("fallback") { flags::FALLBACK } else { 0 }
                    | if names.contains("port") { flags::PORT } else { 0 },
                service: next(),
                weights: next().split(':').map(|weight| weight.parse().unwrap()).collect(),
                pattern: next(),
                sources: next(),
                sequence: next(),
            }
        })
        .collect()
}

impl Recorded<'_> {
    /// The same service and the same connections here.
    fn replay(&self) -> String {
        let mut balancer = Balancer::new(self.scheduler, self.flags);
        for (backend, &weight) in (0..).zip(&self.weights) {
            let port = if self.service.starts_with("fwm") { 0 } else { 8080_u16 };
            *balancer.backend(backend) = Backend {
                address: ip([192, 168, 33, 111 + backend as u8]),
                port: port.to_be(),
                state: state::AVAILABLE,
                ..Backend::default()
            };
            balancer.add(backend, weight);
        }
        let mut open = [None; 60];
        let close = |backend: u32| {
            let backend = balancer.backend(backend);
            backend.connections = backend.connections - ACTIVE + INACTIVE;
        };
        let mut sequence = String::new();
        for number in 0..60 {
            if self.pattern == "A" && number == 30 {
                open.iter_mut().step_by(6).filter_map(Option::take).for_each(close);
            }
            let last = number as u8;
            let source = if self.sources == "many" { 20 + last } else { 10 };
            let mut request = from(ip([192, 168, 2, source]), 20_001 + number as u16);
            if self.service == "fwmd" {
                request.destination = ip([10, 9, 0, 1 + last]);
            }
            let counted = if self.service == "udp" { INACTIVE } else { ACTIVE };
            let backend = balancer.connect(&request, counted);
            if let Some(backend) = backend.filter(|_| self.service != "udp") {
                match self.pattern {
                    "C" => (),
                    "A" if number % 3 == 0 => open[number] = Some(backend),
                    _ => close(backend),
                }
            }
            sequence.push(backend.map_or('!', |backend| (b'1' + backend as u8) as char));
        }
        sequence
    }
}

#[test]
fn every_recorded_sequence_is_repeated() {
    let recorded: Vec<_> = recorded().into_iter().filter(|row| row.scheduler != Scheduler::Twos).collect();
    let wrong: Vec<String> = recorded
        .iter()
        .filter_map(|row| {
            let here = row.replay();
            (here != row.sequence).then(|| format!("{}\n  here: {here}", row.line))
        })
        .collect();
    assert_eq!(recorded.len(), 186);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}
