//! The maps. Sizes that `load` chooses are placeholders here.
//!
//! Arrays that `lb-ctl` reads or writes are mappable: it sees them as memory, changes one word
//! without touching the next, and lists a million connections without a million system calls. It
//! also makes their elements start on a page, so that an element of 64 bytes is one cache line.

use super::trace::Traced;
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_timer},
    btf_maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, Stack},
    macros::{btf_map, map},
    maps::ProgramArray,
};
use lb_common::{
    address::Address,
    backend::{Backend, Member, ServerKey},
    block::{self, Block},
    bucket::Bucket,
    cache::{Cache, CacheKey},
    connection::Connection,
    device::Device,
    fragment::{FragmentKey, FragmentPorts},
    hint, limits,
    mark::{ClassKey, Found, Prefix, Range, Rule},
    memo::{self, Memo},
    neighbour::{Neighbour, SILENCES, Silence, VOUCHES, Vouch},
    reason::COUNTERS,
    scheduler::Turn,
    service::{Service, ServiceKey},
    settings::{Settings, Table},
    snat::{self, Ports, PortsKey},
    spare::Spares,
    stage::Stage,
    traffic::{Rates, Traffic},
};
use lb_ebpf::{
    arrival::{ARRIVALS, Arrival},
    frame::Text,
    nexthop::{self, Heard},
    packet::Packet,
};

const MAPPABLE: usize = BPF_F_MMAPABLE as usize;
const BACKENDS_MAX: usize = limits::BACKENDS as usize;
const SERVICE_SLOTS: usize = limits::SERVICE_SLOTS as usize;
const SERVICE_KEYS: usize = limits::SERVICE_KEYS as usize;

#[btf_map]
pub static SETTINGS: Array<Settings, 2, MAPPABLE> = Array::new();
#[btf_map]
pub static TABLE: Array<Table, 1, MAPPABLE> = Array::new();

#[btf_map]
pub static INDEX: Array<Bucket, 16, MAPPABLE> = Array::new();
/// Hints of every CPU, one CPU's after the other's.
#[btf_map]
pub static HINTS: Array<hint::Set, 1, MAPPABLE> = Array::new();
#[btf_map]
pub static CONNECTIONS: Array<Connection, 16, MAPPABLE> = Array::new();
#[btf_map]
pub static FREE: Stack<u32, 16> = Stack::new();
/// What this CPU has taken of them beforehand.
#[btf_map]
pub static SPARES: PerCpuArray<Spares, 1> = PerCpuArray::new();

#[btf_map]
pub static SERVICES: HashMap<ServiceKey, u32, SERVICE_KEYS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
pub static RECORDS: Array<Service, SERVICE_SLOTS, MAPPABLE> = Array::new();
#[btf_map]
pub static MEMBERS: Array<Member, { limits::MEMBERS as usize }, MAPPABLE> = Array::new();
#[btf_map]
pub static BLOCKS: Array<Block, { block::ENTRIES as usize }, MAPPABLE> = Array::new();
#[btf_map]
pub static LOOKUP: Array<u32, { limits::LOOKUP as usize }, MAPPABLE> = Array::new();
#[btf_map]
pub static TURNS: Array<Turn, SERVICE_SLOTS, MAPPABLE> = Array::new();
#[btf_map]
pub static CACHES: LruHashMap<CacheKey, Cache, { limits::CACHE as usize }> = LruHashMap::new();
/// A [`Cache`] of zeros: too large for the stack.
#[btf_map]
pub static CACHE_ZERO: Array<Cache, 1> = Array::new();

/// The addresses of full NAT.
#[btf_map]
pub static POOL: Array<Address, { snat::PLACES as usize }, MAPPABLE> = Array::new();
#[btf_map]
pub static PORTS: HashMap<PortsKey, Ports, { limits::PORT_PAGES as usize }, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
/// A page of [`Ports`] that are free: too large for the stack.
#[btf_map]
pub static PORTS_ZERO: Array<Ports, 1> = Array::new();

/// Firewall marks: [`lb_common::settings::Settings::marks`] tells which generation of these packets see.
#[btf_map]
pub static MARK_CLASSES: HashMap<ClassKey, u32, { limits::MARK_CLASSES as usize }> = HashMap::new();
#[btf_map]
pub static MARK_PREFIXES: LpmTrie<Prefix, Found, { limits::MARK_PREFIXES as usize }> = LpmTrie::new();
#[btf_map]
pub static MARK_RANGES: Array<Range, { limits::MARK_RANGES as usize }, MAPPABLE> = Array::new();
/// Used by `lb-ctl` alone: what the tables are made of.
#[btf_map]
pub static MARK_RULES: Array<Rule, { limits::MARK_RULES as usize }, MAPPABLE> = Array::new();

/// Where servers answer by NAT, while `nat_icmp_send` is set.
#[btf_map]
pub static SERVERS: HashMap<ServerKey, u32, BACKENDS_MAX, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map]
pub static BACKENDS: Array<Backend, BACKENDS_MAX, MAPPABLE> = Array::new();
/// Where a backend's member lies in `MEMBERS`, by index of the backend.
#[btf_map]
pub static PLACES: Array<[u32; 2], BACKENDS_MAX, MAPPABLE> = Array::new();
#[btf_map]
pub static TRAFFIC: PerCpuArray<Traffic, BACKENDS_MAX> = PerCpuArray::new();
#[btf_map]
pub static RATES: Array<Rates, BACKENDS_MAX, MAPPABLE> = Array::new();
/// Used by `lb-ctl` alone: what a counter stood at when it was zeroed.
#[btf_map]
pub static BASELINE: Array<Traffic, BACKENDS_MAX, MAPPABLE> = Array::new();
/// Used by `lb-ctl` alone: what a service's removed backends had carried.
#[btf_map]
pub static RESIDUE: Array<Traffic, SERVICE_SLOTS, MAPPABLE> = Array::new();

#[btf_map]
pub static REASONS: PerCpuArray<[u64; COUNTERS], 1> = PerCpuArray::new();
#[btf_map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentPorts, { limits::FRAGMENTS as usize }> =
    LruHashMap::new();
#[btf_map]
pub static DEVICES: HashMap<u32, Device, { limits::DEVICES as usize }> = HashMap::new();
/// The interfaces that native XDP can send through, each at its own index: the kernel need not look for them. It
/// takes out those that vanish.
#[btf_map]
pub static EXITS: DevMap<{ limits::DEVICES as usize }> = DevMap::new();

/// When the kernel was last made to use a neighbour.
#[btf_map]
pub static PROBES: LruHashMap<Neighbour, u32, 4096> = LruHashMap::new();
#[btf_map]
pub static VOUCHED: Array<Vouch, { VOUCHES as usize }> = Array::new();
#[btf_map]
pub static SILENT: Array<Silence, { SILENCES as usize }> = Array::new();

/// Answers of the kernel's routing, as this CPU has heard them.
#[btf_map]
pub static HEARD: PerCpuArray<Heard, { nexthop::HEARD as usize }> = PerCpuArray::new();

/// Where keys of services led, as this CPU has looked them up.
#[btf_map]
pub static MEMOS: PerCpuArray<Memo, { memo::MEMOS as usize }> = PerCpuArray::new();

/// Addresses of the interfaces, as this CPU has found them out.
#[btf_map]
pub static ARRIVED: PerCpuArray<Arrival, { ARRIVALS as usize }> = PerCpuArray::new();

/// ICMP answers of this CPU: the tick, and how many were sent in it.
#[btf_map]
pub static ANSWERS: PerCpuArray<[u32; 2], 1> = PerCpuArray::new();

/// Room for a piece of a packet whose sum is taken; 4 bytes more for padding.
#[btf_map]
pub static SCRATCH: PerCpuArray<[u32; 129], 1> = PerCpuArray::new();

/// What a packet carries, where it has to be read.
#[btf_map]
pub static TEXT: PerCpuArray<Text, 1> = PerCpuArray::new();

/// The packet on the long way of this CPU: on the stack it would leave too little for the steps.
#[btf_map]
pub static PACKET: PerCpuArray<Packet, 1> = PerCpuArray::new();

/// The packet that is being traced.
#[btf_map]
pub static TRACES: PerCpuArray<Traced, 1> = PerCpuArray::new();

/// The programs that `balance` ends in for a packet that is not plain, of the same instance: in the order of
/// [`Stage::ALL`].
#[map]
pub static STAGES: ProgramArray = ProgramArray::with_max_entries(Stage::ALL.len() as u32, 0);

/// The sweep's timer.
#[repr(C)]
pub struct Sweep {
    pub timer: bpf_timer,
}

#[btf_map]
pub static SWEEP: Array<Sweep, 1> = Array::new();
