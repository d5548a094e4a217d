//! ICMP errors about connections, in both directions.

use super::{
    ACK, ADDRESSES, BOTH, CLIENT_MAC, Ends, INSIDE_MAC, OUTSIDE_MAC, RST, SYN, Scenario, WEB_MAC,
    frames::{Checksum, Packet, icmp, tcp, udp},
    kept, to_client, to_web,
};
use lb_common::{device::flags::REDIRECT, reason::Reason::*, sysctl::Sysctl::NatIcmpSend};

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter().flat_map(|ends| [of(ends), unasked(ends)].concat()).collect()
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
