//! The real object in the kernel, in a network namespace of the thread's own with two interfaces,
//! their neighbours and routes.

use super::{
    hook::Hooked,
    namespace::{
        context::{Context, SocketBuffer},
        run,
    },
    network,
};
use crate::scenario::{ADDRESSES, BOTH, Before, INSIDE, OUTSIDE, Scenario, World};
use aya::{
    Ebpf, EbpfLoader, Pod, TestRunOptions, TestRunResult,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, Stack},
    util::nr_cpus,
};
use lb_common::{
    backend::{Backend, Member, ServerKey},
    bucket::{Bucket, buckets},
    connection::{Connection, state},
    device::Device,
    fragment::{FragmentKey, FragmentPorts},
    hint,
    neighbour::Silence,
    reason::COUNTERS,
    scheduler::Turn,
    service::{Service, ServiceKey},
    settings::{Settings, Table},
    snat::{self, Ports, PortsKey},
    spare::spares,
    stage::Stage,
};
use std::net::SocketAddr;

/// What `build.rs` built: the same bytes that `lb-ctl` carries.
static XDP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb"));
static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-tc"));

/// What becomes of a packet, whatever the hook calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Drop,
    Pass,
    /// Out of the interface that it came in by.
    Transmit,
    Redirect,
}

/// The program that is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Xdp { generic: bool, partial: bool },
    Tc,
}

impl Hook {
    /// In the driver of a network card.
    pub const NATIVE: Self = Self::Xdp { generic: false, partial: false };
}

/// A row of counters, one for each reason.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Reasons([u64; COUNTERS]);
// SAFETY: an array of integers.
unsafe impl Pod for Reasons {}

/// An answer of routing that a CPU remembers.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Heard([u64; 8]);
// SAFETY: an array of integers.
unsafe impl Pod for Heard {}

/// A neighbour that a time is remembered for.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Probed([u32; 3]);
// SAFETY: an array of integers.
unsafe impl Pod for Probed {}

/// A loaded program and its maps.
pub struct Kernel {
    hook: Hook,
    pub(super) ebpf: Ebpf,
    connections: u32,
}

impl Kernel {
    /// Moves the calling thread to a new network namespace, which ends with the thread.
    pub fn new(hook: Hook, connections: u32) -> Self {
        assert_eq!(run("id", &["-u"]).trim(), "0", "these tests need root: cargo xtask test");
        // SAFETY: changes nothing but the namespace of this thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a new network namespace");
        network::set_up();
        let (object, generic, partial) = match hook {
            Hook::Xdp { generic, partial } => (XDP, u8::from(generic), u8::from(partial)),
            Hook::Tc => (TC, 0, 0),
        };
        let mask = buckets(connections) - 1;
        let cpus = nr_cpus().unwrap() as u32;
        let sets = hint::sets(connections, cpus);
        let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes there.
        unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut resolution) };
        let jiffy = resolution.tv_nsec as u32;
        let (hints_mask, spares) = (sets - 1, spares(connections, cpus));
        let mut loader = EbpfLoader::new();
        if hook != Hook::Tc {
            loader.override_global("GENERIC", &generic, true).override_global("PARTIAL", &partial, true);
        }
        let mut ebpf = loader
            .map_max_entries("INDEX", mask + 1)
            .map_max_entries("HINTS", sets * cpus)
            .map_max_entries("CONNECTIONS", connections)
            .map_max_entries("FREE", connections)
            .override_global("INDEX_MASK", &mask, true)
            .override_global("HINTS_MASK", &hints_mask, true)
            .override_global("JIFFY", &jiffy, true)
            .override_global("SPARE_SLOTS", &spares, true)
            .load(object)
            .unwrap();
        for name in Stage::ALL.map(Stage::name).into_iter().chain(["balance", "arm", "disarm"]) {
            let mut program = Hooked::try_from(ebpf.program_mut(name).unwrap()).unwrap();
            program.load().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        for stage in Stage::ALL {
            let program = ebpf.program(stage.name()).unwrap().fd().unwrap().try_clone().unwrap();
            let mut stages = ProgramArray::try_from(ebpf.map_mut("STAGES").unwrap()).unwrap();
            stages.set(stage as u32, &program, 0).unwrap();
        }
        Self { hook, ebpf, connections }
    }

    fn array<T: Pod>(&mut self, name: &str) -> Array<&mut aya::maps::MapData, T> {
        Array::try_from(self.ebpf.map_mut(name).unwrap()).unwrap()
    }

    pub(super) fn set<T: Pod>(&mut self, name: &str, index: u32, value: T) {
        self.array(name).set(index, value, 0).unwrap();
    }

    /// Empties every map, and fills in the scenario's services.
    pub fn install(&mut self, scenario: &Scenario) {
        let world = scenario.world();
        let places = world.places();
        let World { mut settings, backends, members, services, pool, ports, servers, rules } = world;
        // By tc it is the marks that packets have.
        settings.marks = if self.hook == Hook::Tc { [0; 2] } else { settings.marks };
        self.install_marks(&rules);
        // What was remembered of the last one's services does not count.
        settings.version = self.array::<Settings>("SETTINGS").get(&0, 0).unwrap().version + 2;
        self.set("SETTINGS", 0, settings);
        self.set("TABLE", 0, Table { backends: backends.len() as u32, ..Table::default() });
        for slot in 0..self.connections {
            self.set("CONNECTIONS", slot, Connection::default());
        }
        for index in 0..buckets(self.connections) {
            self.set("INDEX", index, Bucket::default());
        }
        let mut free: Stack<_, u32> = Stack::try_from(self.ebpf.map_mut("FREE").unwrap()).unwrap();
        while free.pop(0).is_ok() {}
        let mut fragments: HashMap<_, FragmentKey, FragmentPorts> =
            HashMap::try_from(self.ebpf.map_mut("FRAGMENTS").unwrap()).unwrap();
        for key in fragments.keys().collect::<Vec<_>>() {
            fragments.remove(&key.unwrap()).unwrap();
        }
        // The answers in the scenario before were others.
        let mut heard: PerCpuArray<_, Heard> =
            PerCpuArray::try_from(self.ebpf.map_mut("HEARD").unwrap()).unwrap();
        let cpus = nr_cpus().unwrap();
        for place in 0..heard.len() {
            heard.set(place, vec![Heard([0; 8]); cpus].try_into().unwrap(), 0).unwrap();
        }
        // Nor is a packet to become due, on a slow machine, that makes the kernel use a neighbour.
        let mut probes: HashMap<_, Probed, u32> =
            HashMap::try_from(self.ebpf.map_mut("PROBES").unwrap()).unwrap();
        for neighbour in probes.keys().collect::<Vec<_>>() {
            probes.remove(&neighbour.unwrap()).unwrap();
        }
        for ends in BOTH {
            let silent = ends.silent.parse::<SocketAddr>().unwrap().ip().into();
            self.set("SILENT", Silence::place(silent), Silence::default());
        }
        for (place, address) in [0, snat::ADDRESSES].into_iter().zip(pool) {
            self.set("POOL", place, address);
        }
        let mut pages: HashMap<_, PortsKey, Ports> =
            HashMap::try_from(self.ebpf.map_mut("PORTS").unwrap()).unwrap();
        for key in pages.keys().collect::<Vec<_>>() {
            pages.remove(&key.unwrap()).unwrap();
        }
        for (key, page) in ports {
            pages.insert(key, page, 0).unwrap();
        }
        let mut map: HashMap<_, ServerKey, u32> =
            HashMap::try_from(self.ebpf.map_mut("SERVERS").unwrap()).unwrap();
        for key in map.keys().collect::<Vec<_>>() {
            map.remove(&key.unwrap()).unwrap();
        }
        for key in servers {
            map.insert(key, 1, 0).unwrap();
        }
        for (index, backend) in (0..).zip(backends) {
            self.set("BACKENDS", index, backend);
        }
        for (index, place) in (0..).zip(places) {
            self.set("PLACES", index, place);
        }
        for (index, member) in (0..).zip(members) {
            self.set::<Member>("MEMBERS", index, member);
        }
        let mut map: HashMap<_, ServiceKey, u32> =
            HashMap::try_from(self.ebpf.map_mut("SERVICES").unwrap()).unwrap();
        for key in map.keys().collect::<Vec<_>>() {
            map.remove(&key.unwrap()).unwrap();
        }
        for (index, service) in (0..).zip(services) {
            self.set::<Service>("RECORDS", index, service);
            self.set("TURNS", service.id, Turn::default());
            let mut map: HashMap<_, ServiceKey, u32> =
                HashMap::try_from(self.ebpf.map_mut("SERVICES").unwrap()).unwrap();
            map.insert(service.key, index, 0).unwrap();
        }
        let mut devices: HashMap<_, u32, Device> =
            HashMap::try_from(self.ebpf.map_mut("DEVICES").unwrap()).unwrap();
        let addresses = ADDRESSES.map(|text| text.parse::<SocketAddr>().unwrap().ip().into());
        let device = Device { flags: scenario.devices, addresses, ..Device::default() };
        for interface in [OUTSIDE, INSIDE] {
            devices.insert(interface, device, 0).unwrap();
        }
    }

    /// Does what is done before a packet.
    pub fn apply(&mut self, scenario: &Scenario, before: Before) {
        let mut world = scenario.world();
        world.apply(before);
        for (index, member) in (0..).zip(world.members) {
            self.set::<Member>("MEMBERS", index, member);
        }
        for (index, changed) in (0..).zip(world.backends) {
            let mut backend: Backend = self.array("BACKENDS").get(&index, 0).unwrap();
            backend.state = changed.state;
            self.set("BACKENDS", index, backend);
        }
    }

    /// Gives every state the same timeout.
    pub fn set_timeouts(&mut self, ticks: u32) {
        let mut settings: Settings = self.array("SETTINGS").get(&0, 0).unwrap();
        settings.timeouts.fill(ticks);
        self.set("SETTINGS", 0, settings);
    }

    /// Runs `arm` or `disarm`.
    pub fn sweep(&mut self, name: &str) {
        let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
        assert_eq!(self.test_run(name, options).return_value, 2, "{name}");
    }

    fn test_run(&mut self, name: &str, options: TestRunOptions<'_>) -> TestRunResult {
        Hooked::try_from(self.ebpf.program_mut(name).unwrap()).unwrap().test_run(options).unwrap()
    }

    /// Runs one packet: what becomes of it, and the packet afterwards.
    pub fn run(&mut self, frame: &[u8], interface: u32) -> (Action, Vec<u8>) {
        self.run_segments(frame, interface, 0)
    }

    /// The same for a packet with a firewall mark (tc).
    pub fn run_marked(&mut self, frame: &[u8], interface: u32, mark: u32) -> (Action, Vec<u8>) {
        self.run_buffer(frame, interface, SocketBuffer::of(frame.len(), interface, 0).marked(mark))
    }

    /// The same for a packet that is cut into segments of so many bytes of data where it leaves (tc).
    pub fn run_segments(&mut self, frame: &[u8], interface: u32, segment_size: u32) -> (Action, Vec<u8>) {
        self.run_buffer(frame, interface, SocketBuffer::of(frame.len(), interface, segment_size))
    }

    fn run_buffer(&mut self, frame: &[u8], interface: u32, buffer: SocketBuffer) -> (Action, Vec<u8>) {
        let context = Context::of(frame.len(), interface);
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(match self.hook {
                Hook::Xdp { .. } => bytemuck::bytes_of(&context),
                Hook::Tc => bytemuck::bytes_of(&buffer),
            }),
            ..TestRunOptions::new()
        };
        let result = self.test_run("balance", options);
        out.truncate(result.data_size_out as usize);
        let action = match (self.hook, result.return_value as i32) {
            // XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT.
            (Hook::Xdp { .. }, 1) => Action::Drop,
            (Hook::Xdp { .. }, 2) => Action::Pass,
            (Hook::Xdp { .. }, 3) => Action::Transmit,
            (Hook::Xdp { .. }, 4) => Action::Redirect,
            // TC_ACT_SHOT, TC_ACT_UNSPEC, TC_ACT_REDIRECT.
            (Hook::Tc, 2) => Action::Drop,
            (Hook::Tc, -1) => Action::Pass,
            (Hook::Tc, 7) => Action::Redirect,
            (hook, other) => panic!("{hook:?}: action {other}"),
        };
        (action, out)
    }

    /// Packets by reason, over all CPUs.
    pub fn reasons(&mut self) -> [u64; COUNTERS] {
        let map: PerCpuArray<_, Reasons> =
            PerCpuArray::try_from(self.ebpf.map_mut("REASONS").unwrap()).unwrap();
        let mut sums = [0; COUNTERS];
        for row in map.get(&0, 0).unwrap().iter() {
            sums.iter_mut().zip(row.0).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// The connection table.
    pub fn connections(&mut self) -> Vec<Connection> {
        let count = self.connections;
        let map = self.array("CONNECTIONS");
        (0..count).map(|slot| map.get(&slot, 0).unwrap()).collect()
    }

    /// Entries of the index.
    pub fn indexed(&mut self) -> u64 {
        let count = buckets(self.connections);
        let map: Array<_, Bucket> = self.array("INDEX");
        let all = (0..count).map(|index| map.get(&index, 0).unwrap());
        all.map(|bucket| bucket.entries.iter().filter(|&&entry| entry != 0).count() as u64 + bucket.overflow)
            .sum()
    }

    /// Ports that full NAT has given out; each page counts its own.
    pub fn taken(&mut self) -> u64 {
        let map: HashMap<_, PortsKey, Ports> =
            HashMap::try_from(self.ebpf.map_mut("PORTS").unwrap()).unwrap();
        let of_page = |Ports { taken, rows }: Ports| {
            assert_eq!(taken, rows.iter().map(|row| u64::from(row.count_ones())).sum::<u64>());
            taken
        };
        map.iter().map(|page| of_page(page.unwrap().1)).sum()
    }

    /// Active and inactive connections of each backend, as it counts them.
    pub fn counted(&mut self) -> [(u32, u32); 4] {
        let map: Array<_, Backend> = self.array("BACKENDS");
        std::array::from_fn(|index| {
            let backend = map.get(&(index as u32), 0).unwrap();
            (backend.active(), backend.inactive())
        })
    }

    /// The same, counted in the table.
    pub fn live(&mut self) -> [(u32, u32); 4] {
        let mut counts = [(0, 0); 4];
        for connection in self.connections() {
            if state::is_live(connection.word) {
                let count = &mut counts[connection.backend_index as usize];
                if state::is_active(connection.state()) { count.0 += 1 } else { count.1 += 1 }
            }
        }
        counts
    }
}
