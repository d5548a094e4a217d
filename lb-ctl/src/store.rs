//! The maps of a loaded balancer, by what they mean. Nothing outside here and `program/` knows
//! their names.

mod backend;
mod batch;
mod block;
mod change;
mod commit;
mod connection;
mod counters;
pub mod grace;
mod ids;
mod mapped;
pub mod marks;
mod member;
mod pool;
mod recover;
mod schedule;
mod servers;
mod service;
mod services;
mod settings;
mod slots;
mod space;
mod traffic;

pub use change::Change;
pub use connection::now;
pub use counters::Counters;
pub use mapped::Mapped;
pub use member::MemberSettings;
pub use pool::{Pool, Source};
pub use schedule::{Schedule, check_full_nat};
pub use service::Version;
pub use settings::{Sysctls, Timeouts};
pub use traffic::add;

use self::{marks::Marks, services::Services};
use crate::{lock::Lock, program::pins::Pins};
use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap, Map, MapData, PerCpuArray};
use lb_common::{
    LAYOUT_VERSION,
    address::Address,
    backend::{Backend, Member},
    block::Block,
    connection::Connection,
    scheduler::Turn,
    service::Service,
    settings::{Settings, Table},
    snat::{Ports, PortsKey},
    traffic::{Rates, Traffic},
};
use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

/// The maps of the balancer in this network namespace.
pub struct Store {
    /// One element.
    pub settings: Mapped<Settings>,
    /// One element.
    pub table: Mapped<Table>,
    /// From what selects a service to the slot of its record.
    services: Services,
    /// Firewall marks.
    marks: Marks,
    /// Where servers answer.
    servers: MapData,
    /// Records of services, by slot.
    pub records: Mapped<Service>,
    /// Member lists, one after the other.
    pub members: Mapped<Member>,
    /// Blocks of long member lists.
    pub blocks: Mapped<Block>,
    /// Where a backend's member lies in the member lists, by index of the backend: a place for each
    /// of [`backend::Place`].
    pub places: Mapped<[u32; 2]>,
    /// Lookup tables, one after the other.
    pub lookup: Mapped<u32>,
    /// Backends, by index.
    pub backends: Mapped<Backend>,
    /// The connection table, by slot.
    pub connections: Mapped<Connection>,
    /// Where the schedulers stand, by id of the service.
    pub turns: Mapped<Turn>,
    /// Counters, by index of the backend.
    pub traffic: PerCpuArray<MapData, Traffic>,
    /// What `zero` subtracts from a backend's counters, by index of the backend.
    pub baseline: Mapped<Traffic>,
    /// What a service keeps of backends that it has no more, by id of the service.
    pub residue: Mapped<Traffic>,
    /// The addresses of full NAT, by their place.
    pool: Mapped<Address>,
    /// The ports of full NAT that connections have.
    ports: HashMap<MapData, PortsKey, Ports>,
    /// The estimator's rates, by index of the backend.
    pub rates: Mapped<Rates>,
}

impl Store {
    /// Opens the maps to look at them.
    pub fn open() -> Result<Self> {
        Self::open_pins(&Pins::here()?.loaded()?)
    }

    /// Opens the maps to change them: waits for other `lb-ctl`, and keeps them waiting.
    pub fn lock() -> Result<Locked> {
        let pins = Pins::here()?;
        pins.loaded()?;
        let lock = Lock::take(pins.cookie)?;
        // Whoever held it may have been an `unload`.
        let pins = pins.loaded()?;
        Ok(Locked { store: Self::open_pins(&pins)?, pins, _lock: lock })
    }

    fn open_pins(pins: &Path) -> Result<Self> {
        let settings: Mapped<Settings> = Mapped::open(&pins.join("SETTINGS"))?;
        let layout = settings.get(0).layout;
        if layout != LAYOUT_VERSION {
            bail!(
                "the loaded program's maps have layout {layout}, this lb-ctl has {LAYOUT_VERSION}: use its own lb-ctl"
            );
        }
        Ok(Self {
            settings,
            table: Mapped::open(&pins.join("TABLE"))?,
            services: Services::open(&pins.join("SERVICES"))?,
            marks: Marks::open(pins)?,
            servers: open(&pins.join("SERVERS"))?,
            records: Mapped::open(&pins.join("RECORDS"))?,
            members: Mapped::open(&pins.join("MEMBERS"))?,
            blocks: Mapped::open(&pins.join("BLOCKS"))?,
            places: Mapped::open(&pins.join("PLACES"))?,
            lookup: Mapped::open(&pins.join("LOOKUP"))?,
            backends: Mapped::open(&pins.join("BACKENDS"))?,
            connections: Mapped::open(&pins.join("CONNECTIONS"))?,
            turns: Mapped::open(&pins.join("TURNS"))?,
            traffic: PerCpuArray::try_from(Map::PerCpuArray(open(&pins.join("TRAFFIC"))?))?,
            baseline: Mapped::open(&pins.join("BASELINE"))?,
            residue: Mapped::open(&pins.join("RESIDUE"))?,
            pool: Mapped::open(&pins.join("POOL"))?,
            ports: HashMap::try_from(Map::HashMap(open(&pins.join("PORTS"))?))?,
            rates: Mapped::open(&pins.join("RATES"))?,
        })
    }
}

fn open(path: &Path) -> Result<MapData> {
    MapData::from_pin(path).with_context(|| format!("cannot open {}", path.display()))
}

/// The maps, with the lock that lets this process change them.
pub struct Locked {
    store: Store,
    pins: PathBuf,
    _lock: Lock,
}

impl Locked {
    /// The directory that everything is pinned in.
    pub fn pins(&self) -> &Path {
        &self.pins
    }
}

impl Deref for Locked {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.store
    }
}
