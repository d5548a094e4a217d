//! A backend behind a neighbour that does not answer.

use super::{
    ACK, BOTH, CLIENT_MAC, OUTSIDE, OUTSIDE_MAC, SYN, Scenario, Web, address, run,
    scenario::{
        back,
        frames::{Packet, icmp, tcp},
        kept,
    },
    tables,
};
use lb_common::time::ticks;
use lb_ebpf::{Reason, Route};

#[test]
fn a_client_of_a_silent_backend_is_told_after_three_seconds_and_served_once_it_speaks() {
    for ends in BOTH {
        let scenario = Scenario { web: Web::Silent, ..Scenario::new("silence") };
        let mut tables = tables(&scenario, 64);
        let start = tables.now.get();
        let frame = |packet: Packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame();
        let syn = |to| tcp(ends.client, to, SYN);
        let v4 = !ends.client.starts_with('[');
        let mut answer = icmp(
            ends.vip,
            ends.client,
            if v4 { 3 } else { 1 },
            if v4 { 1 } else { 3 },
            0,
            syn(ends.vip).packet(),
        );
        if v4 {
            (answer.service, answer.identification) = (0xc0, 0);
        }
        for seconds in [0, 1] {
            tables.now.set(start + ticks(seconds));
            let (outcome, out) = run(&tables, frame(syn(ends.vip)), OUTSIDE);
            assert_eq!((outcome.reason, Some(out)), (Reason::KernelNeighbour, kept(syn(ends.silent))));
        }
        tables.now.set(start + ticks(3));
        let (outcome, out) = run(&tables, frame(syn(ends.vip)), OUTSIDE);
        assert_eq!((outcome.reason, Some(out)), (Reason::AnsweredHostUnreachable, back(answer)));

        // An error about an error is never sent.
        let about = icmp(
            ends.router,
            ends.vip,
            if v4 { 11 } else { 3 },
            0,
            0,
            tcp(ends.vip, ends.client, ACK).packet(),
        );
        assert_eq!(run(&tables, frame(about), OUTSIDE).0.reason, Reason::IcmpErrorKernel);

        tables.answers.set(0);
        assert_eq!(run(&tables, frame(syn(ends.vip)), OUTSIDE).0.reason, Reason::AnswerLimited);

        let web = tables.routes[&address(ends.web)];
        assert!(matches!(web, Route::Hop { .. }));
        tables.routes.insert(address(ends.silent), web);
        assert_eq!(run(&tables, frame(syn(ends.vip)), OUTSIDE).0.reason, Reason::Redirected);
    }
}
