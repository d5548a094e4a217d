//! SCTP, and AH and ESP, which follow a UDP connection.

use super::{
    BOTH, Ends, Scenario,
    frames::{Checksum, Packet, Payload, icmp, packet, sctp, udp},
    kept, to_client, to_web,
};
use lb_common::{backend::method::ROUTE, reason::Reason::*, sysctl::Sysctl};

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter().flat_map(|ends| [associations(ends), followers(ends)].concat()).collect()
}

fn associations(e: &Ends) -> Vec<Scenario> {
    let family = if e.client.starts_with('[') { "IPv6" } else { "IPv4" };
    let name = |text: &str| Scenario { sctp: true, ..Scenario::new(format!("SCTP: {text} ({family})")) };
    let opened = |scenario: Scenario| {
        scenario.client_sends(sctp(e.client, e.vip, INIT), Redirected, to_web(sctp(e.client, e.web, INIT)))
    };
    let open = |packet: Packet| packet.checksum(Checksum::Partial);
    let error = |quote| icmp(e.router, e.vip, if family == "IPv4" { 3 } else { 1 }, 1, 0, quote);
    let mut requoted = error(sctp(e.web, e.client, DATA).packet());
    requoted.destination = sctp(e.client, e.web, DATA).destination;
    // The quoted CRC is the one that the client's side saw.
    if let Payload::Icmp { quote, .. } = &mut requoted.payload {
        let seen = sctp(e.vip, e.client, DATA).packet();
        let place = quote.len() - sctp(e.web, e.client, DATA).transport().len() + 8;
        quote[place..place + 4].copy_from_slice(&seen[place..place + 4]);
    }
    vec![
        opened(name("ports are rewritten with the CRC, there and back"))
            .web_sends(
                sctp(e.web, e.client, INIT_ACK),
                Redirected,
                to_client(sctp(e.vip, e.client, INIT_ACK)),
            )
            .client_sends(
                sctp(e.client, e.vip, COOKIE_ECHO),
                Redirected,
                to_web(sctp(e.client, e.web, COOKIE_ECHO)),
            )
            .client_sends(
                sctp(e.client, e.vip, DATA).data(vec![b'x'; 1301]),
                Redirected,
                to_web(sctp(e.client, e.web, DATA).data(vec![b'x'; 1301])),
            ),
        name("in mid-stream it is dropped").client_sends(sctp(e.client, e.vip, DATA), Unassociated, None),
        Scenario { sysctls: &[(Sysctl::SloppySctp, 1)], ..name("sloppy_sctp: any packet opens") }
            .client_sends(sctp(e.client, e.vip, DATA), Redirected, to_web(sctp(e.client, e.web, DATA)))
            .web_sends(sctp(e.web, e.client, DATA), Redirected, to_client(sctp(e.vip, e.client, DATA))),
        name("what is no service's is the host's").client_passes(sctp(e.client, e.router, INIT), NotBalanced),
        Scenario { partial: true, ..name("a CRC that is left open is the kernel's to make") }.client_sends(
            open(sctp(e.client, e.vip, INIT)),
            KernelChecksum,
            kept(open(sctp(e.client, e.web, INIT))),
        ),
        Scenario { method: ROUTE, ..name("by direct routing it goes as it is") }.client_sends(
            sctp(e.client, e.vip, INIT),
            Redirected,
            to_web(sctp(e.client, e.vip, INIT)),
        ),
        opened(name("an ICMP error about it is translated")).client_sends(
            error(sctp(e.vip, e.client, DATA).packet()),
            IcmpError,
            to_web(requoted),
        ),
    ]
}

fn followers(e: &Ends) -> Vec<Scenario> {
    let at = |text: &str| {
        let (host, _) = text.rsplit_once(':').unwrap();
        format!("{host}:500")
    };
    let (client, vip, web) = (at(e.client), at(e.vip), at(e.web));
    let mut all = Vec::new();
    for (name, number) in [("ESP", 50), ("AH", 51)] {
        let protected = |from: &str, to: &str| {
            let ends = udp(from, to);
            packet(ends.source, ends.destination, Payload::Other(number, b"nobody can read this".to_vec()))
        };
        let scenario =
            |text: &str| Scenario { port: 500, ..Scenario::new(format!("{name} {text}: {client}")) };
        all.push(
            scenario("goes with the key exchange")
                .client_sends(udp(&client, &vip), Redirected, to_web(udp(&client, &web)))
                .client_sends(protected(&client, &vip), Redirected, to_web(protected(&client, &web)))
                .web_sends(protected(&web, &client), Redirected, to_client(protected(&vip, &client))),
        );
        all.push(
            Scenario { method: ROUTE, ..scenario("goes as it is by direct routing") }
                .client_sends(udp(&client, &vip), Redirected, to_web(udp(&client, &vip)))
                .client_sends(protected(&client, &vip), Redirected, to_web(protected(&client, &vip))),
        );
        all.push(scenario("starts no connection").client_passes(protected(&client, &vip), NotBalanced));
    }
    all
}
