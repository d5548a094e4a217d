//! Frames of unusual and of wrong shape.

use super::{
    BOTH, CLIENT_MAC, Ends, INSIDE_MAC, OUTSIDE, OUTSIDE_MAC, SYN, Scenario, V4, V6, WEB_MAC,
    frames::{Packet, Payload, icmp, packet, tcp, udp},
    kept, to_web,
};
use lb_common::reason::Reason::{self, *};

fn link(packet: Packet) -> Vec<u8> {
    packet.link(OUTSIDE_MAC, CLIENT_MAC).frame()
}

/// A frame with some bytes of the IP packet replaced.
fn patched(packet: Packet, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = link(packet);
    for &(offset, byte) in changes {
        frame[14 + offset] = byte;
    }
    frame
}

fn pass(name: impl Into<String>, frame: Vec<u8>, reason: Reason) -> Scenario {
    Scenario::new(name).passes(frame, reason)
}

pub fn all() -> Vec<Scenario> {
    let syn = |e: &Ends| tcp(e.client, e.vip, SYN);
    let mut all = headers();
    all.extend(fragments());
    for e in BOTH {
        let family = if e.client.starts_with('[') { "IPv6" } else { "IPv4" };
        all.push(pass(
            format!("a broadcast frame is left to the host ({family})"),
            syn(e).link([0xff; 6], CLIENT_MAC).frame(),
            NotUnicast,
        ));
        all.push(pass(
            format!("a frame for another machine, flooded by a switch, is left alone ({family})"),
            syn(e).link([2, 0, 0, 0, 0, 0x77], CLIENT_MAC).frame(),
            OtherMachine,
        ));
        all.push(Scenario::new(format!("the address of a virtual router is ours ({family})")).bytes(
            syn(e).link([0, 0, 0x5e, 0, 1, 7], CLIENT_MAC).frame(),
            OUTSIDE,
            Redirected,
            to_web(tcp(e.client, e.web, SYN)),
        ));
        for tags in [&[0x8100][..], &[0x88a8, 0x8100]] {
            let tagged = |mut packet: Packet| {
                packet.tags = tags.to_vec();
                packet
            };
            all.push(
                Scenario::new(format!(
                    "{} VLAN tags: rewritten, and left to the kernel ({family})",
                    tags.len()
                ))
                .client_sends(
                    tagged(syn(e)),
                    KernelVlan,
                    kept(tagged(tcp(e.client, e.web, SYN))),
                ),
            );
        }
        all.push(pass(
            format!("three VLAN tags are not IP ({family})"),
            link(syn(e).tag(0x88a8).tag(0x8100).tag(0x8100)),
            NotIp,
        ));
        let trailer = |packet: Packet, mac: [[u8; 6]; 2]| {
            let mut frame = packet.link(mac[0], mac[1]).frame();
            frame.extend([0xee; 9]);
            frame
        };
        all.push(Scenario::new(format!("bytes after the IP packet stay as they are ({family})")).bytes(
            trailer(syn(e), [OUTSIDE_MAC, CLIENT_MAC]),
            OUTSIDE,
            Redirected,
            Some(trailer(tcp(e.client, e.web, SYN).ttl(63), [WEB_MAC, INSIDE_MAC])),
        ));
        all.push(pass(
            format!("a protocol without services is left to the host ({family})"),
            link(packet(syn(e).source, syn(e).destination, Payload::Other(47, vec![0; 40]))),
            NotBalanced,
        ));
        let echo = if e.client.starts_with('[') { 128 } else { 8 };
        all.push(pass(
            format!("ping is answered by the host ({family})"),
            link(icmp(e.client, e.vip, echo, 0, 7, vec![1; 56])),
            IcmpToHost,
        ));
        all.push(truncated(format!("TCP cut short at every byte ({family})"), link(syn(e))));
        all.push(truncated(format!("UDP cut short at every byte ({family})"), link(udp(e.client, e.vip))));
    }
    all
}

/// At every length below the whole the host gets it unchanged.
fn truncated(name: String, whole: Vec<u8>) -> Scenario {
    (14..whole.len())
        .fold(Scenario::new(name), |scenario, length| scenario.passes(whole[..length].to_vec(), TruncatedIp))
}

fn headers() -> Vec<Scenario> {
    let syn = || tcp(V4.client, V4.vip, SYN);
    let syn6 = || tcp(V6.client, V6.vip, SYN);
    let options = [0x44, 0x08, 5, 0, 0, 0, 0, 0, 1, 1, 1, 0];
    let mut all = vec![
        Scenario::new("IPv4 options stay as they are").client_sends(
            syn().options(&options),
            Redirected,
            to_web(tcp(V4.client, V4.web, SYN).options(&options)),
        ),
        Scenario::new("the longest IPv4 header").client_sends(
            udp(V4.client, V4.vip).options(&[1; 40]),
            Redirected,
            to_web(udp(V4.client, V4.web).options(&[1; 40])),
        ),
        pass("ARP is left to the host", [&OUTSIDE_MAC[..], &CLIENT_MAC, &[8, 6], &[0; 46]].concat(), NotIp),
        pass("an IPv4 header of four words is malformed", patched(syn(), &[(0, 0x44)]), TruncatedIp),
        pass("version 5 in an IPv4 frame is malformed", patched(syn(), &[(0, 0x55)]), TruncatedIp),
        pass("version 4 in an IPv6 frame is malformed", patched(syn6(), &[(0, 0x45)]), TruncatedIp),
        pass("a total length beyond the frame is malformed", patched(syn(), &[(2, 0x7f)]), TruncatedIp),
        pass("a total length shorter than the header is malformed", patched(syn(), &[(3, 19)]), TruncatedIp),
        pass(
            "a total length that ends within TCP is malformed",
            patched(syn(), &[(3, 39)]),
            TruncatedTransport,
        ),
        pass("an IPv6 length beyond the frame is malformed", patched(syn6(), &[(4, 0x7f)]), TruncatedIp),
        pass(
            "an IPv6 length that ends within TCP is malformed",
            patched(syn6(), &[(5, 19)]),
            TruncatedTransport,
        ),
        pass(
            "a TCP header of four words is malformed",
            patched(syn(), &[(20 + 12, 0x40)]),
            TruncatedTransport,
        ),
        pass(
            "a TCP header beyond the packet is malformed",
            patched(syn(), &[(20 + 12, 0xf0)]),
            TruncatedTransport,
        ),
        pass(
            "a UDP header cut by the IP length is malformed",
            patched(udp(V4.client, V4.vip), &[(3, 27)]),
            TruncatedTransport,
        ),
    ];
    for (kind, length) in [(0, 8), (43, 24), (60, 16)] {
        let extended = |to| tcp(V6.client, to, SYN).extension(kind, length);
        all.push(Scenario::new(format!("IPv6 extension header {kind} is followed")).client_sends(
            extended(V6.vip),
            Redirected,
            to_web(extended(V6.web)),
        ));
    }
    let chain = |to| udp(V6.client, to).extension(0, 8).extension(60, 8).extension(43, 8).extension(60, 8);
    all.push(Scenario::new("four extension headers are followed").client_sends(
        chain(V6.vip),
        Redirected,
        to_web(chain(V6.web)),
    ));
    all.push(pass(
        "five extension headers are too many",
        link(chain(V6.vip).extension(60, 8)),
        ExtensionHeaders,
    ));
    all.push(pass(
        "ESP is left to the host",
        link(packet(syn6().source, syn6().destination, Payload::Other(50, vec![7; 40]))),
        NotBalanced,
    ));
    all
}

fn fragments() -> Vec<Scenario> {
    let mut all = Vec::new();
    for e in BOTH {
        let family = if e.client.starts_with('[') { "IPv6" } else { "IPv4" };
        let first = |to| udp(e.client, to).data(vec![b'x'; 64]).fragment(0, true);
        let ends = udp(e.client, e.vip);
        let web = udp(e.client, e.web);
        let later = |to: &Packet| {
            packet(ends.source, to.destination, Payload::Other(17, vec![b'y'; 40])).fragment(9, false)
        };
        all.push(
            Scenario::new(format!("later fragments follow the first ({family})"))
                .client_sends(first(e.vip), Redirected, to_web(first(e.web)))
                .client_sends(later(&ends), Redirected, to_web(later(&web))),
        );
        all.push(
            Scenario::new(format!("a later fragment before the first is left to the host ({family})"))
                .client_passes(later(&ends), FragmentUnknown)
                .client_sends(first(e.vip), Redirected, to_web(first(e.web))),
        );
        let ping = icmp(e.client, e.vip, if e.client.starts_with('[') { 128 } else { 8 }, 0, 1, vec![2; 64]);
        all.push(
            Scenario::new(format!("a fragmented ping is answered by the host ({family})"))
                .client_passes(ping.fragment(0, true), IcmpToHost),
        );
    }
    all
}
