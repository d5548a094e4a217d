//! Every method with every protocol and both families, by the service's address and by firewall marks: the first
//! packet of a connection, one more, and a reply.

use super::{
    ACK, BOTH, CLIENT_MAC, Ends, INSIDE_MAC, OUTSIDE_MAC, SYN, Scenario, V4, V6, WEB_MAC, Web,
    frames::{Packet, Payload, packet, sctp, tcp, udp},
    to_client, to_web, tunnels,
};
use lb_common::{
    backend::method::{LOCAL, NAT, ROUTE, TUNNEL},
    reason::Reason::{DirectReply, LocalBackend, NotBalanced, Redirected},
    service::flags::FULL_NAT,
    tunnel::Tunnel,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
    Sctp,
    Esp,
    Ah,
}
use Protocol::{Ah, Esp, Sctp, Tcp, Udp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nat,
    FullNat,
    Route,
    Tunnel(Tunnel),
    Local,
}

/// Chunks of SCTP.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;

pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for e in BOTH {
        for protocol in [Tcp, Udp, Sctp, Esp, Ah] {
            for way in [Way::Nat, Way::FullNat, Way::Route, Way::Tunnel(Tunnel::default()), Way::Local] {
                let plain = scenario(e, protocol, way, false, 0);
                all.push(Scenario {
                    generic: true,
                    name: format!("{}, generic", plain.name),
                    ..plain.clone()
                });
                all.push(plain);
                all.push(scenario(e, protocol, way, false, mark(e, protocol)));
            }
            for tunnel in tunnels::KINDS {
                for across in [false, true] {
                    all.push(scenario(e, protocol, Way::Tunnel(tunnel), across, 0));
                }
            }
        }
    }
    all
}

/// The mark of the service: see [`Scenario::world`].
fn mark(e: &Ends, protocol: Protocol) -> u32 {
    let family = if e.vip == V4.vip { 1 } else { 3 };
    family + u32::from(protocol != Tcp)
}

/// The first packet of a connection, a later one and a reply, each between any two ends.
fn packets(protocol: Protocol) -> [fn(&str, &str) -> Packet; 3] {
    match protocol {
        Tcp => [|a, b| tcp(a, b, SYN), |a, b| tcp(a, b, ACK), |a, b| tcp(a, b, SYN | ACK)],
        Udp => [udp; 3],
        Sctp => [|a, b| sctp(a, b, INIT), |a, b| sctp(a, b, COOKIE_ECHO), |a, b| sctp(a, b, INIT_ACK)],
        // They follow the key exchange, which is UDP.
        Esp => [udp, |a, b| protected(a, b, 50), |a, b| protected(a, b, 50)],
        Ah => [udp, |a, b| protected(a, b, 51), |a, b| protected(a, b, 51)],
    }
}

fn protected(from: &str, to: &str, number: u8) -> Packet {
    let ends = udp(from, to);
    packet(ends.source, ends.destination, Payload::Other(number, b"nobody can read this".to_vec()))
}

fn scenario(e: &Ends, protocol: Protocol, way: Way, across: bool, mark: u32) -> Scenario {
    let is_protected = matches!(protocol, Esp | Ah);
    let port = if is_protected { 500 } else { 0 };
    let at = |text: &'static str| match is_protected {
        true => format!("{}:{port}", text.rsplit_once(':').unwrap().0),
        false => text.to_owned(),
    };
    let (client, vip, web) = (at(e.client), at(e.vip), at(e.web));
    let (method, flags, tunnel) = match way {
        Way::Nat => (NAT, 0, Tunnel::default()),
        Way::FullNat => (NAT, FULL_NAT, Tunnel::default()),
        Way::Route => (ROUTE, 0, Tunnel::default()),
        Way::Tunnel(tunnel) => (TUNNEL, 0, tunnel),
        Way::Local => (LOCAL, 0, Tunnel::default()),
    };
    let marked = if mark == 0 { "" } else { ", marked" };
    let across_text = if across { ", in the other family" } else { "" };
    let mut scenario = Scenario {
        method,
        flags,
        tunnel,
        port,
        sctp: protocol == Sctp,
        web: if across { Web::Across } else { Web::There },
        marked: mark != 0,
        ..Scenario::new(format!("{protocol:?} by {way:?} to {vip}{across_text}{marked}"))
    };
    let [first, later, reply] = packets(protocol);
    for make in [first, later] {
        let sent = make(&client, &vip);
        scenario = match way {
            Way::Nat => scenario.client_sends(sent, Redirected, to_web(make(&client, &web))),
            Way::FullNat => scenario.client_sends(sent, Redirected, to_web(make(e.source, &web))),
            Way::Route => scenario.client_sends(sent.clone(), Redirected, to_web(sent)),
            Way::Tunnel(tunnel) => {
                let to = if (e.vip == V4.vip) != across { &V4 } else { &V6 };
                let (out, free) = tunnels::sent(tunnels::outer(sent.clone().ttl(63), to, tunnel, false));
                scenario.client_sends(sent, Redirected, out).but_for(&free)
            }
            Way::Local => {
                let frame = sent.link(OUTSIDE_MAC, CLIENT_MAC).frame();
                scenario.passes(frame, LocalBackend)
            }
        }
        .marked(mark);
    }
    let passes = |scenario: Scenario, packet: Packet, reason| {
        let frame = packet.clone().link(INSIDE_MAC, WEB_MAC).frame();
        scenario.web_sends(packet, reason, Some(frame))
    };
    match way {
        Way::Nat => scenario.web_sends(reply(&web, &client), Redirected, to_client(reply(&vip, &client))),
        // It names no port to find the client by.
        Way::FullNat if is_protected => passes(scenario, reply(&web, e.source), NotBalanced),
        Way::FullNat => {
            scenario.web_sends(reply(&web, e.source), Redirected, to_client(reply(&vip, &client)))
        }
        // It need not pass by; one that does is the client's already.
        Way::Route | Way::Tunnel(_) => passes(scenario, reply(&vip, &client), DirectReply),
        // This host's own is never received.
        Way::Local => scenario,
    }
}
