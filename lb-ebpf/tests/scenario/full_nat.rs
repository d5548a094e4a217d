//! Full NAT: the backend sees an address of the balancer.

use super::{
    ACK, BOTH, CLIENT_MAC, Ends, INSIDE, INSIDE_MAC, OUTSIDE_MAC, Pool, SYN, Scenario, WEB_MAC, Web, back,
    frames::{Checksum, Packet, icmp, sctp, tcp, udp},
    kept, to_client, to_web,
};
use lb_common::{
    reason::Reason::*,
    service::flags::{FULL_NAT, TOA},
};
use std::net::{IpAddr, SocketAddr};

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter().flat_map(|ends| [flows(ends), errors(ends), told(ends)].concat()).collect()
}

fn family(e: &Ends) -> &'static str {
    if e.client.starts_with('[') { "IPv6" } else { "IPv4" }
}

fn name(e: &Ends, text: &str) -> Scenario {
    Scenario { flags: FULL_NAT, ..Scenario::new(format!("full NAT: {text} ({})", family(e))) }
}

/// The first packet of a connection over TCP.
fn opened(scenario: Scenario, e: &Ends) -> Scenario {
    scenario.client_sends(tcp(e.client, e.vip, SYN), Redirected, to_web(tcp(e.source, e.web, SYN)))
}

fn flows(e: &Ends) -> Vec<Scenario> {
    let neighbour = e.other.replace("8080", "50000");
    let server = e.web.replace("8080", "50000");
    // Who is in the backends' network sends and gets everything inside.
    let inside = |text: &str, from: &str| {
        name(e, text)
            .web_sends(tcp(from, e.vip, SYN), Redirected, to_web(tcp(e.source, e.web, SYN)))
            .web_sends(tcp(e.web, e.source, SYN | ACK), Redirected, to_web(tcp(e.vip, from, SYN | ACK)))
            .web_sends(tcp(from, e.vip, ACK), Redirected, to_web(tcp(e.source, e.web, ACK)))
            .web_sends(tcp(e.web, e.source, ACK), Redirected, to_web(tcp(e.vip, from, ACK)))
    };
    let piece =
        |from: &str, to: &str, offset, more| udp(from, to).data(vec![b'x'; 16]).fragment(offset, more);
    let long = || tcp(e.client, e.vip, ACK).data(vec![b'x'; 1600]).dont_fragment();
    let (kind, code, longest) = if family(e) == "IPv4" { (3, 4, 576 - 28) } else { (2, 0, 1280 - 48) };
    let mut answer = icmp(e.vip, e.client, kind, code, 1500, long().packet()[..longest].to_vec());
    if family(e) == "IPv4" {
        (answer.service, answer.identification) = (0xc0, 0);
    }
    let from_source = |kind, code, detail, about: &Packet, longest: usize| {
        let about = about.packet();
        let mut answer =
            icmp(e.source, e.web, kind, code, detail, about[..about.len().min(longest)].to_vec());
        if family(e) == "IPv4" {
            (answer.service, answer.identification) = (0xc0, 0);
        }
        Some(answer.link(WEB_MAC, INSIDE_MAC).frame())
    };
    let long_reply = tcp(e.web, e.source, ACK).data(vec![b'x'; 1600]).dont_fragment();
    let last_reply = tcp(e.web, e.source, ACK).ttl(1);
    let time = if family(e) == "IPv4" { 11 } else { 3 };
    vec![
        opened(name(e, "a reply larger than the MTU is answered by the source"), e).web_sends(
            long_reply.clone(),
            AnsweredTooBig,
            from_source(kind, code, 1500, &long_reply, longest),
        ),
        opened(name(e, "a reply whose TTL ends here is answered by the source"), e).web_sends(
            last_reply.clone(),
            AnsweredTimeExceeded,
            from_source(time, 0, 0, &last_reply, longest),
        ),
        opened(name(e, "the backend sees the balancer, the client the service"), e)
            .web_sends(
                tcp(e.web, e.source, SYN | ACK),
                Redirected,
                to_client(tcp(e.vip, e.client, SYN | ACK)),
            )
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.source, e.web, ACK)))
            .web_sends(tcp(e.web, e.source, ACK), Redirected, to_client(tcp(e.vip, e.client, ACK))),
        name(e, "UDP")
            .client_sends(udp(e.client, e.vip), Redirected, to_web(udp(e.source, e.web)))
            .web_sends(udp(e.web, e.source), Redirected, to_client(udp(e.vip, e.client)))
            .client_sends(udp(e.client, e.vip), Redirected, to_web(udp(e.source, e.web))),
        Scenario { sctp: true, ..name(e, "SCTP") }
            .client_sends(sctp(e.client, e.vip, 1), Redirected, to_web(sctp(e.source, e.web, 1)))
            .web_sends(sctp(e.web, e.source, 2), Redirected, to_client(sctp(e.vip, e.client, 2))),
        inside("a client in the backends' network", &neighbour),
        inside("a backend that is its own client", &server),
        name(e, "fragments, there and back")
            .client_sends(
                piece(e.client, e.vip, 0, true),
                Redirected,
                to_web(piece(e.source, e.web, 0, true)),
            )
            .client_sends(piece(e.client, e.vip, 3, false), Redirected, {
                // A later piece has no header: what looks like one is data.
                let mut piece = piece(e.client, e.vip, 3, false);
                let ends = udp(e.source, e.web);
                let data = piece.transport();
                (piece.source, piece.destination) = (ends.source, ends.destination);
                piece.payload = super::frames::Payload::Other(17, data);
                to_web(piece)
            })
            .web_sends(
                piece(e.web, e.source, 0, true),
                Redirected,
                to_client(piece(e.vip, e.client, 0, true)),
            ),
        {
            let reply = tcp(e.web, e.client, ACK).link(INSIDE_MAC, WEB_MAC).frame();
            opened(name(e, "what the backend sends to the client itself is no reply"), e).bytes(
                reply.clone(),
                INSIDE,
                MidStream,
                Some(reply),
            )
        },
        Scenario { pool: Pool::NoAddress, ..name(e, "without an address in the pool") }
            .client_sends(tcp(e.client, e.vip, SYN), PoolEmpty, None)
            .client_passes(tcp(e.client, e.vip, ACK), MidStream),
        Scenario { pool: Pool::NoPort, ..name(e, "when every port is taken") }
            .client_sends(tcp(e.client, e.vip, SYN), PortsTaken, None)
            .client_passes(tcp(e.client, e.vip, ACK), MidStream),
        opened(name(e, "the last port is given once"), e)
            .client_sends(tcp(&e.client.replace("40000", "40001"), e.vip, SYN), PortsTaken, None)
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.source, e.web, ACK)))
            .client_sends(udp(e.client, e.vip), Redirected, to_web(udp(e.source, e.web))),
        opened(name(e, "what is larger than the MTU is answered by the service"), e).client_sends(
            long(),
            AnsweredTooBig,
            back(answer),
        ),
        Scenario { devices: 0, ..name(e, "where XDP cannot send, the kernel gets the rewritten packet") }
            .client_sends(tcp(e.client, e.vip, SYN), KernelDevice, kept(tcp(e.source, e.web, SYN))),
        Scenario { web: Web::Silent, ..name(e, "while the neighbour is not known the kernel forwards") }
            .client_sends(tcp(e.client, e.vip, SYN), KernelNeighbour, kept(tcp(e.source, e.silent, SYN))),
        Scenario { partial: true, ..name(e, "a partial checksum is completed") }.client_sends(
            tcp(e.client, e.vip, SYN).checksum(Checksum::Partial),
            Redirected,
            to_web(tcp(e.source, e.web, SYN)),
        ),
    ]
}

fn errors(e: &Ends) -> Vec<Scenario> {
    let (too_big, code) = if family(e) == "IPv4" { (3, 4) } else { (2, 0) };
    let mut all = Vec::new();
    for cut in [8, usize::MAX] {
        let header = if family(e) == "IPv4" { 20 } else { 40 };
        let quote = |from: &str, to: &str| {
            let packet = tcp(from, to, ACK).ttl(63).packet();
            packet[..packet.len().min(cut.saturating_add(header))].to_vec()
        };
        all.push(
            opened(name(e, &format!("an ICMP error from the client's side, {cut} bytes quoted")), e)
                .client_sends(
                    icmp(e.router, e.vip, too_big, code, 1400, quote(e.vip, e.client)),
                    IcmpError,
                    to_web(icmp(e.source, e.web, too_big, code, 1400, quote(e.web, e.source))),
                ),
        );
        all.push(
            opened(name(e, &format!("an ICMP error from the backend's side, {cut} bytes quoted")), e)
                .web_sends(
                    icmp(e.web, e.source, too_big, code, 1400, quote(e.source, e.web)),
                    IcmpError,
                    to_client(icmp(e.vip, e.client, too_big, code, 1400, quote(e.client, e.vip))),
                ),
        );
    }
    all
}

/// The option that names the client.
fn option(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let address = match client.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    [&[254, 4 + address.len() as u8], &client.port().to_be_bytes()[..], &address].concat()
}

fn told(e: &Ends) -> Vec<Scenario> {
    let toa = |text: &str| Scenario { flags: FULL_NAT | TOA, ..name(e, text) };
    let sent = |flags| tcp(e.client, e.vip, flags);
    let seen = |flags| tcp(e.source, e.web, flags);
    let named = |packet: Packet| packet.tcp_options(&option(e.client));
    let frame = |packet: Packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame();
    let room = 1500 - seen(ACK).data(vec![]).packet().len() - option(e.client).len();
    let long = |length| vec![b'x'; length];
    vec![
        opened(toa("the client is named until the backend has answered"), e)
            .web_sends(
                tcp(e.web, e.source, SYN | ACK),
                Redirected,
                to_client(tcp(e.vip, e.client, SYN | ACK)),
            )
            .client_sends(sent(ACK).data(vec![]), Redirected, to_web(named(seen(ACK).data(vec![]))))
            .client_sends(sent(ACK), Redirected, to_web(named(seen(ACK))))
            .web_sends(tcp(e.web, e.source, ACK), Redirected, to_client(tcp(e.vip, e.client, ACK)))
            .client_sends(sent(ACK), Redirected, to_web(seen(ACK))),
        opened(toa("a packet with as much room as the option needs"), e)
            .client_sends(sent(ACK).data(long(room)), Redirected, to_web(named(seen(ACK).data(long(room)))))
            .client_sends(sent(ACK).data(long(room + 1)), Redirected, to_web(seen(ACK).data(long(room + 1)))),
        {
            let full = [1; 40 - 4];
            opened(toa("a TCP header with no room for the option"), e).client_sends(
                sent(ACK).tcp_options(&full),
                Redirected,
                to_web(seen(ACK).tcp_options(&full)),
            )
        },
        {
            let others = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
            let both = [option(e.client), others.to_vec()].concat();
            opened(toa("options of the client's come after it"), e).client_sends(
                sent(ACK).tcp_options(&others),
                Redirected,
                to_web(seen(ACK).tcp_options(&both)),
            )
        },
        toa("UDP has no option").client_sends(udp(e.client, e.vip), Redirected, to_web(udp(e.source, e.web))),
        Scenario { partial: true, ..toa("a partial checksum is completed with the option") }
            .client_sends(sent(SYN).checksum(Checksum::Partial), Redirected, to_web(seen(SYN)))
            .client_sends(sent(ACK).checksum(Checksum::Partial), Redirected, to_web(named(seen(ACK)))),
        Scenario {
            partial: true,
            devices: 0,
            ..toa("a partial checksum that the kernel completes stays where it is")
        }
        .client_sends(
            sent(SYN).checksum(Checksum::Partial),
            KernelDevice,
            kept(seen(SYN).checksum(Checksum::Partial)),
        )
        .client_sends(
            sent(ACK).checksum(Checksum::Partial),
            KernelDevice,
            kept(seen(ACK).checksum(Checksum::Partial)),
        ),
        Scenario { devices: 0, ..toa("the kernel forwards a packet with the option") }
            .client_sends(sent(SYN), KernelDevice, kept(seen(SYN)))
            .client_sends(sent(ACK), KernelDevice, kept(named(seen(ACK)))),
        opened(toa("a frame with a tag goes without"), e).bytes(
            frame(sent(ACK).tag(0x8100)),
            super::OUTSIDE,
            KernelVlan,
            Some(frame(seen(ACK).tag(0x8100))),
        ),
    ]
}
