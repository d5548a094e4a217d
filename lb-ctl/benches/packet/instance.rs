//! The balancer in a namespace of its own, and the programs that it is measured with.

#[path = "../../tests/namespace/mod.rs"]
mod namespace;

use crate::packets::{LENGTH, Macs, Pattern};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{Program, ProgramFd, ProgramInfo, TestRun as _, TestRunAttrs, TestRunOptions, Xdp},
};
use namespace::{LB_CTL, Namespace, context::Context, run};
use std::{
    fs::File,
    io::{Seek as _, Write as _},
    os::fd::AsRawFd as _,
    time::Duration,
};
use tempfile::tempfile;

pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));

/// As many as `memory` expects.
const INDEX: u32 = 1 << 20;
/// MAC addresses at `lan0`: the client's router, and the balancer's own.
pub const OUTSIDE: Macs = Macs([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
/// MAC addresses at `lan1`: a backend's, and the balancer's own.
pub const INSIDE: Macs = Macs([2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 3]);

/// The benchmark's object, each program loaded.
pub struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// `egress` is where is redirected to, `flows` how many are remembered.
    pub fn load(egress: u32, flows: u32) -> Self {
        let mut ebpf = EbpfLoader::new()
            .override_global("EGRESS", &egress, true)
            .map_max_entries("INDEX", if flows > 1 { INDEX } else { 1 })
            .map_max_entries("SLOTS", flows)
            .load(OBJECT)
            .unwrap();
        for (_, program) in ebpf.programs_mut() {
            if let Program::Xdp(program) = program {
                program.load().unwrap();
            }
        }
        Self { ebpf }
    }

    /// One of them.
    pub fn program(&mut self, name: &str) -> &mut Xdp {
        self.ebpf.program_mut(name).unwrap().try_into().unwrap()
    }

    fn fd(&mut self, name: &str) -> ProgramFd {
        self.program(name).fd().unwrap().try_clone().unwrap()
    }

    /// What `restore` writes, and what it calls.
    pub fn aim(&mut self, pattern: &Pattern, target: &ProgramFd) {
        let mut patterns: Array<&mut MapData, Pattern> =
            self.ebpf.map_mut("PATTERN").unwrap().try_into().unwrap();
        patterns.set(0, pattern, 0).unwrap();
        let mut targets: ProgramArray<&mut MapData> =
            self.ebpf.map_mut("TARGET").unwrap().try_into().unwrap();
        targets.set(0, target, 0).unwrap();
    }

    /// Really sends packets through the interface that `redirect` sends to; the time for each, by the kernel's
    /// own clock, which leaves out what it prepares.
    pub fn send(&mut self, pattern: &Pattern, count: u32) -> Duration {
        let redirect = self.fd("redirect");
        self.aim(pattern, &redirect);
        let options = TestRunOptions {
            data_in: Some(&[0; LENGTH]),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..TestRunOptions::default()
        };
        self.program("restore").test_run(options).unwrap().duration
    }
}

/// What a packet is given to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    Floor,
    /// A program that only touches as much memory as ours has to.
    Memory,
    Redirect,
    Balance,
}

/// A loaded balancer.
pub struct Instance {
    namespace: Namespace,
    programs: Programs,
    /// By [`Target`].
    targets: [ProgramFd; 4],
    interfaces: [u32; 2],
}

impl Instance {
    /// With routes and neighbours, services as `ipvsadm-restore` reads them, and what more `lb-ctl` is told.
    pub fn new(services: &str, commands: &[&str]) -> Self {
        let namespace = Namespace::new();
        let interfaces = network(&namespace);
        namespace.ok("load lan0 lan1 --mode native");
        restore(&namespace, services);
        for command in commands {
            namespace.ok(command);
        }
        let pins = namespace.pinned().pop().expect("a load");
        let balance = ProgramInfo::from_pin(pins.join("balance-native")).unwrap().fd().unwrap();
        let mut programs = Programs::load(interfaces[1], 1 << 19);
        let targets = [programs.fd("floor"), programs.fd("memory"), programs.fd("redirect"), balance];
        Self { namespace, programs, targets, interfaces }
    }

    /// Runs `count` packets that came in by `lan0` (0) or `lan1` (1): the time for each, and the last one's
    /// action.
    pub fn run(
        &mut self,
        target: Target,
        pattern: &Pattern,
        interface: usize,
        count: u32,
    ) -> (Duration, u32) {
        self.enter();
        self.programs.aim(pattern, &self.targets[target as usize]);
        let context = Context::of(LENGTH, self.interfaces[interface]);
        let options = TestRunOptions {
            data_in: Some(&[0; LENGTH]),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat: count,
            ..TestRunOptions::default()
        };
        let result = self.programs.program("restore").test_run(options).unwrap();
        (result.duration, result.return_value)
    }

    /// Routes are looked up in the namespace of whoever runs the program.
    fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.namespace.name)).unwrap();
        // SAFETY: a valid descriptor, and this process has one thread.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
    }
}

fn restore(namespace: &Namespace, services: &str) {
    let mut file = tempfile().unwrap();
    file.write_all(services.as_bytes()).unwrap();
    file.rewind().unwrap();
    let status = namespace.command(LB_CTL, &["ipvsadm", "-R"]).stdin(file).status().unwrap();
    assert!(status.success(), "restoring the services");
}

/// Addresses, routes and neighbours; the indexes of both interfaces.
fn network(namespace: &Namespace) -> [u32; 2] {
    let (name, far) = (&namespace.name, &namespace.far);
    for side in ["far0", "far1"] {
        run("ip", &["netns", "exec", far, "ethtool", "-K", side, "gro", "on"]);
    }
    let ip = |arguments: &str| {
        let mut all = vec!["-n", name];
        all.extend(arguments.split_whitespace());
        run("ip", &all)
    };
    ip("link set lo up");
    for (device, Macs(_, own)) in [("lan0", OUTSIDE), ("lan1", INSIDE)] {
        ip(&format!("link set {device} address {}", own.map(|byte| format!("{byte:02x}")).join(":")));
    }
    ip("address add 10.9.1.1/24 dev lan1");
    ip("address add fd09::1/64 dev lan0 nodad");
    ip("address add fd19::1/64 dev lan1 nodad");
    ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:00:01 dev lan0");
    ip("neighbour add fd09::2 lladdr 02:00:00:00:00:01 dev lan0");
    ip("route add 10.0.0.0/8 via 10.9.0.2");
    ip("route add 172.16.0.0/12 via 10.9.1.11");
    ip("route add fd01::/16 via fd09::2");
    for host in ["11", "12"] {
        ip(&format!("neighbour add 10.9.1.{host} lladdr 02:00:00:00:00:{host} dev lan1"));
        ip(&format!("neighbour add fd19::{host} lladdr 02:00:00:00:00:{host} dev lan1"));
    }
    let settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
    assert!(namespace.command("sh", &["-c", settings]).status().unwrap().success());
    ["lan0", "lan1"].map(|device| {
        let link = ip(&format!("-o link show {device}"));
        link.split(':').next().unwrap().trim().parse().unwrap()
    })
}
