//! ICMP errors about connections, in both directions.

use super::{
    ACK, ADDRESSES, BOTH, CLIENT_MAC, Ends, INSIDE_MAC, OUTSIDE_MAC, RST, SYN, Scenario, WEB_MAC,
    frames::{Checksum, Packet, icmp, tcp, udp},
    kept, to_client, to_web, tunnels,
};
use lb_common::{
    backend::method::TUNNEL,
    device::flags::REDIRECT,
    reason::Reason::*,
    sysctl::Sysctl::{NatIcmpSend, ScheduleIcmp, SloppyTcp},
};

pub fn all() -> Vec<Scenario> {
    let of = |ends| [of(ends), unasked(ends), about_tunnels(ends), scheduled(ends)].concat();
    BOTH.into_iter().flat_map(of).collect()
}

fn of(e: &Ends) -> Vec<Scenario> {
    let v4 = !e.client.starts_with('[');
    let kinds: &[(u8, u8, u32)] = match v4 {
        true => &[(3, 1, 0), (3, 4, 1400), (4, 0, 0), (11, 0, 0)],
        false => &[(1, 4, 0), (2, 0, 1400), (3, 0, 0), (4, 0, 6)],
    };
    let header = if v4 { 20 } else { 40 };
    let mut all = Vec::new();
    for &(kind, code, detail) in kinds {
        for (what, checksum, udp_flow, cut) in [
            ("TCP, eight bytes quoted", Checksum::Full, false, Some(8)),
            ("TCP, all quoted", Checksum::Full, false, None),
            ("UDP", Checksum::Full, true, None),
            ("UDP without checksum", Checksum::Absent, true, None),
        ] {
            let flow = |from: &str, to: &str| -> Packet {
                if udp_flow { udp(from, to).checksum(checksum) } else { tcp(from, to, ACK) }
            };
            let quote = |from: &str, to: &str| {
                let packet = flow(from, to).ttl(63).packet();
                packet[..cut.map_or(packet.len(), |cut| header + cut)].to_vec()
            };
            let title = format!("ICMP{} {kind}/{code} about {what}", if v4 { "" } else { "v6" });
            let opened = |scenario: Scenario| if udp_flow { scenario.open_udp(e) } else { scenario.open(e) };
            // A router or the client refuses a reply: it quotes what went from the service to the client.
            all.push(opened(Scenario::new(format!("{title}, from the client's side"))).client_sends(
                icmp(e.router, e.vip, kind, code, detail, quote(e.vip, e.client)),
                IcmpError,
                to_web(icmp(e.router, e.web, kind, code, detail, quote(e.web, e.client))),
            ));
            // The backend refuses what it got: it quotes what went from the client to the backend.
            all.push(opened(Scenario::new(format!("{title}, from the backend's side"))).web_sends(
                icmp(e.web, e.client, kind, code, detail, quote(e.client, e.web)),
                IcmpError,
                to_client(icmp(e.vip, e.client, kind, code, detail, quote(e.client, e.vip))),
            ));
        }
    }
    let error = |quote| icmp(e.router, e.vip, if v4 { 3 } else { 1 }, 1, 0, quote);
    let about = tcp(e.vip, e.client, ACK).packet();
    let family = if v4 { "IPv4" } else { "IPv6" };
    all.push(
        Scenario::new(format!("an error about no connection is left to the host ({family})"))
            .client_passes(error(about.clone()), IcmpToHost),
    );
    all.push(Scenario::new(format!("the TTL of an error ends here ({family})")).open(e).client_sends(
        error(about.clone()).ttl(1),
        IcmpTtlExpired,
        None,
    ));
    let about_web = tcp(e.web, e.client, ACK).packet();
    let passed = icmp(e.router, e.web, if v4 { 3 } else { 1 }, 1, 0, about_web);
    for (what, devices, tags) in [("XDP cannot send", 0, 0), ("tagged", REDIRECT, 1)] {
        let tagged = |packet: Packet| if tags == 1 { packet.tag(0x8100) } else { packet };
        let opened = match devices {
            0 => (KernelDevice, kept(tcp(e.client, e.web, SYN))),
            _ => (Redirected, to_web(tcp(e.client, e.web, SYN))),
        };
        all.push(
            Scenario {
                devices,
                ..Scenario::new(format!("an error is translated and left to the kernel: {what} ({family})"))
            }
            .client_sends(tcp(e.client, e.vip, SYN), opened.0, opened.1)
            .client_sends(
                tagged(error(about.clone())),
                IcmpErrorKernel,
                kept(tagged(passed.clone())),
            ),
        );
    }
    // Of two bytes of data one pair makes the quoted checksum zero, which UDP writes as ffff.
    let made = |from, value: u16| udp(from, e.client).data(value.to_be_bytes().to_vec()).packet();
    let is_zero =
        |value: &u16| made(e.web, *value).ends_with(&[&[0xff; 2][..], &value.to_be_bytes()].concat());
    let value = (0..=u16::MAX).find(is_zero).unwrap();
    all.push(
        Scenario::new(format!("a quoted UDP checksum of zero is written as ffff ({family})"))
            .open_udp(e)
            .client_sends(
                error(made(e.vip, value)),
                IcmpError,
                to_web(icmp(e.router, e.web, if v4 { 3 } else { 1 }, 1, 0, made(e.web, value))),
            ),
    );
    let unchanged = |packet: Packet| packet.link(OUTSIDE_MAC, CLIENT_MAC).frame();
    for cut in 0..header + 8 {
        let frame = unchanged(error(about[..cut].to_vec()));
        let reason = if cut < header { TruncatedIp } else { TruncatedTransport };
        all.push(
            Scenario::new(format!("an error that quotes {cut} bytes is left to the host ({family})"))
                .open(e)
                .passes(frame, reason),
        );
    }
    all.push(
        Scenario::new(format!("an error that comes in pieces is left to the host ({family})"))
            .open(e)
            .client_passes(error(about).fragment(0, true), IcmpToHost),
    );
    all
}

/// With `nat_icmp_send` a server hears that nobody has asked.
fn unasked(e: &Ends) -> Vec<Scenario> {
    let v4 = !e.client.starts_with('[');
    let name = |text: &str| Scenario {
        sysctls: &[(NatIcmpSend, 1)],
        ..Scenario::new(format!("nat_icmp_send: {text} ({})", if v4 { "IPv4" } else { "IPv6" }))
    };
    let answered = |scenario: Scenario, packet: Packet| {
        let (kind, code) = if v4 { (3, 3) } else { (1, 4) };
        // In the balancer's own name.
        let mut answer = icmp(ADDRESSES[usize::from(!v4)], e.web, kind, code, 0, packet.packet());
        if v4 {
            (answer.service, answer.identification) = (0xc0, 0);
        }
        scenario.web_sends(packet, AnsweredUnasked, Some(answer.link(WEB_MAC, INSIDE_MAC).frame()))
    };
    let passed = |scenario: Scenario, packet: Packet, reason| {
        let same = packet.clone().link(INSIDE_MAC, WEB_MAC).frame();
        scenario.web_sends(packet, reason, Some(same))
    };
    let elsewhere = if v4 { "192.168.33.111:99" } else { "[2001:db8:33::111]:99" };
    vec![
        answered(name("a server's segment without a connection"), tcp(e.web, e.client, ACK)),
        answered(name("a server that connects from where it answers"), tcp(e.web, e.client, SYN)),
        answered(name("a server's datagram without a connection"), udp(e.web, e.client)),
        passed(name("a server's RST is an answer itself"), tcp(e.web, e.client, RST), MidStream),
        passed(name("another port of a server is no server"), udp(elsewhere, e.client), NotBalanced),
        passed(
            Scenario { sysctls: &[], ..name("not set, a server's segment is left to the host") },
            tcp(e.web, e.client, ACK),
            MidStream,
        ),
        name("who has a connection is answered by nobody").open(e).web_sends(
            tcp(e.web, e.client, SYN | ACK),
            Redirected,
            to_client(tcp(e.vip, e.client, SYN | ACK)),
        ),
        name("a client's packet is what it was")
            .client_passes(tcp(e.client, e.vip, ACK), MidStream)
            .client_passes(udp(e.client, e.router), NotBalanced),
    ]
}

/// Errors from between the balancer and a backend, about a tunnel's packet.
fn about_tunnels(e: &Ends) -> Vec<Scenario> {
    let v4 = e.client.starts_with('1');
    let own = ADDRESSES[usize::from(!v4)];
    let (header, longest) = if v4 { (20, 576 - 28) } else { (40, 1280 - 48) };
    let [unreachable, exceeded] = if v4 { [3, 11] } else { [1, 3] };
    let (too_big, code) = if v4 { (3, 4) } else { (2, 0) };
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(longest);
        bytes
    };
    let mut all = Vec::new();
    for tunnel in tunnels::KINDS {
        let outer = |inner: Packet| tunnels::outer(inner.ttl(63), e, tunnel, false);
        let scenario = |text: &str| Scenario {
            method: TUNNEL,
            tunnel,
            ..Scenario::new(format!("{tunnel:?}: {text}: {}", e.vip))
        };
        let opened = |text: &str| {
            let (out, free) = tunnels::sent(outer(tcp(e.client, e.vip, SYN)));
            scenario(text).client_sends(tcp(e.client, e.vip, SYN), Redirected, out).but_for(&free)
        };
        let sent = tcp(e.client, e.vip, ACK).data(vec![b'x'; 1300]).dont_fragment();
        let quote = cut(outer(sent.clone()).packet());
        let overhead = outer(sent.clone()).packet().len() - sent.packet().len();
        let told = |scenario: Scenario, kind, code, [before, after]: [u32; 2], quote: &[u8]| {
            let mut out = icmp(e.vip, e.client, kind, code, after, quote[overhead..].to_vec()).ttl(65);
            if v4 {
                (out.service, out.identification) = (0xc0, 0);
            }
            scenario.web_sends(
                icmp(e.lost, own, kind, code, before, quote.to_vec()),
                IcmpErrorKernel,
                Some(out.link(INSIDE_MAC, WEB_MAC).frame()),
            )
        };
        let passes = |scenario: Scenario, reason, source: &str, quote: &[u8]| {
            let error = icmp(e.lost, source, too_big, code, 1400, quote.to_vec());
            let frame = error.clone().link(INSIDE_MAC, WEB_MAC).frame();
            scenario.web_sends(error, reason, Some(frame))
        };
        let mtu = [1400, 1400 - overhead as u32];
        let mut large =
            told(opened("an error about its packet reaches the client"), too_big, code, mtu, &quote);
        large = told(large, exceeded, 0, [0, 0], &quote);
        large = told(large, unreachable, 1, [0, 0], &quote[..overhead + header + 8]);
        all.push(if v4 { told(large, too_big, code, [0, 0], &quote) } else { large });
        all.push(passes(scenario("an error about no connection"), IcmpToHost, own, &quote));
        let mut other = outer(sent.clone());
        other.source = other.destination;
        let strange = opened("an error about another's packet is the host's");
        all.push(passes(strange, IcmpToHost, own, &cut(other.packet())));
        let short = opened("an error that quotes too little is the host's");
        let short = passes(short, TruncatedIp, own, &quote[..overhead + header - 1]);
        all.push(passes(short, TruncatedTransport, own, &quote[..overhead + header + 7]));
    }
    all
}

/// With `schedule_icmp` an error about a connection that is not here opens it.
fn scheduled(e: &Ends) -> Vec<Scenario> {
    let v4 = !e.client.starts_with('[');
    let kind = if v4 { 3 } else { 1 };
    let name = |text: &str| Scenario {
        sysctls: &[(ScheduleIcmp, 1)],
        ..Scenario::new(format!("schedule_icmp: {text} ({})", if v4 { "IPv4" } else { "IPv6" }))
    };
    let error = |quote| icmp(e.router, e.vip, kind, 1, 0, quote);
    let passed = |quote| icmp(e.router, e.web, kind, 1, 0, quote);
    let (about, at_web) = (tcp(e.vip, e.client, ACK).packet(), tcp(e.web, e.client, ACK).packet());
    let elsewhere = if v4 { "192.168.2.200:99" } else { "[2001:db8:2::200]:99" };
    let open = |scenario: Scenario| {
        scenario.client_sends(error(about.clone()), IcmpError, to_web(passed(at_web.clone())))
    };
    let of_udp = |text: &str, data: &[u8], quoted: usize| {
        let quote = |from: &str| {
            let packet = udp(from, e.client).data(data.to_vec()).packet();
            packet[..packet.len() - data.len() + quoted].to_vec()
        };
        name(text).client_sends(error(quote(e.vip)), IcmpError, to_web(passed(quote(e.web)))).web_sends(
            udp(e.web, e.client),
            Redirected,
            to_client(udp(e.vip, e.client)),
        )
    };
    vec![
        open(name("an error about a connection that is not here opens it"))
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.client, e.web, ACK)))
            .web_sends(tcp(e.web, e.client, ACK), Redirected, to_client(tcp(e.vip, e.client, ACK)))
            .client_sends(error(about.clone()), IcmpError, to_web(passed(at_web.clone()))),
        of_udp("an error about a flow of UDP opens it", &[0; 4], 4),
        of_udp("as little of it as there must be is enough", &[0; 4], 0),
        of_udp("what looks like a tunnel's header in it is none", &[0, if v4 { 4 } else { 41 }, 0, 0], 4),
        Scenario { web: super::Web::Nobody, ..name("no backend, and no error about an error") }.client_sends(
            error(about.clone()),
            NoBackend,
            None,
        ),
        Scenario { persistence: 300, ..open(name("persistent, and the client's next connection follows")) }
            .open(e),
        Scenario {
            sysctls: &[(ScheduleIcmp, 1), (SloppyTcp, 1), (NatIcmpSend, 1)],
            ..name("an error about no service is left to the host, whatever else is set")
        }
        .client_passes(error(tcp(elsewhere, e.client, ACK).packet()), IcmpToHost)
        .client_passes(error(tcp(e.client, e.vip, ACK).packet()), IcmpToHost),
        name("an error in pieces, or cut short, opens nothing")
            .client_passes(error(about.clone()).fragment(0, true), IcmpToHost)
            .client_passes(error(about[..if v4 { 24 } else { 44 }].to_vec()), TruncatedTransport)
            .client_passes(tcp(e.client, e.vip, ACK), MidStream),
    ]
}
