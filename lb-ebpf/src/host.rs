//! The two traits in ordinary memory: what the host tests run the packet path on.

mod frame;

use crate::{
    Route, Steps, Tables,
    arrival::{ARRIVALS, Arrival},
    frame::Text,
    mark::Compiled,
    nexthop::{HEARD, Heard},
    packet::Packet,
};
use bytemuck::Zeroable;
pub use frame::HostFrame;
use lb_common::{
    address::Address,
    backend::{Backend, Member, ServerKey},
    block::{self, Block},
    bucket::{Bucket, buckets},
    cache::{Cache, CacheKey},
    connection::Connection,
    device::Device,
    fragment::{FragmentKey, FragmentPorts},
    hint,
    limits::SERVICE_SLOTS,
    mark::{ClassKey, Found, Prefix, Range},
    memo::{MEMOS, Memo},
    neighbour::{Neighbour, SILENCES, Silence, VOUCHES, Vouch},
    scheduler::{NO_BACKEND, Turn},
    service::{Service, ServiceKey},
    settings::Settings,
    snat::{PLACES, Ports, PortsKey},
    traffic::Traffic,
};
use std::{
    boxed::Box,
    cell::{Cell, RefCell, UnsafeCell},
    collections::{HashMap, HashSet},
    vec::Vec,
};

/// An array map: elements with a stable place that are shared and mutable, as in the kernel.
pub struct Elements<T>(Box<[UnsafeCell<T>]>);

impl<T: Zeroable> Elements<T> {
    fn new(count: u32) -> Self {
        Self((0..count).map(|_| UnsafeCell::new(T::zeroed())).collect())
    }

    /// The element at `index`.
    #[expect(
        unsafe_code,
        clippy::mut_from_ref,
        reason = "one thread; the packet path holds one element of a kind at a time"
    )]
    pub fn at(&self, index: u32) -> Option<&mut T> {
        self.0.get(index as usize).map(|cell| unsafe { &mut *cell.get() })
    }
}

/// The maps in memory. Fields are public: a test fills them and looks into them.
pub struct HostTables {
    /// The present tick.
    pub now: Cell<u32>,
    /// State of the random numbers (xorshift).
    pub random: Cell<u32>,
    /// The settings.
    pub settings: Settings,
    /// The index.
    pub buckets: Elements<Bucket>,
    /// Hints.
    pub hints: Elements<hint::Set>,
    /// The connection table.
    pub connections: Elements<Connection>,
    /// Slots handed out so far.
    pub used: Cell<u32>,
    /// Services by key.
    pub services: HashMap<ServiceKey, Service>,
    /// The tables of firewall marks.
    pub marks: Compiled,
    /// Member lists.
    pub members: Vec<Member>,
    /// Blocks of member lists, and their groups.
    pub blocks: Elements<Block>,
    /// Places of the backends' members.
    pub places: Elements<[u32; 2]>,
    /// Lookup tables.
    pub lookup: Vec<u32>,
    /// Backends.
    pub backends: Elements<Backend>,
    /// Where servers answer.
    pub servers: HashSet<ServerKey>,
    /// Traffic of the backends.
    pub traffic: Elements<Traffic>,
    /// Turns of the services.
    pub turns: Elements<Turn>,
    /// `lblc` and `lblcr`.
    pub caches: RefCell<HashMap<CacheKey, Box<UnsafeCell<Cache>>>>,
    /// The pool of full NAT.
    pub sources: Elements<Address>,
    /// Pages of ports.
    pub ports: RefCell<HashMap<PortsKey, Box<UnsafeCell<Ports>>>>,
    /// Fragments.
    pub fragments: RefCell<HashMap<FragmentKey, FragmentPorts>>,
    /// Devices by interface index.
    pub devices: HashMap<u32, Device>,
    /// Where keys of services led.
    pub memos: Elements<Memo>,
    /// Addresses of the interfaces.
    pub arrivals: Elements<Arrival>,
    /// What the kernel's routing answered.
    pub heard: Elements<Heard>,
    /// Routes by destination.
    pub routes: HashMap<Address, Route>,
    /// The packet on its way.
    pub packet: Elements<Packet>,
    /// Text of a packet.
    pub text: Elements<Text>,
    /// Slots given back.
    pub free: RefCell<Vec<u32>>,
    /// What connections heard of neighbours.
    pub vouched: Elements<Vouch>,
    /// Destinations whose next hop does not answer.
    pub silent: Elements<Silence>,
    /// Whether the next look at a neighbour says that a probe is due.
    pub probe: Cell<bool>,
    /// ICMP answers that may still be sent.
    pub answers: Cell<u32>,
}

impl HostTables {
    /// Empty tables for that many connections and backends.
    pub fn new(connections: u32, backends: u32) -> Self {
        Self {
            now: Cell::new(1_000),
            random: Cell::new(0x9e37_79b9),
            settings: Settings::new(connections, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]),
            buckets: Elements::new(buckets(connections)),
            hints: Elements::new(hint::sets(connections, 1)),
            connections: Elements::new(connections),
            used: Cell::new(0),
            services: HashMap::new(),
            marks: Compiled::default(),
            members: Vec::new(),
            blocks: Elements::new(block::ENTRIES),
            places: Elements::new(backends),
            lookup: Vec::new(),
            backends: Elements::new(backends),
            servers: HashSet::new(),
            traffic: Elements::new(backends),
            turns: Elements::new(SERVICE_SLOTS),
            caches: RefCell::default(),
            sources: Elements::new(PLACES),
            ports: RefCell::default(),
            fragments: RefCell::default(),
            devices: HashMap::new(),
            memos: Elements::new(MEMOS),
            arrivals: Elements::new(ARRIVALS),
            heard: Elements::new(HEARD),
            routes: HashMap::new(),
            packet: Elements::new(1),
            text: Elements::new(1),
            free: RefCell::default(),
            vouched: Elements::new(VOUCHES),
            silent: Elements::new(SILENCES),
            probe: Cell::new(false),
            answers: Cell::new(u32::MAX),
        }
    }
}

#[expect(
    unsafe_code,
    reason = "a cache entry, or a page of ports, is boxed, so it stays in place while the map grows; one thread"
)]
impl Tables for HostTables {
    fn now(&self) -> u32 {
        self.now.get()
    }

    fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn bucket(&self, hash: u32) -> Option<&mut Bucket> {
        self.buckets.at(hash & (self.buckets.0.len() as u32 - 1))
    }

    fn hints(&self, hash: u32) -> Option<&mut hint::Set> {
        self.hints.at(hash & (self.hints.0.len() as u32 - 1))
    }

    fn connection(&self, slot: u32) -> Option<&mut Connection> {
        self.connections.at(slot)
    }

    fn take_slot(&self) -> Option<u32> {
        if let Some(slot) = self.free.borrow_mut().pop() {
            return Some(slot);
        }
        let slot = self.used.get();
        self.used.set(slot + 1);
        ((slot as usize) < self.connections.0.len()).then_some(slot)
    }

    fn service(&self, _settings: &Settings, key: &ServiceKey) -> Option<u32> {
        self.services.keys().position(|found| found == key).map(|position| position as u32)
    }

    fn memo(&self, place: u32) -> Option<&mut Memo> {
        self.memos.at(place)
    }

    fn record(&self, position: u32) -> Option<&Service> {
        self.services.values().nth(position as usize)
    }

    fn class(&self, key: &ClassKey) -> Option<u32> {
        self.marks.classes.iter().find(|(found, _)| found == key).map(|(_, table)| *table)
    }

    fn prefix(&self, key: &Prefix) -> Option<&Found> {
        let bits = |prefix: &Prefix| u128::from_be_bytes(bytemuck::cast(prefix.address));
        let matches = |prefix: &Prefix, length: u8| {
            prefix.table == key.table && (bits(prefix) ^ bits(key)).leading_zeros() >= length.into()
        };
        let all = self.marks.prefixes.iter().filter(|(prefix, length, _)| matches(prefix, *length));
        all.max_by_key(|(_, length, _)| *length).map(|(.., found)| found)
    }

    fn range(&self, position: u32) -> Option<&Range> {
        self.marks.ranges.get(position as usize)
    }

    fn member(&self, position: u32) -> Option<&Member> {
        self.members.get(position as usize)
    }

    fn block(&self, number: u32) -> Option<&mut Block> {
        self.blocks.at(number)
    }

    fn places(&self, backend: u32) -> Option<&[u32; 2]> {
        self.places.at(backend).map(|places| &*places)
    }

    fn lookup(&self, position: u32) -> u32 {
        self.lookup.get(position as usize).copied().unwrap_or(NO_BACKEND)
    }

    fn backend(&self, index: u32) -> Option<&mut Backend> {
        self.backends.at(index)
    }

    fn is_server(&self, key: &ServerKey) -> bool {
        self.servers.contains(key)
    }

    fn traffic(&self, index: u32) -> Option<&mut Traffic> {
        self.traffic.at(index)
    }

    fn turn(&self, service: u32) -> Option<&mut Turn> {
        self.turns.at(service)
    }

    fn cache(&self, key: &CacheKey) -> Option<&mut Cache> {
        self.caches.borrow().get(key).map(|cell| unsafe { &mut *cell.get() })
    }

    fn new_cache(&self, key: &CacheKey) -> Option<&mut Cache> {
        self.caches.borrow_mut().insert(*key, Box::new(UnsafeCell::new(Cache::zeroed())));
        self.cache(key)
    }

    fn source(&self, place: u32) -> Option<&Address> {
        self.sources.at(place).map(|address| &*address)
    }

    fn ports(&self, key: &PortsKey) -> Option<&mut Ports> {
        self.ports.borrow().get(key).map(|cell| unsafe { &mut *cell.get() })
    }

    fn new_ports(&self, key: &PortsKey) -> Option<&mut Ports> {
        self.ports.borrow_mut().insert(*key, Box::new(UnsafeCell::new(Ports::zeroed())));
        self.ports(key)
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentPorts> {
        self.fragments.borrow().get(key).copied()
    }

    fn remember_fragment(&self, key: &FragmentKey, ports: &FragmentPorts) {
        self.fragments.borrow_mut().insert(*key, *ports);
    }

    fn device(&self, interface: u32) -> Option<&Device> {
        self.devices.get(&interface)
    }

    fn route(&self, _interface: u32, _source: Address, destination: Address, _protocol: u8) -> Route {
        self.routes.get(&destination).copied().unwrap_or(Route::Host)
    }

    fn heard(&self, place: u32) -> Option<&mut Heard> {
        self.heard.at(place % HEARD)
    }

    fn arrival(&self, interface: u32) -> Option<&mut Arrival> {
        self.arrivals.at(interface % ARRIVALS)
    }

    fn vouch(&self, place: u32) -> Option<&mut Vouch> {
        self.vouched.at(place)
    }

    fn silence(&self, place: u32) -> Option<&mut Silence> {
        self.silent.at(place)
    }

    fn is_probe_due(&self, _neighbour: Neighbour) -> bool {
        self.probe.replace(false)
    }

    fn give_slot(&self, slot: u32) {
        self.free.borrow_mut().push(slot);
    }

    fn may_answer(&self) -> bool {
        let left = self.answers.get();
        self.answers.set(left.saturating_sub(1));
        left > 0
    }

    fn packet(&self) -> Option<&mut Packet> {
        self.packet.at(0)
    }

    fn text(&self) -> Option<&mut Text> {
        self.text.at(0)
    }

    fn each<F: FnMut(u32) -> bool>(&self, count: u32, mut body: F) {
        let _ = (0..count).all(&mut body);
    }

    fn touch<T>(&self, _place: &T) {}

    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> Result<(), u64> {
        if *cell != old {
            return Err(*cell);
        }
        *cell = new;
        Ok(())
    }

    fn add(&self, cell: &mut u64, value: u64) -> u64 {
        let before = *cell;
        *cell = before.wrapping_add(value);
        before
    }

    fn add32(&self, cell: &mut u32, value: u32) -> u32 {
        let before = *cell;
        *cell = before.wrapping_add(value);
        before
    }
}

impl Steps for HostTables {}
