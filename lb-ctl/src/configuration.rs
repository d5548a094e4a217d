//! A configuration as a value: what was asked for, without the figures of the moment.
//!
//! What a service and a backend can have is said once, by [`Schedule`] and [`MemberSettings`]; its
//! name and its text in a file by [`field`].

mod difference;
mod document;
mod field;
mod file;
mod mark;
mod position;
mod text;

pub use difference::Difference;
pub use document::parse;
pub use file::{Source, read, replace};
pub use text::{END, write, write_body};

use crate::{
    spec::{Endpoint, ServiceName, mark::unplaced},
    store::{Change, MemberSettings, Pool, Schedule, Store, Sysctls, Timeouts, Version},
};
use anyhow::Result;
use lb_common::{address::Address, backend::Member, mark::Rule};
use std::collections::HashSet;

/// Settings, services and their backends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// `None` is as they are.
    pub timeouts: Option<Timeouts>,
    /// The pool of full NAT; `None` is as it is.
    pub pool: Option<Pool>,
    /// Firewall marks; `None` are as they are. Interfaces have no index.
    pub marks: Option<Vec<Rule>>,
    /// Those that are not named are as they are.
    pub sysctls: Sysctls,
    /// In the order in which they were added.
    pub services: Vec<Service>,
}

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What selects it.
    pub name: ServiceName,
    /// All of it.
    pub schedule: Schedule,
    /// In the order in which they were added.
    pub backends: Vec<Backend>,
}

/// A backend of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backend {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// All of it.
    pub settings: MemberSettings,
}

impl Configuration {
    /// What packets see.
    pub fn of_store(store: &Store) -> Result<Self> {
        let versions = store.versions()?;
        let identity = |member: &Member| {
            let backend = store.backends.get(member.backend % store.backends.len());
            (backend.address, backend.port)
        };
        Ok(Self {
            timeouts: Some(store.timeouts()),
            pool: Some(store.pool()),
            marks: Some(store.marks().iter().map(unplaced).collect()),
            sysctls: store.sysctls(),
            services: services(versions.iter(), identity),
        })
    }

    /// How much it is, in words.
    pub fn count(&self) -> String {
        let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let backends = self.services.iter().map(|service| service.backends.len()).sum();
        format!("{} with {}", of(self.services.len(), "service"), of(backends, "backend"))
    }

    /// What a change has made of it so far.
    pub fn of_change(change: &Change) -> Self {
        let versions = change.keys().into_iter().filter_map(|key| change.version(&key));
        Self {
            timeouts: Some(change.timeouts()),
            pool: Some(change.pool()),
            marks: Some(change.marks().iter().map(unplaced).collect()),
            sysctls: change.sysctls(),
            services: services(versions.collect::<Vec<_>>().into_iter(), |member| change.identity(member)),
        }
    }

    /// What it says of everything that one of the others names.
    pub fn part(&self, others: &[&Self]) -> Self {
        let services = others.iter().flat_map(|other| &other.services);
        let named: HashSet<_> = services.map(|service| service.name.key()).collect();
        let services = self.services.iter().filter(|service| named.contains(&service.name.key()));
        Self { services: services.cloned().collect(), ..self.settings() }
    }

    /// Its settings, without its services.
    pub fn settings(&self) -> Self {
        Self {
            timeouts: self.timeouts,
            pool: self.pool.clone(),
            marks: self.marks.clone(),
            sysctls: self.sysctls.clone(),
            services: vec![],
        }
    }

    /// The parts that a change is about to replace, and what it puts there.
    pub fn of_both_sides(change: &Change) -> (Self, Self) {
        let (old, new) = change.sides();
        let of = |timeouts, pool, marks: Vec<Rule>, sysctls, versions: Vec<&Version>| Self {
            timeouts: Some(timeouts),
            pool: Some(pool),
            // There may be thousands.
            marks: change.has_marks().then(|| marks.iter().map(unplaced).collect()),
            sysctls,
            services: services(versions.into_iter(), |member| change.identity(member)),
        };
        (
            of(
                change.timeouts_before(),
                change.pool_before(),
                change.marks_before(),
                change.sysctls_before(),
                old,
            ),
            of(change.timeouts(), change.pool(), change.marks(), change.sysctls(), new),
        )
    }
}

fn services<'a>(
    versions: impl Iterator<Item = &'a Version>,
    identity: impl Fn(&Member) -> (Address, u16),
) -> Vec<Service> {
    let mut versions: Vec<_> = versions.collect();
    versions.sort_unstable_by_key(|version| version.record.born);
    let backend = |member: &Member| {
        let (address, port) = identity(member);
        let endpoint = Endpoint { address: address.into(), port: u16::from_be(port) };
        Backend { endpoint, settings: MemberSettings::of(member) }
    };
    let service = |version: &Version| Service {
        name: version.record.key.into(),
        schedule: Schedule::of(&version.record),
        // The list is newest first.
        backends: version.members.iter().rev().map(backend).collect(),
    };
    versions.into_iter().map(service).collect()
}
