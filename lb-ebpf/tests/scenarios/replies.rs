//! What a backend sees is what the client sent, and a reply undoes what was done to its forward.

use super::*;
use lb_common::backend::method::{LOCAL, NAT, ROUTE};

proptest! {
    #[test]
    fn a_reply_undoes_its_forward(
        family in 0usize..2, port in OPENING, protocol in 0usize..3, way in 0usize..5,
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (method, flags) = [(NAT, 0), (NAT, FULL_NAT), (ROUTE, 0), (TUNNEL, 0), (LOCAL, 0)][way];
        let tables = tables(&Scenario { method, flags, sctp: protocol == 2, ..Scenario::new(PLAIN) }, 64);
        let sent = match protocol {
            2 => sctp(BOTH[family].client, BOTH[family].vip, 1).data(data),
            kind => segment(family, port, kind == 0, SYN, data).0,
        };
        let sent = sent.link(OUTSIDE_MAC, CLIENT_MAC).frame();
        let (outcome, out) = run(&tables, sent.clone(), OUTSIDE);
        let expected = match method {
            LOCAL => Outcome::of(Reason::LocalBackend),
            _ => Outcome { reason: Reason::Redirected, detail: INSIDE },
        };
        prop_assert_eq!(outcome, expected);
        let seen = if method == TUNNEL { [&out[..14], carried(&out, 0)].concat() } else { out };
        let (outcome, out) = run(&tables, turned(&seen), INSIDE);
        if method == NAT {
            prop_assert_eq!(outcome, Outcome { reason: Reason::Redirected, detail: OUTSIDE });
        } else {
            // The server saw what the client sent, and answers it: nothing is left to undo.
            prop_assert_eq!(outcome, Outcome::of(Reason::DirectReply));
            prop_assert_eq!(&out, &turned(&seen));
        }
        prop_assert_eq!(below_ttl(&out), below_ttl(&turned(&sent)));
    }

    #[test]
    fn what_is_unwrapped_is_what_was_sent_but_for_its_ttl(
        family in 0usize..2, across: bool, kind in 0usize..4, port in OPENING, is_tcp: bool,
        data in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (kind, flags, between) = [(0, 0, 0), (1, 0, 12), (2, 0, 4), (2, 1, 8)][kind];
        let tunnel = Tunnel { kind, flags, port: 6080u16.to_be() };
        let web = if across { Web::Across } else { Web::There };
        let tables = tables(&Scenario { method: TUNNEL, tunnel, web, ..Scenario::new(PLAIN) }, 64);
        let sent = segment(family, port, is_tcp, SYN, data).0;
        let (outcome, out) = run(&tables, sent.clone().link(OUTSIDE_MAC, CLIENT_MAC).frame(), OUTSIDE);
        prop_assert_eq!(outcome, Outcome { reason: Reason::Redirected, detail: INSIDE });
        prop_assert_eq!(carried(&out, between), &sent.ttl(63).packet()[..]);
    }
}

/// The frame with its ends exchanged, which no checksum minds but that of SCTP.
fn turned(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    let (address, length, protocol) = if frame[12] == 8 { (26, 4, 23) } else { (22, 16, 20) };
    let ports = address + 2 * length;
    for (at, length) in [(0, 6), (address, length), (ports, 2)] {
        bytes[at..at + 2 * length].rotate_left(length);
    }
    if frame[protocol] == 132 {
        bytes[ports + 8..ports + 12].fill(0);
        let sum = crc32c(&bytes[ports..]).to_le_bytes();
        bytes[ports + 8..ports + 12].copy_from_slice(&sum);
    }
    bytes
}

/// Where an outer packet of a tunnel carries the packet itself.
fn carried(frame: &[u8], between: usize) -> &[u8] {
    let outer = if frame[12] == 8 { 20 } else { 40 };
    &frame[14 + outer + between..]
}
