//! Tunnels: what is put around a packet, and where it goes.

use super::{
    ACK, ADDRESSES, BOTH, Ends, INSIDE_MAC, SYN, Scenario, V4, V6, WEB_MAC, Web, back,
    frames::{Checksum, Packet, Payload, icmp, packet, tcp, udp},
    kept,
};
use lb_common::{
    backend::method::TUNNEL,
    reason::Reason::*,
    tunnel::{
        Tunnel,
        flags::{CSUM, REMCSUM},
        kind::{GRE, GUE, IPIP},
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for e in BOTH {
        for across in [false, true] {
            all.extend(kinds(e, across));
        }
        all.extend(ways(e));
    }
    all
}

fn ip(text: &str) -> IpAddr {
    text.parse::<SocketAddr>().unwrap().ip()
}

const fn tunnel(kind: u8, flags: u8) -> Tunnel {
    Tunnel { kind, flags, port: if kind == GUE { 6080u16.to_be() } else { 0 } }
}

/// The kinds of tunnels.
pub const KINDS: [Tunnel; 6] = [
    tunnel(IPIP, 0),
    tunnel(GUE, 0),
    tunnel(GUE, CSUM),
    tunnel(GUE, REMCSUM),
    tunnel(GRE, 0),
    tunnel(GRE, CSUM),
];

/// A packet as it is wrapped: its own TTL and the outer one are given, all else follows from it.
fn wrapped(inner: &Packet, to: &Ends, tunnel: Tunnel, ttl: u8, remote: bool) -> Packet {
    let v4 = inner.source.is_ipv4();
    let number = if v4 { 4 } else { 41 };
    let bytes = inner.packet();
    let payload = match tunnel.kind {
        GUE => {
            let mut data = vec![0, number, 0, 0];
            if remote {
                let start = if v4 { 20u16 } else { 40 };
                data = vec![2, number, 0, 1, 0x80, 0, 0, 0];
                data.extend([start.to_be_bytes(), (start + 16).to_be_bytes()].concat());
            }
            data.extend(bytes);
            Payload::Udp { source: 0, destination: 6080, data }
        }
        GRE => {
            let kind = if v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
            let mut data = vec![if tunnel.flags & CSUM != 0 { 0x80 } else { 0 }, 0, kind[0], kind[1]];
            if tunnel.flags & CSUM != 0 {
                data.extend([0; 4]);
            }
            data.extend(bytes);
            if tunnel.flags & CSUM != 0 {
                let sum = !super::frames::sum(&data);
                data[4..6].copy_from_slice(&sum.to_be_bytes());
            }
            Payload::Other(47, data)
        }
        _ => Payload::Other(number, bytes),
    };
    let [own4, own6] = ADDRESSES.map(ip);
    let destination = ip(to.web);
    let mut outer = packet(if destination.is_ipv4() { own4 } else { own6 }, destination, payload).ttl(ttl);
    outer.service = inner.service;
    outer.dont_fragment = v4 && inner.dont_fragment;
    if outer.dont_fragment {
        outer.identification = 0;
    }
    outer
}

/// What the balancer chooses: the identification of an IPv4 packet that may be fragmented, with the header's
/// checksum, and the source port of GUE, with UDP's.
fn chosen(outer: &Packet, at: usize) -> Vec<Range<usize>> {
    let v4 = outer.destination.is_ipv4();
    let mut places = Vec::new();
    if v4 && !outer.dont_fragment {
        places.extend([at + 4..at + 6, at + 10..at + 12]);
    }
    if let Payload::Udp { .. } = outer.payload {
        let transport = at + if v4 { 20 } else { 40 };
        places.push(transport..transport + 2);
        if outer.checksum == Checksum::Full {
            places.push(transport + 6..transport + 8);
        }
    }
    places
}

/// The same, as every kind of tunnel is told to: GUE without a checksum unless that is asked for.
pub fn outer(inner: Packet, to: &Ends, tunnel: Tunnel, remote: bool) -> Packet {
    let mut outer = wrapped(&inner, to, tunnel, inner.ttl, remote);
    if tunnel.kind == GUE && tunnel.flags == 0 {
        outer.checksum = Checksum::Absent;
    }
    outer
}

/// As XDP sends it.
pub fn sent(outer: Packet) -> (Option<Vec<u8>>, Vec<Range<usize>>) {
    let places = chosen(&outer, 14);
    (Some(outer.link(WEB_MAC, INSIDE_MAC).frame()), places)
}

fn kinds(e: &Ends, across: bool) -> Vec<Scenario> {
    let v4 = e.client.starts_with('1');
    let to = if v4 != across { &V4 } else { &V6 };
    let family = |v4| if v4 { "IPv4" } else { "IPv6" };
    let web = if across { Web::Across } else { Web::There };
    let mut all = Vec::new();
    let names = ["ipip", "gue", "gue with checksum", "gue with remote checksums", "gre", "gre with checksum"];
    for (name, tunnel) in names.into_iter().zip(KINDS) {
        let name = format!("{name}: {} in {}", family(v4), family(v4 != across));
        let scenario =
            |text: &str| Scenario { method: TUNNEL, tunnel, web, ..Scenario::new(format!("{name}: {text}")) };
        let outer = |inner: Packet, remote| outer(inner, to, tunnel, remote);
        let wrap = |inner: Packet| sent(outer(inner.ttl(63), false));
        let mut with_service = tcp(e.client, e.vip, ACK).dont_fragment();
        if v4 {
            with_service.service = 0b1011_1001;
        }
        let mut congested = with_service.clone();
        congested.service |= 0b11;
        let mut first = scenario("packets are wrapped");
        for inner in [tcp(e.client, e.vip, SYN), udp(e.client, e.vip), with_service] {
            let (out, free) = wrap(inner.clone());
            first = first.client_sends(inner, Redirected, out).but_for(&free);
        }
        all.push(first);
        if v4 {
            let mut marked = outer(congested.clone().ttl(63), false);
            marked.service = 0b1011_1010;
            let (out, free) = sent(marked);
            let (opened, free_opened) = wrap(tcp(e.client, e.vip, SYN));
            all.push(
                scenario("the mark of congestion stays inside")
                    .client_sends(tcp(e.client, e.vip, SYN), Redirected, opened)
                    .but_for(&free_opened)
                    .client_sends(congested, Redirected, out)
                    .but_for(&free),
            );
        }
        // Left to the kernel, which takes the outer TTL down.
        let kernel = {
            let inner = tcp(e.client, e.vip, SYN).ttl(63);
            let mut outer = outer(inner, false);
            outer.ttl = 64;
            outer
        };
        let places = chosen(&kernel, 14);
        all.push(
            Scenario { devices: 0, ..scenario("where XDP cannot send, the kernel gets the wrapped packet") }
                .client_sends(tcp(e.client, e.vip, SYN), KernelDevice, kept(kernel.clone()))
                .but_for(&places),
        );
        let places = chosen(&kernel, 18);
        all.push(
            scenario("a VLAN tag stays in front")
                .client_sends(tcp(e.client, e.vip, SYN).tag(0x8100), KernelVlan, kept(kernel.tag(0x8100)))
                .but_for(&places),
        );
        let open = |inner: Packet| inner.checksum(Checksum::Partial);
        let remote = tunnel.flags & REMCSUM != 0;
        let inner = match remote {
            true => open(tcp(e.client, e.vip, SYN)),
            false => tcp(e.client, e.vip, SYN),
        };
        let (out, free) = sent(outer(inner.ttl(63), remote));
        all.push(
            Scenario { partial: true, ..scenario("a partial checksum is completed, here or at the far end") }
                .client_sends(open(tcp(e.client, e.vip, SYN)), Redirected, out)
                .but_for(&free),
        );
        // The outer checksum is that of the packet once the kernel has completed the inner one.
        let kept_open = |inner: Packet| {
            let mut frame = outer(inner.clone().ttl(63), false);
            frame.ttl = 64;
            let free = chosen(&frame, 14);
            let mut frame = kept(frame).unwrap();
            let start = frame.len() - inner.packet().len();
            frame[start..].copy_from_slice(&open(inner.ttl(63)).packet());
            (Some(frame), free)
        };
        let (out, free) = kept_open(tcp(e.client, e.vip, SYN));
        all.push(
            Scenario { partial: true, devices: 0, ..scenario("a partial checksum stays so for the kernel") }
                .client_sends(open(tcp(e.client, e.vip, SYN)), KernelDevice, out)
                .but_for(&free),
        );
    }
    all
}

fn ways(e: &Ends) -> Vec<Scenario> {
    let v4 = e.client.starts_with('1');
    let family = if v4 { "IPv4" } else { "IPv6" };
    let tunnelled =
        |text: &str| Scenario { method: TUNNEL, ..Scenario::new(format!("-i: {text} ({family})")) };
    let wrap = |inner: Packet| sent(wrapped(&inner.clone().ttl(63), e, Tunnel::default(), 63, false));
    let answer = |mut packet: Packet| {
        if v4 {
            (packet.service, packet.identification) = (0xc0, 0);
        }
        packet
    };
    let opened = |scenario: Scenario| {
        let (out, free) = wrap(tcp(e.client, e.vip, SYN));
        scenario.client_sends(tcp(e.client, e.vip, SYN), Redirected, out).but_for(&free)
    };
    let overhead: usize = if v4 { 20 } else { 40 };
    let header = if v4 { 40 } else { 60 };
    // The longest that fits, and one byte more.
    let long = |more: usize| {
        tcp(e.client, e.vip, ACK).data(vec![b'x'; 1500 - overhead - header + more]).dont_fragment()
    };
    let (fits, free) = wrap(long(0));
    let mut all = vec![
        opened(tunnelled("what does not fit in the tunnel is answered with the MTU inside"))
            .client_sends(long(0), Redirected, fits)
            .but_for(&free)
            .client_sends(
                long(1),
                AnsweredTooBig,
                back(answer(icmp(
                    e.vip,
                    e.client,
                    if v4 { 3 } else { 2 },
                    if v4 { 4 } else { 0 },
                    1500 - overhead as u32,
                    long(1).packet()[..if v4 { 576 - 28 } else { 1280 - 48 }].to_vec(),
                ))),
            ),
        tunnelled("a TTL that ends here is answered time exceeded").client_sends(
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
        {
            let about = tcp(e.vip, e.client, ACK).packet();
            let error = icmp(e.router, e.vip, if v4 { 3 } else { 1 }, 1, 0, about);
            let (out, free) = wrap(error.clone());
            opened(tunnelled("an ICMP error about a reply goes through the tunnel"))
                .client_sends(error.clone(), Redirected, out)
                .but_for(&free)
                .client_sends(error.ttl(1), IcmpTtlExpired, None)
        },
        Scenario { web: Web::Lost, ..tunnelled("a backend without a route is the host's") }
            .client_passes(tcp(e.client, e.vip, SYN), LocalBackend),
        {
            let silent = Ends { web: e.silent, ..*e };
            let mut outer =
                wrapped(&tcp(e.client, e.vip, SYN).ttl(63), &silent, Tunnel::default(), 64, false);
            outer.ttl = 64;
            let free = chosen(&outer, 14);
            Scenario { web: Web::Silent, ..tunnelled("while the neighbour is not known the kernel sends") }
                .client_sends(tcp(e.client, e.vip, SYN), KernelNeighbour, kept(outer))
                .but_for(&free)
        },
    ];
    if v4 {
        let long = || tcp(e.client, e.vip, ACK).data(vec![b'x'; 1600]);
        let mut outer = wrapped(&long().ttl(63), e, Tunnel::default(), 64, false);
        outer.ttl = 64;
        let free = chosen(&outer, 14);
        all.push(
            opened(tunnelled("what may be fragmented is wrapped and left to the kernel"))
                .client_sends(long(), KernelFragment, kept(outer))
                .but_for(&free),
        );
    }
    all
}
