//! Two CPUs that make the same connection at once, stage by stage.

use super::*;
use lb_common::{
    connection::state::{NONE, SYN_RECV},
    stage::Stage,
    time::{remaining, ticks},
    traffic::Traffic,
};
use lb_ebpf::{Next, accept, find, open, packet, send, shortcut};
use scenario::frames::icmp;

/// A CPU with a packet: what it does between two stages, another may do as well.
struct Cpu {
    frame: HostFrame,
    packet: packet::Packet,
    next: Next,
}

impl Cpu {
    /// A packet that has come to the first stage behind the shortcut.
    fn new(tables: &HostTables, bytes: Vec<u8>) -> Self {
        let mut frame = HostFrame { interface: OUTSIDE, ..HostFrame::new(bytes) };
        let next = shortcut::handle(&mut frame, tables);
        Self { frame, packet: *tables.packet().unwrap(), next }
    }

    /// Goes on until the packet is to open a connection, or has left.
    fn run(&mut self, tables: &HostTables) {
        let Self { frame, packet, next } = self;
        loop {
            let is_sought = *next == Next::Stage(Stage::Find);
            *next = match *next {
                Next::Stage(Stage::Find) => find(frame, tables, packet),
                Next::Stage(Stage::Open) => open(frame, tables, packet),
                Next::Stage(Stage::Send) => Next::End(send(frame, tables, packet)),
                Next::Stage(Stage::Accept) => accept(frame, tables, packet),
                Next::End(_) => return,
            };
            if is_sought && *next == Next::Stage(Stage::Open) {
                return;
            }
        }
    }
}

/// With `schedule_icmp` an error opens a connection that the client's own packet may open as well. Whichever is
/// first has made it; the other one follows.
#[test]
fn of_an_error_and_a_packet_that_open_one_connection_the_first_makes_it() {
    for (ends, kind) in [(&V4, 3), (&V6, 1)] {
        for (error_first, time) in [(true, 3), (false, 60)] {
            let sysctls = &[(Sysctl::ScheduleIcmp, 1)];
            let tables = tables(&Scenario { sysctls, ..Scenario::new(PLAIN) }, 64);
            let cpu = |packet: Packet| Cpu::new(&tables, packet.link(OUTSIDE_MAC, CLIENT_MAC).frame());
            let about = tcp(ends.vip, ends.client, ACK).packet();
            let mut error = cpu(icmp(ends.router, ends.vip, kind, 1, 0, about));
            let mut syn = cpu(tcp(ends.client, ends.vip, SYN));
            // Neither finds a connection; the shortcut has not looked for the SYN's.
            error.run(&tables);
            let opens = if ends.client == V4.client { Stage::Accept } else { Stage::Open };
            assert_eq!([error.next, syn.next], [Stage::Open, opens].map(Next::Stage));
            let (first, second) = if error_first { (&mut error, &mut syn) } else { (&mut syn, &mut error) };
            first.run(&tables);
            let made = *tables.connections.at(0).unwrap();
            let state = if error_first { NONE } else { SYN_RECV };
            assert_eq!(
                (made.state(), remaining(made.expires, tables.now.get())),
                (state, ticks(time) as i32)
            );
            second.run(&tables);

            let sent = Outcome { reason: Reason::Redirected, detail: INSIDE };
            assert_eq!(syn.next, Next::End(sent));
            assert_eq!(error.next, Next::End(Outcome { reason: Reason::IcmpError, ..sent }));
            let about = tcp(ends.web, ends.client, ACK).packet();
            let translated = icmp(ends.router, ends.web, kind, 1, 0, about);
            assert_eq!(Some(error.frame.bytes), scenario::to_web(translated));
            assert_eq!(Some(syn.frame.bytes), scenario::to_web(tcp(ends.client, ends.web, SYN)));
            // One connection, which the packet has moved on.
            assert_eq!(counted(&tables), live(&tables));
            assert_eq!(live(&tables).iter().map(|count| count.0).sum::<u32>(), 1);
            assert_eq!(live(&tables).iter().map(|count| count.1).sum::<u32>(), 0);
            assert_eq!(tables.connections.at(0).unwrap().state(), SYN_RECV);
            let traffic: Vec<_> = (0..4).map(|index| *tables.traffic.at(index).unwrap()).collect();
            let counted = |of: fn(&Traffic) -> u64| traffic.iter().map(of).sum::<u64>();
            assert_eq!(counted(|traffic| traffic.connections), 1);
            assert_eq!(counted(|traffic| traffic.packets_in), 2);
        }
    }
}
