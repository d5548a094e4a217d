//! What the packet path needs beside the packet: maps, clock, chance and routes.

use crate::{
    Frame, Outcome, Reason, accept,
    answer::{self, Answer},
    arrival::{self, Arrival},
    checksum::crc32c,
    connection::{self, Tracked},
    forward::{self, plain, toa},
    frame::Text,
    icmp, mark, nexthop,
    nexthop::{Exit, Heard},
    open::{self, Choice},
    packet::{Flow, Packet},
    persistence,
    schedule::{self, lightest, locality, weigh::Weigh},
    sip, snat,
};
use lb_common::{
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
    memo::Memo,
    neighbour::{Neighbour, Silence, Vouch},
    scheduler::Turn,
    service::{Service, ServiceKey},
    settings::Settings,
    snat::{Ports, PortsKey},
    traffic::Traffic,
};

/// The maps of one balancer.
///
/// Elements are shared memory: a `&mut` is exclusive to this packet's path only in name. Words
/// that other CPUs change at the same time go through [`Tables::compare_exchange`] and
/// [`Tables::add`]; every other field is either constant while it can be found or may be
/// overwritten by the last writer without harm.
#[expect(clippy::mut_from_ref, reason = "map elements are shared memory, see above")]
pub trait Tables {
    /// The present tick.
    fn now(&self) -> u32;
    /// A random number.
    fn random(&self) -> u32;
    /// The settings.
    fn settings(&self) -> Option<&Settings>;

    /// The bucket of an index hash; the upper bits are masked off.
    fn bucket(&self, hash: u32) -> Option<&mut Bucket>;
    /// This CPU's hints at the connections of hashes that share a set with this one.
    fn hints(&self, hash: u32) -> Option<&mut hint::Set>;
    /// A slot of the connection table.
    fn connection(&self, slot: u32) -> Option<&mut Connection>;
    /// Takes a free slot; `None` when the table is full.
    fn take_slot(&self) -> Option<u32>;

    /// Where the record of a key's service lies.
    fn service(&self, settings: &Settings, key: &ServiceKey) -> Option<u32>;
    /// What is remembered of the keys at a place.
    fn memo(&self, place: u32) -> Option<&mut Memo>;
    /// A service.
    fn record(&self, position: u32) -> Option<&Service>;
    /// The table of destinations of a class.
    fn class(&self, key: &ClassKey) -> Option<u32>;
    /// What the longest prefix of an address leads to.
    fn prefix(&self, key: &Prefix) -> Option<&Found>;
    /// The range of ports at a position.
    fn range(&self, position: u32) -> Option<&Range>;
    /// The entry at a position of the map of member lists.
    fn member(&self, position: u32) -> Option<&Member>;
    /// A block of a member list, or a group of blocks.
    fn block(&self, number: u32) -> Option<&mut Block>;
    /// The entry at a position of the map of lookup tables; [`NO_BACKEND`] beyond its end.
    ///
    /// [`NO_BACKEND`]: lb_common::scheduler::NO_BACKEND
    fn lookup(&self, position: u32) -> u32;
    /// Where a backend's member lies in the map of member lists: one of the two is that of the
    /// version of its service that is published.
    fn places(&self, backend: u32) -> Option<&[u32; 2]>;
    /// A backend.
    fn backend(&self, index: u32) -> Option<&mut Backend>;
    /// Whether a server answers there. Known while `nat_icmp_send` is set.
    fn is_server(&self, key: &ServerKey) -> bool;
    /// This CPU's traffic counters of a backend.
    fn traffic(&self, index: u32) -> Option<&mut Traffic>;
    /// Where a service's scheduler stands.
    fn turn(&self, service: u32) -> Option<&mut Turn>;
    /// What `lblc` and `lblcr` remember of a destination.
    fn cache(&self, key: &CacheKey) -> Option<&mut Cache>;
    /// Starts to remember a destination: all zero.
    fn new_cache(&self, key: &CacheKey) -> Option<&mut Cache>;

    /// The address at a place of the pool of full NAT.
    fn source(&self, place: u32) -> Option<&Address>;
    /// A page of ports.
    fn ports(&self, key: &PortsKey) -> Option<&mut Ports>;
    /// The same, made where there is none: no port is taken then.
    fn new_ports(&self, key: &PortsKey) -> Option<&mut Ports>;

    /// The ports of a fragmented packet whose first fragment was seen.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentPorts>;
    /// Remembers the ports of a first fragment.
    fn remember_fragment(&self, key: &FragmentKey, ports: &FragmentPorts);

    /// What `load` found out about an interface.
    fn device(&self, interface: u32) -> Option<&Device>;
    /// Asks the kernel's routing for the next hop of a packet that came in by `interface`. Without a
    /// source the packet is this host's own, and the source is part of the answer.
    fn route(&self, interface: u32, source: Address, destination: Address, protocol: u8) -> Route;
    /// The place where this CPU remembers an answer of the kernel's routing; others share it.
    fn heard(&self, place: u32) -> Option<&mut Heard>;
    /// The place where this CPU remembers an address of an interface; another interface may share it.
    fn arrival(&self, interface: u32) -> Option<&mut Arrival>;
    /// Whether it is time to let the kernel use a neighbour, so that it finds out whether the
    /// neighbour is still there: what XDP sends, the kernel does not see.
    fn is_probe_due(&self, neighbour: Neighbour) -> bool;
    /// What connections heard of the neighbours that share a place.
    fn vouch(&self, place: u32) -> Option<&mut Vouch>;
    /// What is known of the destinations that share a place and whose next hop does not answer.
    fn silence(&self, place: u32) -> Option<&mut Silence>;
    /// Whether one more ICMP answer may be sent now.
    fn may_answer(&self) -> bool;

    /// Gives back a slot of the connection table.
    fn give_slot(&self, slot: u32);

    /// What the stages leave to each other: the packet that is on its way through them on this CPU.
    fn packet(&self) -> Option<&mut Packet>;
    /// Room for the text that a packet carries, of this CPU.
    fn text(&self) -> Option<&mut Text>;

    /// Calls `body` with 0, 1, … below `count` until it says `false`.
    ///
    /// In the kernel this is `bpf_loop`: the verifier looks at the body once, whatever the count.
    fn each<F: FnMut(u32) -> bool>(&self, count: u32, body: F);

    /// 0, which the verifier does not know. Before Linux 6.8 it looks at a loop's body with what its variables are at
    /// the beginning and no others, and takes out what it cannot reach then: a variable that the body branches by
    /// has to begin with this.
    fn zero(&self) -> u32 {
        0
    }

    /// Loads from a place for nothing but its cache line.
    fn touch<T>(&self, place: &T);
    /// Replaces `old` by `new`, or says what was there instead.
    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> Result<(), u64>;
    /// Adds, wrapping, with no carry lost between CPUs. The value before.
    fn add(&self, cell: &mut u64, value: u64) -> u64;
    /// The same for a 32-bit word.
    fn add32(&self, cell: &mut u32, value: u32) -> u32;
}

/// The steps off the main road of a packet. In memory they are plain calls; in BPF each is a
/// function of its own, which the verifier looks at once, and not once for every way that leads there.
pub trait Steps: Tables + Sized {
    /// [`Packet::fill`].
    #[inline(always)]
    fn fill<F: Frame>(&self, frame: &F, packet: &mut Packet) -> Result<(), Reason> {
        packet.fill(frame, self)
    }

    /// [`arrival::check`].
    #[inline(always)]
    fn check_arrival<F: Frame>(&self, frame: &F, packet: &Packet, now: u32) -> Result<(), Reason> {
        arrival::check(frame, self, packet, now)
    }

    /// [`mark::of`].
    #[inline(always)]
    fn mark(&self, packet: &Packet) -> u32 {
        mark::of(self, packet)
    }

    /// [`open::schedule`].
    #[inline(always)]
    fn schedule<F: Frame>(&self, frame: &F, packet: &Packet) -> Result<Choice, Reason> {
        open::schedule(frame, self, packet)
    }

    /// [`schedule::choose`].
    #[inline(always)]
    fn choose(&self, service: &Service, flow: &Flow) -> Option<u32> {
        schedule::choose(self, service, flow)
    }

    /// [`schedule::next_turn`].
    #[inline(always)]
    fn next_turn(&self, service: &Service, word: u64) -> u64 {
        schedule::next_turn(self, service, word)
    }

    /// [`lightest::of_few`].
    #[inline(always)]
    fn lightest_of_few(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        lightest::of_few(self, service, weigh)
    }

    /// [`lightest::of_blocks`].
    #[inline(always)]
    fn lightest_of_blocks(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        lightest::of_blocks(self, service, weigh)
    }

    /// [`lightest::look_into_block`].
    #[inline(always)]
    fn look_into_block(&self, service: &Service, block: u32, weigh: Weigh) -> u32 {
        lightest::look_into_block(self, service, block, weigh)
    }

    /// [`lightest::look_into_group`].
    #[inline(always)]
    fn look_into_group(&self, service: &Service, group: u32, weigh: Weigh) -> u32 {
        lightest::look_into_group(self, service, group, weigh)
    }

    /// [`locality::known`].
    #[inline(always)]
    fn recall(&self, service: &Service, flow: &Flow) -> Option<u32> {
        locality::known(self, service, flow)
    }

    /// [`locality::learn`].
    #[inline(always)]
    fn learn(&self, service: &Service, flow: &Flow, chosen: u32) {
        locality::learn(self, service, flow, chosen);
    }

    /// [`sip::call`].
    #[inline(always)]
    fn call<F: Frame>(&self, frame: &F, packet: &Packet) -> Result<u64, Reason> {
        sip::call(frame, self, packet)
    }

    /// [`persistence::follow`].
    #[inline(always)]
    fn follow(&self, packet: &Packet, call: u64) -> Result<Choice, Reason> {
        persistence::follow(self, packet, call)
    }

    /// [`persistence::begin`].
    #[inline(always)]
    fn begin(&self, packet: &Packet, call: u64, member: u32) -> Result<u32, Reason> {
        persistence::begin(self, packet, call, member)
    }

    /// [`snat::take`].
    #[inline(always)]
    fn take_source(&self, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
        snat::take(self, packet, choice)
    }

    /// [`connection::create`].
    #[inline(always)]
    fn create(&self, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
        connection::create(self, packet, choice)
    }

    /// [`accept::create`].
    #[inline(always)]
    fn create_plain(&self, packet: &Packet, member: u32) -> Result<u32, Reason> {
        accept::create(self, packet, member)
    }

    /// [`connection::is_known`].
    #[inline(always)]
    fn is_known(&self, packet: &Packet) -> bool {
        connection::is_known(self, packet)
    }

    /// [`connection::end`].
    #[inline(always)]
    fn end(&self, slot: u32, word: u64) {
        connection::end(self, slot, word);
    }

    /// [`connection::track`].
    #[inline(always)]
    fn track(&self, packet: &Packet, now: u32) -> Result<Tracked, Reason> {
        connection::track(self, packet, now)
    }

    /// [`icmp::track`].
    #[inline(always)]
    fn track_quoted<F: Frame>(&self, frame: &F, packet: &mut Packet) -> Result<Tracked, Reason> {
        icmp::track(frame, self, packet)
    }

    /// [`icmp::restore`].
    #[inline(always)]
    fn restore<F: Frame>(&self, frame: &F, packet: &mut Packet) -> Result<(), Reason> {
        icmp::restore(frame, packet)
    }

    /// [`nexthop::refresh`].
    #[inline(always)]
    fn refresh<F: Frame>(&self, frame: &F, packet: &Packet, tracked: Tracked, now: u32) -> Exit {
        nexthop::refresh(frame, self, packet, tracked, now)
    }

    /// [`toa::insert`].
    #[inline(always)]
    fn tell<F: Frame>(
        &self,
        frame: &mut F,
        packet: &mut Packet,
        tracked: Tracked,
        exit: Exit,
    ) -> Result<(), Reason> {
        toa::insert(frame, self, packet, tracked, exit)
    }

    /// [`forward::forward`].
    #[inline(always)]
    fn forward<F: Frame>(&self, frame: &mut F, packet: &Packet, tracked: Tracked, exit: Exit) -> Outcome {
        forward::forward(frame, self, packet, tracked, exit)
    }

    /// [`plain::forward`].
    #[inline(always)]
    fn forward_plain<F: Frame>(&self, frame: &mut F, packet: &Packet, tracked: Tracked) -> Option<Outcome> {
        plain::forward(frame, self, packet, self.connection(tracked.slot)?, tracked.direction)
    }

    /// [`crc32c::update`].
    #[inline(always)]
    fn update_crc(&self, field: u32, old: u32, new: u32, length: u32) -> u32 {
        crc32c::update(field, old, new, length)
    }

    /// [`icmp::translate`].
    #[inline(always)]
    fn translate<F: Frame>(&self, frame: &mut F, packet: &Packet, tracked: Tracked, exit: Exit) -> Outcome {
        icmp::translate(frame, self, packet, tracked, exit)
    }

    /// [`icmp::unwrap`].
    #[inline(always)]
    fn unwrap<F: Frame>(&self, frame: &mut F, packet: &Packet) -> Outcome {
        icmp::unwrap(frame, packet)
    }

    /// [`answer::send`].
    #[inline(always)]
    fn answer<F: Frame>(&self, frame: &mut F, packet: &Packet, answer: Answer, mtu: u32) -> Outcome {
        answer::send(frame, self, packet, answer, mtu)
    }
}

/// The kernel's answer to [`Tables::route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The next hop is known.
    Hop {
        /// Egress interface index.
        interface: u32,
        /// MAC address of the neighbour.
        destination: [u8; 6],
        /// MAC address of the interface.
        source: [u8; 6],
        /// The route's MTU in bytes.
        mtu: u16,
        /// Source address of this host's own packets there, if it was asked for and is known; else
        /// unspecified.
        address: Address,
    },
    /// There is a route, but the neighbour's MAC address is not known.
    NoNeighbour {
        /// Egress interface index.
        interface: u32,
        /// As in [`Route::Hop`].
        address: Address,
    },
    /// An address of this host, or no route at all.
    Host,
    /// No plain unicast route: the kernel must decide.
    Other,
}
