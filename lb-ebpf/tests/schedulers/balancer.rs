//! A balancer with one service, in memory.

use lb_common::{
    address::Address,
    backend::{ACTIVE, Backend, INACTIVE, Member, state},
    block::{Block, FALL, MEMBERS, RISE, alignment, group},
    protocol,
    scheduler::{Scheduler, Turn},
    service::Service,
};
use lb_ebpf::{
    connection::count,
    host::HostTables,
    packet::Flow,
    plan::{Plan, blocks_kept, has_blocks, plan, start},
    schedule::{bound, choose, lightest::changed},
};
use std::net::IpAddr;

/// A balancer with one service, whose members are published as `lb-ctl` does.
pub struct Balancer {
    pub tables: HostTables,
    pub service: Service,
    /// Whether a long list is kept in blocks.
    pub blocks: bool,
}

impl Balancer {
    pub fn new(scheduler: Scheduler, scheduler_flags: u8) -> Self {
        let service = Service { scheduler: scheduler as u8, scheduler_flags, ..Service::default() };
        Self { tables: HostTables::new(16, 8_192), service, blocks: true }
    }

    /// A service with backends of these weights, in the order of its list: the newest first.
    pub fn listed(scheduler: Scheduler, weights: &[u32]) -> Self {
        let mut balancer = Self::new(scheduler, 0);
        balancer.publish((0..).zip(weights).map(|(backend, &weight)| member(backend, weight)).collect());
        balancer
    }

    pub fn scheduler(&self) -> Scheduler {
        Scheduler::from_number(self.service.scheduler).unwrap()
    }

    pub fn members(&self) -> Vec<Member> {
        self.tables.members[self.service.first as usize..][..self.service.count as usize].to_vec()
    }

    pub fn publish(&mut self, members: Vec<Member>) {
        let known: Vec<_> = members
            .iter()
            .map(|&member| {
                let backend = self.backend(member.backend);
                (member, backend.address, backend.port)
            })
            .collect();
        let Plan { divisor, greatest, table } = plan(self.scheduler(), &known);
        let turn = Turn { word: self.tables.turns.at(self.service.id).unwrap().word };
        let old_members = self.members();
        let old = (self.service.generation != 0).then_some((&self.service, turn, &old_members[..]));
        let start = start(self.scheduler(), old, &members);
        let has_blocks = self.blocks && has_blocks(self.scheduler(), members.len());
        if has_blocks {
            let aligned =
                self.tables.members.len().next_multiple_of(alignment(members.len() as u32) as usize);
            self.tables.members.resize(aligned, Member::default());
        }
        let first = self.tables.members.len() as u32;
        self.service = Service {
            generation: self.service.generation + 1,
            first,
            count: members.len() as u32,
            table: self.tables.lookup.len() as u32,
            divisor,
            greatest,
            start,
            ..self.service
        };
        if has_blocks {
            for (position, member) in (first..).zip(&members) {
                self.backend(member.backend).block = (position / MEMBERS + 1) as u16;
                *self.tables.blocks.at(position / MEMBERS).unwrap() = Block::UNKNOWN;
                *self.tables.blocks.at(group(position / MEMBERS)).unwrap() = Block::UNKNOWN;
            }
            *self.tables.turns.at(self.service.id).unwrap() = blocks_kept(self.service.generation);
        }
        self.tables.members.extend(members);
        self.tables.lookup.extend(table);
    }

    /// Adds a backend, which comes to the head of the list.
    pub fn add(&mut self, backend: u32, weight: u32) {
        let mut members = self.members();
        members.insert(0, member(backend, weight));
        self.publish(members);
    }

    pub fn edit(&mut self, position: usize, change: impl Fn(&mut Member)) {
        let mut members = self.members();
        change(&mut members[position]);
        self.publish(members);
    }

    pub fn remove(&mut self, position: usize) {
        let mut members = self.members();
        let removed = members.remove(position);
        self.backend(removed.backend).state = state::REMOVED;
        self.publish(members);
    }

    pub fn backend(&self, index: u32) -> &mut Backend {
        self.tables.backends.at(index).unwrap()
    }

    /// Active and inactive connections of a backend.
    pub fn set_connections(&self, index: u32, active: u64, inactive: u64) {
        self.backend(index).connections = active * ACTIVE + inactive * INACTIVE;
        changed(&self.tables, self.backend(index), FALL);
    }

    /// Takes one of `from` away and adds one of `to`, each [`ACTIVE`], [`INACTIVE`] or 0, unless the backend has none.
    pub fn turn(&self, index: u32, from: u64, to: u64) {
        let backend = self.backend(index);
        let has = match from {
            ACTIVE => backend.active() > 0,
            INACTIVE => backend.inactive() > 0,
            _ => true,
        };
        if has {
            count(&self.tables, backend, to.wrapping_sub(from));
        }
    }

    pub fn choose(&self, request: &Flow) -> Option<Member> {
        let place = choose(&self.tables, &self.service, request)?;
        self.tables.members.get(place as usize).copied()
    }

    /// The backend that the next connection of a client goes to. It counts as what `counted` says.
    pub fn connect(&self, request: &Flow, counted: u64) -> Option<u32> {
        let member = self.choose(request)?;
        let backend = self.backend(member.backend);
        backend.connections += counted;
        bound(&member, backend);
        changed(&self.tables, backend, RISE);
        Some(member.backend)
    }

    /// The backends of the next connections as letters, `-` for none. They are not counted.
    pub fn letters(&self, connections: usize) -> String {
        (0..connections)
            .map(|_| self.choose(&request()).map_or('-', |member| (b'A' + member.backend as u8) as char))
            .collect()
    }
}

pub fn member(backend: u32, weight: u32) -> Member {
    Member { backend, weight, last_weight: weight, ..Member::default() }
}

pub fn ip(octets: [u8; 4]) -> Address {
    IpAddr::from(octets).into()
}

pub fn request() -> Flow {
    from(ip([192, 168, 2, 10]), 20_001)
}

pub fn from(client: Address, port: u16) -> Flow {
    Flow {
        source: client,
        destination: ip([192, 168, 2, 200]),
        source_port: port.to_be(),
        destination_port: 8080_u16.to_be(),
        protocol: protocol::TCP.into(),
    }
}
