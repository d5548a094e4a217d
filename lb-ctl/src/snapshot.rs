//! The configuration as a value, with the figures of the moment it was read.

use crate::{
    configuration::{self, Configuration},
    spec::{Endpoint, ServiceName},
    store::{Store, Version, add},
};
use anyhow::Result;
use lb_common::{
    address::Address,
    backend::Member,
    scheduler::Scheduler,
    service::{self, ServiceKey},
    traffic::Traffic,
    tunnel::Tunnel,
};

/// All services.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// In the order of their keys.
    pub services: Vec<Service>,
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What selects it.
    pub name: ServiceName,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// [`lb_common::scheduler::flags`].
    pub scheduler_flags: u8,
    /// Persistence timeout in seconds; 0 when not persistent.
    pub persistence: u32,
    /// What of a client's address counts for persistence.
    pub mask: Address,
    /// [`service::engine`]: the persistence engine.
    pub engine: u8,
    /// Whether every datagram is scheduled by itself.
    pub one_packet: bool,
    /// Whether backends see an address of the balancer.
    pub full_nat: bool,
    /// Whether they are told the client's.
    pub toa: bool,
    /// Of two services, the newer has the higher.
    pub born: u32,
    /// What it has carried, backends that it has no more included.
    pub stats: Traffic,
    /// The sum of its backends' rates, in their fixed point.
    pub rates: Traffic,
    /// Newest first.
    pub backends: Vec<Backend>,
}

/// A backend of a service.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// [`lb_common::backend::method`].
    pub method: u32,
    /// For a tunnel backend.
    pub tunnel: Tunnel,
    /// Its weight.
    pub weight: u32,
    /// Upper threshold; 0 is none.
    pub upper: u32,
    /// Lower threshold; 0 is none.
    pub lower: u32,
    /// `ActiveConn`.
    pub active: u32,
    /// `InActConn`.
    pub inactive: u32,
    /// `PersistConn`.
    pub persistent: u32,
    /// What it has carried.
    pub stats: Traffic,
    /// Connections and packets a second times 2^10, bytes a second times 2^5.
    pub rates: Traffic,
}

impl From<&Configuration> for Snapshot {
    /// What it will look like before the first packet.
    fn from(configuration: &Configuration) -> Self {
        Self { services: configuration.services.iter().map(Service::from).collect() }
    }
}

impl From<&configuration::Service> for Service {
    fn from(service: &configuration::Service) -> Self {
        let new = service::Service { key: service.name.key(), ..Default::default() };
        // Newest first.
        let backends = service.backends.iter().rev().map(Backend::from).collect();
        Self::of(&service.schedule.applied_to(new), backends)
    }
}

impl From<&configuration::Backend> for Backend {
    fn from(backend: &configuration::Backend) -> Self {
        Self::of(&backend.settings.applied_to(Member::default()), backend.endpoint)
    }
}

impl Snapshot {
    /// Reads all services, or the one with this key.
    pub fn read(store: &Store, only: Option<&ServiceKey>) -> Result<Self> {
        let mut versions = match only {
            Some(key) => store.version(key)?.into_iter().collect(),
            None => store.versions()?,
        };
        versions.sort_by_key(|version| {
            let ServiceKey { address, mark, port, protocol, .. } = version.record.key;
            (mark, !address.is_ipv4(), protocol, address.octets(), u16::from_be(port))
        });
        let stats = store.service_stats()?;
        let services = versions.iter().map(|version| {
            let mut service = Service::read(store, version)?;
            service.stats = stats.get(&version.record.id).copied().unwrap_or_default();
            Ok(service)
        });
        Ok(Self { services: services.collect::<Result<_>>()? })
    }
}

impl Service {
    fn read(store: &Store, version: &Version) -> Result<Self> {
        let backends = version.members.iter().map(|member| Backend::read(store, member));
        Ok(Self::of(&version.record, backends.collect::<Result<_>>()?))
    }

    /// What its record says, with nothing carried yet.
    fn of(record: &service::Service, backends: Vec<Backend>) -> Self {
        Self {
            name: record.key.into(),
            scheduler: Scheduler::from_number(record.scheduler).unwrap_or(Scheduler::Wlc),
            scheduler_flags: record.scheduler_flags,
            persistence: record.persistence,
            mask: record.mask,
            engine: record.engine,
            one_packet: record.flags & service::flags::ONE_PACKET != 0,
            full_nat: record.flags & service::flags::FULL_NAT != 0,
            toa: record.flags & service::flags::TOA != 0,
            born: record.born,
            stats: Traffic::default(),
            rates: backends.iter().map(|backend| backend.rates).fold(Traffic::default(), add),
            backends,
        }
    }
}

impl Backend {
    fn read(store: &Store, member: &Member) -> Result<Self> {
        let slot = member.backend % store.backends.len();
        let backend = store.backends.get(slot);
        let endpoint = Endpoint { address: backend.address.into(), port: u16::from_be(backend.port) };
        Ok(Self {
            active: backend.active(),
            inactive: backend.inactive(),
            persistent: backend.persistent,
            stats: store.stats(slot)?,
            rates: store.rates_of(slot),
            ..Self::of(member, endpoint)
        })
    }

    /// What its member says, with no connection yet.
    fn of(member: &Member, endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            method: member.method,
            tunnel: member.tunnel,
            weight: member.weight,
            upper: member.upper,
            lower: member.lower,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: Traffic::default(),
            rates: Traffic::default(),
        }
    }
}
