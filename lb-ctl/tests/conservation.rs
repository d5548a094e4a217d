//! What connections take comes back, by every method: a million of them through `BPF_PROG_TEST_RUN` of the program
//! that is loaded in earnest. Needs root.

mod balance;
#[path = "../../lb-ebpf/tests/scenario/mod.rs"]
mod scenario;

use balance::kernel::{Action, Hook, Kernel};
use lb_common::{
    backend::method::{LOCAL, NAT, ROUTE, TUNNEL},
    connection::state::is_live,
    reason::{Reason, Verdict},
    service::flags::FULL_NAT,
    time::ticks,
};
use scenario::{
    BOTH, CLIENT_MAC, OUTSIDE, OUTSIDE_MAC, Pool, SYN, Scenario,
    frames::{tcp, udp},
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

const SLOTS: u32 = 1 << 18;
const FTP_DATA: u16 = 20;
/// Longer than a connection and the rest of its slot last.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first packets of different connections: over TCP and UDP, IPv4 and IPv6 in turn.
struct Clients {
    frames: Vec<Vec<u8>>,
    count: u32,
}

impl Clients {
    fn new() -> Self {
        let of = |ends: &scenario::Ends| [tcp(ends.client, ends.vip, SYN), udp(ends.client, ends.vip)];
        let packets = BOTH.into_iter().flat_map(of);
        Self {
            frames: packets.map(|packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame()).collect(),
            count: 0,
        }
    }

    /// The next one, of one kind or of all in turn. No checksum fits, which XDP does not look at.
    fn next(&mut self, kind: Option<usize>) -> &[u8] {
        self.count += 1;
        if self.count as u16 == FTP_DATA {
            // What comes from there opens no connection.
            self.count += 1;
        }
        let kind = kind.unwrap_or(self.count as usize % self.frames.len());
        let frame = &mut self.frames[kind];
        let (address, port) = if frame[12] == 8 { (26, 34) } else { (34, 54) };
        let number = self.count.to_be_bytes();
        frame[address..address + 4].copy_from_slice(&[10, number[0], number[1], 1]);
        frame[port..port + 2].copy_from_slice(&number[2..]);
        frame
    }
}

/// Opens so many connections. Others end meanwhile, but not always as fast: for want of a slot, which rests for a
/// while, or of a port, a client is refused, and comes again. How often that was.
fn open(kernel: &mut Kernel, clients: &mut Clients, count: u32, kind: Option<usize>, fine: Reason) -> u64 {
    let before = kernel.reasons();
    let mut refused = 0;
    for _ in 0..count {
        let frame = clients.next(kind);
        let end = Instant::now() + PATIENCE;
        while kernel.run(frame, OUTSIDE).0 == Action::Drop {
            refused += 1;
            assert!(Instant::now() < end, "nothing becomes free: {:?}", kernel.reasons());
            sleep(Duration::from_millis(100));
        }
    }
    let after = kernel.reasons();
    let of = |reason: Reason| after[reason as usize] - before[reason as usize];
    let sent =
        |reason: &&Reason| **reason == fine || matches!(reason.verdict(), Verdict::Forward | Verdict::Kernel);
    let opened: u64 = Reason::ALL.iter().filter(sent).map(|reason| of(*reason)).sum();
    assert_eq!(opened, u64::from(count), "{after:?}");
    assert_eq!(of(Reason::TableFull) + of(Reason::PortsTaken), refused, "{after:?}");
    refused
}

/// Sends the first packets of so many connections for which there is no port.
fn assert_refused(kernel: &mut Kernel, clients: &mut Clients, count: u32, kind: usize) {
    let refused = |kernel: &mut Kernel| kernel.reasons()[Reason::PortsTaken as usize];
    let before = refused(kernel);
    for _ in 0..count {
        assert_eq!(kernel.run(clients.next(Some(kind)), OUTSIDE).0, Action::Drop);
    }
    assert_eq!(refused(kernel) - before, u64::from(count));
}

/// Waits until all connections have ended; nothing of them may be left.
fn assert_empty(kernel: &mut Kernel) {
    let end = Instant::now() + PATIENCE;
    while kernel.counted() != [(0, 0); 4] && Instant::now() < end {
        sleep(Duration::from_millis(100));
    }
    // The slots rest for two rounds.
    sleep(Duration::from_secs(2));
    assert_eq!(kernel.counted(), [(0, 0); 4]);
    assert_eq!(kernel.taken(), 0, "ports");
    assert_eq!(kernel.indexed(), 0, "entries of the index");
    assert_eq!(kernel.connections().iter().filter(|connection| is_live(connection.word)).count(), 0);
}

#[test]
fn a_million_connections_leave_nothing_behind() {
    for (method, flags, fine) in [
        (NAT, FULL_NAT, Reason::Redirected),
        (NAT, 0, Reason::Redirected),
        (ROUTE, 0, Reason::Redirected),
        (TUNNEL, 0, Reason::Redirected),
        (LOCAL, 0, Reason::LocalBackend),
    ] {
        let started = Instant::now();
        let mut kernel = Kernel::new(Hook::NATIVE, SLOTS);
        let world = Scenario { connections: SLOTS, method, flags, pool: Pool::AllPorts, ..Scenario::new("") };
        kernel.install(&world);
        kernel.set_timeouts(1);
        kernel.sweep("arm");
        let refused = open(&mut kernel, &mut Clients::new(), 1_000_000, None, fine);
        assert_empty(&mut kernel);
        kernel.sweep("disarm");
        println!("method {method}, flags {flags}: {refused} refused first, {:?}", started.elapsed());
    }
}

#[test]
fn every_port_towards_a_backend_is_given_and_comes_back() {
    let mut kernel = Kernel::new(Hook::NATIVE, SLOTS);
    let world = Scenario { connections: SLOTS, flags: FULL_NAT, pool: Pool::AllPorts, ..Scenario::new("") };
    kernel.install(&world);
    kernel.set_timeouts(ticks(15));
    kernel.sweep("arm");
    let mut clients = Clients::new();
    for _ in 0..2 {
        assert_eq!(open(&mut kernel, &mut clients, 64_512, Some(0), Reason::Redirected), 0);
        assert_refused(&mut kernel, &mut clients, 100, 0);
        // Those of the UDP backend are others.
        assert_eq!(open(&mut kernel, &mut clients, 100, Some(1), Reason::Redirected), 0);
        assert_eq!(kernel.taken(), 64_612);
        assert_empty(&mut kernel);
    }
    kernel.sweep("disarm");
}
