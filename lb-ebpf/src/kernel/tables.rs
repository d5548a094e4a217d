//! The maps and the clock.

use super::{globals, maps, route, spare};
use crate::shell::Context;
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::lpm_trie::Key,
    helpers::{bpf_get_prandom_u32, bpf_get_smp_processor_id, bpf_jiffies64, bpf_loop},
};
use core::{
    arch::asm,
    ffi::c_void,
    intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg, atomic_xadd},
    ptr,
};
use lb_common::{
    LAYOUT_VERSION,
    address::Address,
    backend::{Backend, Member, ServerKey},
    block::Block,
    bucket::Bucket,
    cache::{Cache, CacheKey},
    connection::Connection,
    device::Device,
    fragment::{FragmentKey, FragmentPorts},
    hint,
    mark::{ClassKey, Found, Prefix, Range},
    memo::{MEMOS, Memo},
    neighbour::{Neighbour, Silence, Vouch},
    reason::{COUNTERS, Reason},
    scheduler::{NO_BACKEND, Turn},
    service::{Service, ServiceKey},
    settings::Settings,
    snat::{Ports, PortsKey},
    time::tick_of,
    traffic::Traffic,
};
use lb_ebpf::{
    Route, Tables,
    arrival::{ARRIVALS, Arrival},
    frame::Text,
    nexthop::{HEARD, Heard},
    packet::Packet,
};

/// The maps of this balancer, and the packet's context, which routing is asked through.
#[derive(Clone, Copy)]
pub struct Maps {
    /// Null in the sweep, which routes nothing.
    pub context: *mut Context,
}

/// ICMP answers per tick and CPU: about a thousand a second, as `net.ipv4.icmp_msgs_per_sec`.
const ANSWERS_PER_TICK: u32 = 16;
/// Ticks after which the kernel is made to use a neighbour again: five seconds.
const PROBE_INTERVAL: u32 = 298;

impl Maps {
    /// Counts a packet by its reason.
    #[inline(always)]
    pub fn count(&self, reason: Reason) {
        let mut index = reason as usize;
        // The compiler would drop a mask that it knows to be needless; the verifier needs it.
        // SAFETY: touches nothing but the register.
        unsafe { asm!("{0} &= {mask}", inout(reg) index, mask = const COUNTERS - 1) };
        if let Some(reasons) = maps::REASONS.get_ptr_mut(0) {
            // SAFETY: in bounds; the element is this CPU's.
            unsafe { *reasons.cast::<u64>().add(index) += 1 };
        }
    }
}

/// A `&mut` to a map element; see the contract of [`Tables`].
macro_rules! element {
    ($lookup:expr) => {
        // SAFETY: the kernel gave the pointer, and array elements live as long as the map.
        $lookup.map(|place| unsafe { &mut *place })
    };
}
pub(super) use element;

impl Tables for Maps {
    #[inline(always)]
    fn now(&self) -> u32 {
        // A load from memory, where the other clocks are a call.
        tick_of(unsafe { bpf_jiffies64() }.wrapping_mul(globals::JIFFY.load() as u64))
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        maps::SETTINGS.get(0)
    }

    #[inline(always)]
    fn bucket(&self, hash: u32) -> Option<&mut Bucket> {
        element!(maps::INDEX.get_ptr_mut(hash & globals::INDEX_MASK.load()))
    }

    #[inline(always)]
    fn hints(&self, hash: u32) -> Option<&mut hint::Set> {
        let (cpu, mask) = (unsafe { bpf_get_smp_processor_id() }, globals::HINTS_MASK.load());
        element!(maps::HINTS.get_ptr_mut(cpu * (mask + 1) + (hash & mask)))
    }

    #[inline(always)]
    fn connection(&self, slot: u32) -> Option<&mut Connection> {
        element!(maps::CONNECTIONS.get_ptr_mut(slot))
    }

    #[inline(always)]
    fn take_slot(&self) -> Option<u32> {
        let spares = element!(maps::SPARES.get_ptr_mut(0))?;
        if spares.count == 0 {
            self.set_aside(spares);
        }
        if spares.count == 0 {
            return None;
        }
        spares.count -= 1;
        Some(*spare::last(spares))
    }

    #[inline(always)]
    fn give_slot(&self, slot: u32) {
        // Cannot fail: the stack has room for every slot, and each is given once.
        let _ = maps::FREE.push(slot, 0);
    }

    #[inline(always)]
    fn service(&self, settings: &Settings, key: &ServiceKey) -> Option<u32> {
        let bank = settings.bank as u8;
        unsafe { maps::SERVICES.get(&ServiceKey { bank, ..*key }) }.copied()
    }

    #[inline(always)]
    fn memo(&self, place: u32) -> Option<&mut Memo> {
        element!(maps::MEMOS.get_ptr_mut(place % MEMOS))
    }

    #[inline(always)]
    fn record(&self, position: u32) -> Option<&Service> {
        maps::RECORDS.get(position)
    }

    #[inline(always)]
    fn class(&self, key: &ClassKey) -> Option<u32> {
        unsafe { maps::MARK_CLASSES.get(key) }.copied()
    }

    #[inline(always)]
    fn prefix(&self, key: &Prefix) -> Option<&Found> {
        const BITS: u32 = size_of::<Prefix>() as u32 * 8;
        maps::MARK_PREFIXES.get(&Key::new(BITS, *key))
    }

    #[inline(always)]
    fn range(&self, position: u32) -> Option<&Range> {
        maps::MARK_RANGES.get(position)
    }

    #[inline(always)]
    fn member(&self, position: u32) -> Option<&Member> {
        maps::MEMBERS.get(position)
    }

    #[inline(always)]
    fn block(&self, number: u32) -> Option<&mut Block> {
        element!(maps::BLOCKS.get_ptr_mut(number))
    }

    #[inline(always)]
    fn places(&self, backend: u32) -> Option<&[u32; 2]> {
        maps::PLACES.get(backend)
    }

    #[inline(always)]
    fn lookup(&self, position: u32) -> u32 {
        maps::LOOKUP.get(position).copied().unwrap_or(NO_BACKEND)
    }

    #[inline(always)]
    fn backend(&self, index: u32) -> Option<&mut Backend> {
        element!(maps::BACKENDS.get_ptr_mut(index))
    }

    #[inline(always)]
    fn is_server(&self, key: &ServerKey) -> bool {
        unsafe { maps::SERVERS.get(key) }.is_some()
    }

    #[inline(always)]
    fn traffic(&self, index: u32) -> Option<&mut Traffic> {
        element!(maps::TRAFFIC.get_ptr_mut(index))
    }

    #[inline(always)]
    fn turn(&self, service: u32) -> Option<&mut Turn> {
        element!(maps::TURNS.get_ptr_mut(service))
    }

    #[inline(always)]
    fn cache(&self, key: &CacheKey) -> Option<&mut Cache> {
        element!(maps::CACHES.get_ptr_mut(key))
    }

    #[inline(always)]
    fn new_cache(&self, key: &CacheKey) -> Option<&mut Cache> {
        let zero = maps::CACHE_ZERO.get(0)?;
        maps::CACHES.insert(key, zero, 0).ok()?;
        self.cache(key)
    }

    #[inline(always)]
    fn source(&self, place: u32) -> Option<&Address> {
        maps::POOL.get(place)
    }

    #[inline(always)]
    fn ports(&self, key: &PortsKey) -> Option<&mut Ports> {
        element!(maps::PORTS.get_ptr_mut(key))
    }

    #[inline(always)]
    fn new_ports(&self, key: &PortsKey) -> Option<&mut Ports> {
        // Where another CPU was faster, its page counts.
        let _ = maps::PORTS.insert(key, maps::PORTS_ZERO.get(0)?, BPF_NOEXIST as u64);
        self.ports(key)
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentPorts> {
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, ports: &FragmentPorts) {
        // A full LRU map gives up its oldest entry.
        let _ = maps::FRAGMENTS.insert(key, ports, 0);
    }

    #[inline(always)]
    fn device(&self, interface: u32) -> Option<&Device> {
        unsafe { maps::DEVICES.get(interface) }
    }

    #[inline(always)]
    fn route(&self, interface: u32, source: Address, destination: Address, protocol: u8) -> Route {
        route::ask(self.context, interface, source, destination, protocol)
    }

    #[inline(always)]
    fn heard(&self, place: u32) -> Option<&mut Heard> {
        element!(maps::HEARD.get_ptr_mut(place % HEARD))
    }

    #[inline(always)]
    fn arrival(&self, interface: u32) -> Option<&mut Arrival> {
        element!(maps::ARRIVED.get_ptr_mut(interface % ARRIVALS))
    }

    #[inline(always)]
    fn vouch(&self, place: u32) -> Option<&mut Vouch> {
        element!(maps::VOUCHED.get_ptr_mut(place))
    }

    #[inline(always)]
    fn silence(&self, place: u32) -> Option<&mut Silence> {
        element!(maps::SILENT.get_ptr_mut(place))
    }

    #[inline(always)]
    fn is_probe_due(&self, neighbour: Neighbour) -> bool {
        let now = self.now();
        let Some(last) = maps::PROBES.get_ptr_mut(neighbour) else {
            let _ = maps::PROBES.insert(neighbour, now, BPF_NOEXIST as u64);
            return false;
        };
        // SAFETY: an LRU element may be reused meanwhile; then another neighbour is probed late.
        unsafe {
            if now.wrapping_sub(*last) < PROBE_INTERVAL {
                return false;
            }
            *last = now;
        }
        true
    }

    #[inline(always)]
    fn may_answer(&self) -> bool {
        let Some([tick, sent]) = element!(maps::ANSWERS.get_ptr_mut(0)) else { return false };
        let now = self.now();
        if *tick != now {
            *tick = now;
            *sent = 0;
        }
        *sent += 1;
        *sent <= ANSWERS_PER_TICK
    }

    #[inline(always)]
    fn packet(&self) -> Option<&mut Packet> {
        element!(maps::PACKET.get_ptr_mut(0))
    }

    #[inline(always)]
    fn text(&self) -> Option<&mut Text> {
        element!(maps::TEXT.get_ptr_mut(0))
    }

    #[inline(always)]
    fn each<F: FnMut(u32) -> bool>(&self, count: u32, mut body: F) {
        unsafe extern "C" fn step<F: FnMut(u32) -> bool>(index: u32, body: *mut c_void) -> i64 {
            // SAFETY: `each` passes its `body`, which lives during the call.
            let body = unsafe { &mut *body.cast::<F>() };
            !body(index) as i64
        }
        // SAFETY: the callback gets the pointer that it expects.
        unsafe { bpf_loop(count, step::<F> as *mut c_void, ptr::from_mut(&mut body).cast(), 0) };
    }

    #[inline(always)]
    fn zero(&self) -> u32 {
        // A map may hold anything, as far as the verifier knows.
        self.settings().map_or(0, |settings| settings.layout ^ LAYOUT_VERSION)
    }

    #[inline(always)]
    fn touch<T>(&self, place: &T) {
        // SAFETY: a reference is valid, and any place is one of bytes.
        let _ = unsafe { ptr::from_ref(place).cast::<u8>().read_volatile() };
    }

    #[inline(always)]
    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> Result<(), u64> {
        // SAFETY: a reference is valid and aligned.
        match unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(cell, old, new) } {
            (_, true) => Ok(()),
            (present, false) => Err(present),
        }
    }

    #[inline(always)]
    fn add(&self, cell: &mut u64, value: u64) -> u64 {
        unsafe { atomic_xadd::<u64, u64, { SeqCst }>(cell, value) }
    }

    #[inline(always)]
    fn add32(&self, cell: &mut u32, value: u32) -> u32 {
        unsafe { atomic_xadd::<u32, u32, { SeqCst }>(cell, value) }
    }
}
