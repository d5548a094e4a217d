//! The ways to a backend other than NAT.

use super::{
    ACK, BOTH, CLIENT_MAC, Ends, INSIDE, INSIDE_MAC, OUTSIDE_MAC, RST, SYN, Scenario, V4, WEB_MAC, Web, back,
    frames::{Checksum, Packet, icmp, tcp, udp},
    kept, to_web,
};
use lb_common::{
    backend::method::{LOCAL, ROUTE},
    reason::Reason::*,
};

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter().flat_map(|ends| [route(ends), local(ends)].concat()).collect()
}

fn family(e: &Ends) -> &'static str {
    if e.client.starts_with('[') { "IPv6" } else { "IPv4" }
}

/// A reply of the backend in the service's name, as it passes by.
fn seen(scenario: Scenario, reply: Packet) -> Scenario {
    let frame = reply.link(INSIDE_MAC, WEB_MAC).frame();
    scenario.bytes(frame.clone(), INSIDE, DirectReply, Some(frame))
}

fn route(e: &Ends) -> Vec<Scenario> {
    let v4 = e.client.starts_with('1');
    let direct =
        |text: &str| Scenario { method: ROUTE, ..Scenario::new(format!("-g: {text} ({})", family(e))) };
    let opened = |scenario: Scenario| {
        scenario.client_sends(tcp(e.client, e.vip, SYN), Redirected, to_web(tcp(e.client, e.vip, SYN)))
    };
    let answer = |mut packet: Packet| {
        if v4 {
            (packet.service, packet.identification) = (0xc0, 0);
        }
        packet
    };
    let long = || tcp(e.client, e.vip, ACK).data(vec![b'x'; 1600]).dont_fragment();
    let mut all = vec![
        opened(direct("a new frame and a lower TTL is all that changes"))
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.client, e.vip, ACK)))
            .client_sends(tcp(e.client, e.vip, RST), Redirected, to_web(tcp(e.client, e.vip, RST))),
        direct("UDP goes the same way").client_sends(
            udp(e.client, e.vip),
            Redirected,
            to_web(udp(e.client, e.vip)),
        ),
        seen(opened(direct("a reply that passes by is left to the host")), tcp(e.vip, e.client, SYN | ACK))
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.client, e.vip, ACK))),
        direct("a TTL that ends here is answered time exceeded").client_sends(
            tcp(e.client, e.vip, SYN).ttl(1),
            AnsweredTimeExceeded,
            back(answer(icmp(
                e.vip,
                e.client,
                if v4 { 11 } else { 3 },
                0,
                0,
                tcp(e.client, e.vip, SYN).ttl(1).packet(),
            ))),
        ),
        opened(direct("what is larger than the MTU is answered with the MTU")).client_sends(
            long(),
            AnsweredTooBig,
            back(answer(icmp(
                e.vip,
                e.client,
                if v4 { 3 } else { 2 },
                if v4 { 4 } else { 0 },
                1500,
                long().packet()[..if v4 { 576 - 28 } else { 1280 - 48 }].to_vec(),
            ))),
        ),
        Scenario { devices: 0, ..direct("what XDP cannot send is lost") }.client_sends(
            tcp(e.client, e.vip, SYN),
            RouteDevice,
            None,
        ),
        direct("a VLAN tag, which only the kernel can follow").client_sends(
            tcp(e.client, e.vip, SYN).tag(0x8100),
            RouteDevice,
            None,
        ),
        {
            let header = if v4 { 20 } else { 40 };
            let asking = tcp(e.client, e.vip, SYN);
            let rest = asking.packet()[header + 8..].to_vec();
            let question = icmp(e.client, e.silent, if v4 { 0 } else { 129 }, 0, 0, rest);
            Scenario { web: Web::Silent, ..direct("an unknown neighbour is asked for by the kernel") }
                .client_sends(asking, NeighbourAsked, kept(answer(question)))
        },
        Scenario { web: Web::Lost, ..direct("a backend without a route is the host's") }
            .client_passes(tcp(e.client, e.vip, SYN), LocalBackend),
        {
            let about = tcp(e.vip, e.client, ACK).packet();
            let error = icmp(e.router, e.vip, if v4 { 3 } else { 1 }, 1, 0, about);
            opened(direct("an ICMP error about a reply goes to the backend as it is"))
                .client_sends(error.clone(), Redirected, to_web(error.clone()))
                .client_sends(error.ttl(1), IcmpTtlExpired, None)
        },
        {
            let mut scenario = opened(direct("packets to a removed backend are dropped")).client_sends(
                tcp(e.client, e.vip, ACK),
                BackendRemoved,
                None,
            );
            scenario.steps[1].before = super::Before::Remove;
            scenario
        },
        {
            let piece = |offset, more| {
                let piece = udp(e.client, e.vip).data(vec![b'x'; 16]).fragment(offset, more);
                (piece.clone(), to_web(piece))
            };
            let ((first, first_out), (later, later_out)) = (piece(0, true), piece(3, false));
            direct("fragments go where the first one went")
                .client_sends(first, Redirected, first_out)
                .client_sends(later, Redirected, later_out)
        },
        Scenario { partial: true, ..direct("a partial checksum is completed where the kernel is not asked") }
            .client_sends(
                tcp(e.client, e.vip, SYN).checksum(Checksum::Partial),
                Redirected,
                to_web(tcp(e.client, e.vip, SYN)),
            ),
        Scenario { partial: true, generic: true, ..direct("a partial checksum stays so in generic XDP") }
            .client_sends(
                tcp(e.client, e.vip, SYN).checksum(Checksum::Partial),
                Redirected,
                to_web(tcp(e.client, e.vip, SYN).checksum(Checksum::Partial)),
            ),
    ];
    if v4 {
        let long = || tcp(V4.client, V4.vip, ACK).data(vec![b'x'; 1600]);
        all.push(opened(direct("what would have to be fragmented is lost")).client_sends(
            long(),
            RouteFragment,
            None,
        ));
    }
    all
}

fn local(e: &Ends) -> Vec<Scenario> {
    let local =
        |text: &str| Scenario { method: LOCAL, ..Scenario::new(format!("local: {text} ({})", family(e))) };
    let frame = |packet: Packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame();
    vec![
        local("packets go up as they are")
            .client_passes(tcp(e.client, e.vip, SYN), LocalBackend)
            .client_passes(tcp(e.client, e.vip, ACK), LocalBackend)
            .client_passes(udp(e.client, e.vip), LocalBackend),
        local("partial checksums, tags and TTLs too")
            .client_passes(tcp(e.client, e.vip, SYN).ttl(1), LocalBackend)
            .client_passes(tcp(e.client, e.vip, SYN).checksum(Checksum::Partial), LocalBackend)
            .passes(frame(udp(e.client, e.vip).tag(0x8100)), LocalBackend),
    ]
}
