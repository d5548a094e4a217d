//! Connections: how they begin, how their packets leave, and what is refused.

use super::{
    ACK, BOTH, INSIDE, RST, SYN, Scenario, V4, Web, back,
    frames::{Checksum, icmp, tcp, udp},
    kept, to_client, to_web,
};
use lb_common::reason::Reason;

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter().flat_map(of).chain(checksums()).collect()
}

fn of(e: &super::Ends) -> Vec<Scenario> {
    let name = |text: &str| {
        Scenario::new(format!("{text} ({})", if e.client.starts_with('[') { "IPv6" } else { "IPv4" }))
    };
    let v4 = !e.client.starts_with('[');
    let unreachable = |quote: Vec<u8>| {
        let mut answer = match v4 {
            true => icmp(e.vip, e.client, 3, 3, 0, quote),
            false => icmp(e.vip, e.client, 1, 4, 0, quote),
        };
        if v4 {
            (answer.service, answer.identification) = (0xc0, 0);
        }
        answer
    };
    let big = |to: &str| tcp(e.client, to, ACK).data(vec![b'x'; 1600]).dont_fragment();
    vec![
        name("TCP goes to the backend and its reply comes back from the service")
            .open(e)
            .web_sends(
                tcp(e.web, e.client, SYN | ACK),
                Reason::Redirected,
                to_client(tcp(e.vip, e.client, SYN | ACK)),
            )
            .client_sends(tcp(e.client, e.vip, ACK), Reason::Redirected, to_web(tcp(e.client, e.web, ACK))),
        name("UDP goes to the backend and its reply comes back from the service").open_udp(e).web_sends(
            udp(e.web, e.client),
            Reason::Redirected,
            to_client(udp(e.vip, e.client)),
        ),
        name("a SYN+ACK out of nowhere makes a connection").client_sends(
            tcp(e.client, e.vip, SYN | ACK),
            Reason::Redirected,
            to_web(tcp(e.client, e.web, SYN | ACK)),
        ),
        name("TCP in mid-stream is left to the host")
            .client_passes(tcp(e.client, e.vip, ACK), Reason::MidStream),
        name("SYN+RST makes no connection").client_passes(tcp(e.client, e.vip, SYN | RST), Reason::MidStream),
        name("what belongs to no service is left to the host")
            .client_passes(tcp(e.client, e.router, SYN), Reason::NotBalanced)
            .client_passes(udp(e.client, e.router), Reason::NotBalanced),
        Scenario { services: false, ..name("without services everything is left to the host") }
            .client_passes(tcp(e.client, e.vip, SYN), Reason::NoServices),
        Scenario { web: Web::Nobody, ..name("without a backend TCP is answered port unreachable") }
            .client_sends(
                tcp(e.client, e.vip, SYN),
                Reason::AnsweredUnreachable,
                back(unreachable(tcp(e.client, e.vip, SYN).packet())),
            ),
        Scenario { web: Web::Nobody, ..name("without a backend UDP is answered port unreachable") }
            .client_sends(
                udp(e.client, e.vip),
                Reason::AnsweredUnreachable,
                back(unreachable(udp(e.client, e.vip).packet())),
            ),
        {
            let long = udp(e.client, e.vip).data(vec![b'x'; 1400]);
            let longest = if v4 { 576 - 28 } else { 1280 - 48 };
            Scenario { web: Web::Nobody, ..name("an answer quotes no more than it may") }.client_sends(
                long.clone(),
                Reason::AnsweredUnreachable,
                back(unreachable(long.packet()[..longest].to_vec())),
            )
        },
        Scenario {
            web: Web::Nobody,
            devices: 0,
            ..name("an answer that XDP cannot send is left to the kernel")
        }
        .client_sends(
            tcp(e.client, e.vip, SYN),
            Reason::AnsweredKernel,
            // The kernel takes one off.
            kept(unreachable(tcp(e.client, e.vip, SYN).packet()).ttl(65)),
        ),
        {
            let padded = |packet: super::frames::Packet, mac: [[u8; 6]; 2]| {
                let mut frame = packet.tag(0x88a8).tag(0x8100).link(mac[0], mac[1]).frame();
                frame.extend([0; 11]);
                frame
            };
            let there = padded(udp(e.client, e.vip), [super::OUTSIDE_MAC, super::CLIENT_MAC]);
            let mut answer =
                padded(unreachable(udp(e.client, e.vip).packet()), [super::CLIENT_MAC, super::OUTSIDE_MAC]);
            answer.truncate(answer.len() - 11);
            Scenario { web: Web::Nobody, ..name("an answer keeps the VLAN tags and drops the padding") }
                .bytes(there, super::OUTSIDE, Reason::AnsweredUnreachable, Some(answer))
        },
        {
            let over = tcp(e.client, e.vip, SYN).ttl(1);
            let mut answer = icmp(e.vip, e.client, if v4 { 11 } else { 3 }, 0, 0, over.packet());
            if v4 {
                (answer.service, answer.identification) = (0xc0, 0);
            }
            name("a TTL that ends here is answered time exceeded").client_sends(
                over,
                Reason::AnsweredTimeExceeded,
                back(answer),
            )
        },
        {
            let reply = tcp(e.web, e.client, SYN | ACK).ttl(1);
            let frame = reply.clone().link(super::INSIDE_MAC, super::WEB_MAC).frame();
            name("a reply whose TTL ends here is left to the host").open(e).bytes(
                frame.clone(),
                INSIDE,
                Reason::ReplyTtlExpired,
                Some(frame),
            )
        },
        {
            let (kind, code) = if v4 { (3, 4) } else { (2, 0) };
            let longest = if v4 { 576 - 28 } else { 1280 - 48 };
            let quote = big(e.vip).packet()[..longest].to_vec();
            let mut answer = icmp(e.vip, e.client, kind, code, 1500, quote);
            if v4 {
                (answer.service, answer.identification) = (0xc0, 0);
            }
            name("what is larger than the MTU and may not be fragmented is answered with the MTU")
                .open(e)
                .client_sends(big(e.vip), Reason::AnsweredTooBig, back(answer))
        },
        {
            let reply = tcp(e.web, e.client, ACK).data(vec![b'x'; 1600]).dont_fragment();
            let frame = reply.link(super::INSIDE_MAC, super::WEB_MAC).frame();
            name("a reply larger than the MTU is left to the host").open(e).bytes(
                frame.clone(),
                INSIDE,
                Reason::ReplyTooBig,
                Some(frame),
            )
        },
        Scenario { devices: 0, ..name("where XDP cannot send, the kernel gets the rewritten packet") }
            .client_sends(tcp(e.client, e.vip, SYN), Reason::KernelDevice, kept(tcp(e.client, e.web, SYN))),
        Scenario { web: Web::Silent, ..name("while the neighbour is not known the kernel forwards") }
            .client_sends(
                tcp(e.client, e.vip, SYN),
                Reason::KernelNeighbour,
                kept(tcp(e.client, e.silent, SYN)),
            ),
        Scenario { web: Web::Lost, ..name("without a route the kernel decides") }.client_sends(
            tcp(e.client, e.vip, SYN),
            Reason::KernelRoute,
            kept(tcp(e.client, e.lost, SYN)),
        ),
        {
            let mut scenario = name("packets to a removed backend are dropped, its replies get through")
                .open(e)
                .client_sends(tcp(e.client, e.vip, ACK), Reason::BackendRemoved, None)
                .web_sends(
                    tcp(e.web, e.client, ACK),
                    Reason::Redirected,
                    to_client(tcp(e.vip, e.client, ACK)),
                );
            scenario.steps[1].before = super::Before::Remove;
            scenario
        },
        {
            let other = if v4 { "192.168.2.10:40001" } else { "[2001:db8:2::10]:40001" };
            Scenario { connections: 1, ..name("a full table refuses the new and keeps the old") }
                .open(e)
                .client_sends(tcp(other, e.vip, SYN), Reason::TableFull, None)
                .client_sends(
                    tcp(e.client, e.vip, ACK),
                    Reason::Redirected,
                    to_web(tcp(e.client, e.web, ACK)),
                )
        },
        Scenario { generic: true, ..name("generic XDP keeps what it knows of a partial checksum") }
            .client_sends(tcp(e.client, e.vip, SYN), Reason::Redirected, to_web(tcp(e.client, e.web, SYN))),
    ]
}

fn checksums() -> Vec<Scenario> {
    let mut all = Vec::new();
    for e in BOTH {
        let from = |checksum| [tcp(e.client, e.vip, SYN), udp(e.client, e.vip)].map(|p| p.checksum(checksum));
        let to = |checksum| [tcp(e.client, e.web, SYN), udp(e.client, e.web)].map(|p| p.checksum(checksum));
        for number in 0..2 {
            let [part, whole] = [Checksum::Partial, Checksum::Full];
            let what = format!("{} {}", e.client, ["TCP", "UDP"][number]);
            let sent = from(part)[number].clone();
            all.push(
                Scenario {
                    partial: true,
                    ..Scenario::new(format!("{what}: a partial checksum is completed where XDP sends"))
                }
                .client_sends(
                    sent.clone(),
                    Reason::Redirected,
                    to_web(to(whole)[number].clone()),
                ),
            );
            all.push(
                Scenario {
                    partial: true,
                    devices: 0,
                    ..Scenario::new(format!("{what}: a partial checksum stays partial for the kernel"))
                }
                .client_sends(
                    sent.clone(),
                    Reason::KernelDevice,
                    kept(to(part)[number].clone()),
                ),
            );
            all.push(
                Scenario {
                    partial: true,
                    generic: true,
                    ..Scenario::new(format!("{what}: a partial checksum stays partial in generic XDP"))
                }
                .client_sends(sent, Reason::Redirected, to_web(to(part)[number].clone())),
            );
            all.push(
                Scenario {
                    partial: true,
                    ..Scenario::new(format!("{what}: a full checksum stays full where partial ones may come"))
                }
                .client_sends(
                    from(whole)[number].clone(),
                    Reason::Redirected,
                    to_web(to(whole)[number].clone()),
                ),
            );
        }
    }
    for e in BOTH {
        // Of two bytes of data one pair makes the checksum zero, which UDP sends as ffff.
        let made = |to, value: u16| udp(e.client, to).data(value.to_be_bytes().to_vec());
        let is_zero = |value: &u16| {
            made(e.web, *value).packet().ends_with(&[&[0xff; 2][..], &value.to_be_bytes()].concat())
        };
        let value = (0..=u16::MAX).find(is_zero).unwrap();
        all.push(
            Scenario::new(format!("{}: a UDP checksum of zero is sent as ffff", e.client)).client_sends(
                made(e.vip, value),
                Reason::Redirected,
                to_web(made(e.web, value)),
            ),
        );
    }
    let absent = |to| udp(V4.client, to).checksum(Checksum::Absent);
    all.push(Scenario::new("UDP without a checksum gets none").client_sends(
        absent(V4.vip),
        Reason::Redirected,
        to_web(absent(V4.web)),
    ));
    let long = |to| tcp(V4.client, to, ACK).data(vec![b'x'; 1600]);
    all.push(
        Scenario::new("what is larger than the MTU and may be fragmented is left to the kernel")
            .open(&V4)
            .client_sends(long(V4.vip), Reason::KernelFragment, kept(long(V4.web))),
    );
    all
}
