//! Nanoseconds per packet in the program, by the kernel's `BPF_PROG_TEST_RUN`: `cargo xtask bench`.
//!
//! Rounds are interleaved, because the machine may be shared: in each, every case runs once, beside the floor and a
//! bare redirect. What is shown are medians, and what a case costs above the floor.

#[path = "../../tests/namespace/mod.rs"]
mod namespace;
mod packets;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, ProgramInfo, TestRun as _, TestRunOptions, Xdp},
};
use namespace::{Namespace, run};
use packets::{Flags, LENGTH, Pattern, tcp};
use std::{fs::File, os::fd::AsRawFd as _};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));
const ROUNDS: usize = 7;
const PACKETS: u32 = 300_000;
const CLIENT: (&str, u16) = ("10.1.0.1", 40_000);
const VIP: (&str, u16) = ("10.9.0.1", 80);
const BACKEND: (&str, u16) = ("10.9.1.11", 80);
const CLIENT6: (&str, u16) = ("fd01::1", 40_000);
const VIP6: (&str, u16) = ("fd09::1", 80);

struct Case {
    name: &'static str,
    pattern: Pattern,
    /// Packets that make the connections, each sent once for every flow.
    before: Vec<Pattern>,
    /// The XDP action that every packet must get.
    action: u32,
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Floor,
    Redirect,
    Balance,
}

const PASS: u32 = 2;
const TRANSMIT: u32 = 3;
const REDIRECT: u32 = 4;

fn cases() -> Vec<Case> {
    let established = |name, flows| Case {
        name,
        pattern: tcp(CLIENT, VIP, Flags::Ack, flows),
        before: vec![tcp(CLIENT, VIP, Flags::Syn, flows), tcp(CLIENT, VIP, Flags::Ack, flows)],
        action: REDIRECT,
        target: Target::Balance,
    };
    let case = |name, pattern, action, target| Case { name, pattern, before: vec![], action, target };
    let plain = tcp(CLIENT, VIP, Flags::Ack, 0);
    vec![
        case("floor: restore the packet, XDP_TX", plain, TRANSMIT, Target::Floor),
        case("bare redirect", plain, REDIRECT, Target::Redirect),
        established("established, IPv4, 1 flow", 0),
        established("established, IPv4, 65,536 flows", 1 << 16),
        established("established, IPv4, 524,288 flows", 1 << 19),
        Case {
            pattern: tcp(BACKEND, CLIENT, Flags::Ack, 0),
            ..established("established, IPv4, replies, 1 flow", 0)
        },
        Case {
            name: "established, IPv6, 1 flow",
            pattern: tcp(CLIENT6, VIP6, Flags::Ack, 0),
            before: vec![tcp(CLIENT6, VIP6, Flags::Syn, 0), tcp(CLIENT6, VIP6, Flags::Ack, 0)],
            action: REDIRECT,
            target: Target::Balance,
        },
        case("not ours: TCP to another port", tcp(CLIENT, (VIP.0, 22), Flags::Ack, 0), PASS, Target::Balance),
        case("not ours: SYN to another port", tcp(CLIENT, (VIP.0, 22), Flags::Syn, 0), PASS, Target::Balance),
        case(
            "new connection, wlc, 2 backends",
            tcp(CLIENT, (VIP.0, 81), Flags::Syn, 1 << 22),
            REDIRECT,
            Target::Balance,
        ),
    ]
}

/// The programs, and where they are called from.
struct Bench {
    ebpf: Ebpf,
    pattern: Array<MapData, Pattern>,
    target: ProgramArray<MapData>,
    programs: [ProgramFd; 3],
}

impl Bench {
    fn load(balance: ProgramFd, egress: u32) -> Self {
        let mut ebpf = EbpfLoader::new().override_global("EGRESS", &egress, true).load(OBJECT).unwrap();
        for name in ["restore", "floor", "redirect"] {
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let fd = |name| {
            let program: &Xdp = ebpf.program(name).unwrap().try_into().unwrap();
            program.fd().unwrap().try_clone().unwrap()
        };
        let programs = [fd("floor"), fd("redirect"), balance];
        let pattern = ebpf.take_map("PATTERN").unwrap().try_into().unwrap();
        let target = ebpf.take_map("TARGET").unwrap().try_into().unwrap();
        Self { ebpf, pattern, target, programs }
    }

    /// Nanoseconds for each of `count` packets; the last one's action must be the expected one.
    fn run(&mut self, case: &Case, pattern: &Pattern, count: u32) -> u64 {
        self.target.set(0, &self.programs[case.target as usize], 0).unwrap();
        self.pattern.set(0, pattern, 0).unwrap();
        let program: &Xdp = self.ebpf.program("restore").unwrap().try_into().unwrap();
        let options =
            TestRunOptions { data_in: Some(&[0; LENGTH]), repeat: count, ..TestRunOptions::default() };
        let result = program.test_run(options).unwrap();
        if pattern.count == case.pattern.count && case.before.is_empty() || count > 1 {
            assert_eq!(result.return_value, case.action, "{}: not what it should measure", case.name);
        }
        result.duration.as_nanos() as u64
    }
}

fn main() {
    let namespace = Namespace::new();
    let egress = set_up(&namespace);
    let pins = namespace.pinned().pop().expect("a load");
    let balance = ProgramInfo::from_pin(pins.join("balance-native")).unwrap().fd().unwrap();
    enter(&namespace.name);
    let mut bench = Bench::load(balance, egress);
    let mut cases = cases();
    let mut times = vec![Vec::new(); cases.len()];
    let mut connected = 0;
    for case in &cases {
        for before in &case.before {
            // The way of a first packet may end in the kernel, so only the timed runs are checked.
            bench.run(
                &Case { action: REDIRECT, before: vec![*before], pattern: *before, ..*case },
                before,
                before.flows.max(1),
            );
        }
    }
    for round in 1..=ROUNDS {
        eprint!("\rround {round} of {ROUNDS}");
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let is_new = case.pattern.flows == 1 << 22;
            let count = if is_new { PACKETS / 10 } else { PACKETS.max(case.pattern.flows) };
            if is_new {
                case.pattern.count = connected;
                connected += count;
            }
            let pattern = case.pattern;
            times.push(bench.run(case, &pattern, count));
        }
    }
    eprintln!();
    report(&cases, &mut times);
}

/// Services, routes and neighbours; the index of the interface towards the backends.
fn set_up(namespace: &Namespace) -> u32 {
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
    ip("address add 10.9.1.1/24 dev lan1");
    ip("address add fd09::1/64 dev lan0 nodad");
    ip("address add fd19::1/64 dev lan1 nodad");
    ip("neighbour add 10.9.0.2 lladdr 02:00:00:00:00:02 dev lan0");
    ip("neighbour add fd09::2 lladdr 02:00:00:00:00:02 dev lan0");
    ip("route add 10.1.0.0/16 via 10.9.0.2");
    ip("route add fd01::/16 via fd09::2");
    let settings = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
    assert!(namespace.command("sh", &["-c", settings]).status().unwrap().success());
    namespace.ok("load lan0 lan1 --mode native");
    for host in ["11", "12"] {
        ip(&format!("neighbour add 10.9.1.{host} lladdr 02:00:00:00:00:{host} dev lan1"));
        ip(&format!("neighbour add fd19::{host} lladdr 02:00:00:00:00:{host} dev lan1"));
    }
    for (service, backends) in [
        ("10.9.0.1:80", &["10.9.1.11:80"][..]),
        ("10.9.0.1:81", &["10.9.1.11:81", "10.9.1.12:81"]),
        ("[fd09::1]:80", &["[fd19::11]:80"]),
    ] {
        namespace.ok(&format!("service add -t {service} -s wlc"));
        for backend in backends {
            namespace.ok(&format!("backend add -t {service} -r {backend} -m"));
        }
    }
    let link = ip("-o link show lan1");
    link.split(':').next().unwrap().trim().parse().unwrap()
}

/// Routes are looked up in the namespace of whoever runs the program.
fn enter(name: &str) {
    let namespace = File::open(format!("/run/netns/{name}")).unwrap();
    // SAFETY: a valid descriptor, and this process has one thread.
    assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
}

fn report(cases: &[Case], times: &mut [Vec<u64>]) {
    let median = |times: &mut Vec<u64>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let floor = median(&mut times[0]);
    println!("{:38} {:>6} {:>6} {:>6} {:>10}", "ns per packet", "min", "median", "max", "over floor");
    for (case, times) in cases.iter().zip(times) {
        let middle = median(times);
        let (least, most) = (times[0], times[times.len() - 1]);
        println!("{:38} {least:>6} {middle:>6} {most:>6} {:>10}", case.name, middle as i64 - floor as i64);
    }
}
