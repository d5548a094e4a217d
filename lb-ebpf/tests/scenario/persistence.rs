//! Which connections belong together, and which packets need none: persistence, one-packet scheduling
//! and the sysctls that decide whether a packet opens a connection.

use super::{
    ACK, BOTH, Before, Ends, FIN, INSIDE, RST, SYN, Scenario,
    frames::{Packet, tcp, udp},
    to_client, to_web,
};
use lb_common::{
    address::Address,
    reason::Reason::{self, *},
    service::{engine::SIP, flags::ONE_PACKET},
    settings::defense::DROP_PACKET,
    sysctl::Sysctl,
};

pub fn all() -> Vec<Scenario> {
    BOTH.into_iter()
        .flat_map(|ends| [persistent(ends), calls(ends), single(ends), sysctls(ends)].concat())
        .collect()
}

fn name(e: &Ends, text: &str) -> Scenario {
    let family = if e.client.starts_with('[') { "IPv6" } else { "IPv4" };
    Scenario { two: true, ..Scenario::new(format!("{text} ({family})")) }
}

/// The same address with another port.
fn port(of: &str, port: u16) -> String {
    format!("{}:{port}", of.rsplit_once(':').unwrap().0)
}

/// Another host of the client's network.
fn neighbour(e: &Ends) -> String {
    e.client.replace("2.10:", "2.11:").replace("::10]", "::11]")
}

impl Scenario {
    /// Sends SYN from a client to the service; it goes to a backend.
    fn connects(self, client: &str, service: &str, backend: &str) -> Self {
        self.client_sends(tcp(client, service, SYN), Redirected, to_web(tcp(client, backend, SYN)))
    }

    fn asks(self, client: &str, service: &str, backend: &str) -> Self {
        self.client_sends(udp(client, service), Redirected, to_web(udp(client, backend)))
    }

    fn seen_inside(self, packet: Packet, reason: Reason) -> Self {
        let frame = packet.link(super::INSIDE_MAC, super::WEB_MAC).frame();
        self.bytes(frame.clone(), INSIDE, reason, Some(frame))
    }
}

fn persistent(e: &Ends) -> Vec<Scenario> {
    let (again, neighbour) = (port(e.client, 40_001), neighbour(e));
    let third = port(e.client, 40_002);
    let lasting = |text: &str| Scenario { persistence: 300, ..name(e, text) };
    let network = {
        let mut octets = Address::ALL.octets();
        octets[15] = 0;
        Address::from(octets)
    };
    vec![
        lasting("a client's connections follow its first one")
            .connects(e.client, e.vip, e.other)
            .connects(&again, e.vip, e.other)
            .connects(&neighbour, e.vip, e.web)
            .connects(&third, e.vip, e.other),
        lasting("so do its UDP flows")
            .asks(e.client, e.vip, e.other)
            .asks(&again, e.vip, e.other)
            .asks(&neighbour, e.vip, e.web),
        Scenario { mask: network, ..lasting("under a mask a network is one client") }
            .connects(e.client, e.vip, e.other)
            .connects(&neighbour, e.vip, e.other),
        lasting("a template is no connection: no packet finds it by port 0")
            .connects(e.client, e.vip, e.other)
            .client_passes(tcp(&port(e.client, 0), e.vip, ACK), MidStream),
        Scenario { ports: Some((0, 0)), ..lasting("a service on port 0 takes every port, which stays") }
            .connects(e.client, e.vip, &port(e.other, 80))
            .connects(e.client, &port(e.vip, 443), &port(e.other, 443))
            .web_sends(
                tcp(&port(e.other, 443), e.client, SYN | ACK),
                Redirected,
                to_client(tcp(&port(e.vip, 443), e.client, SYN | ACK)),
            ),
        Scenario { ports: Some((21, 21)), ..lasting("FTP's data connections follow the control connection") }
            .connects(e.client, &port(e.vip, 21), &port(e.other, 21))
            .connects(&again, &port(e.vip, 20_000), &port(e.other, 20_000))
            .connects(&again, &port(e.vip, 20), &port(e.other, 20))
            .client_passes(tcp(e.client, e.vip, SYN), NotBalanced),
        Scenario { ports: Some((21, 21)), ..name(e, "without persistence FTP's service has one port") }
            .connects(e.client, &port(e.vip, 21), &port(e.other, 21))
            .client_passes(tcp(e.client, &port(e.vip, 20_000), SYN), NotBalanced),
        name(e, "a backend's FTP data connection is not scheduled")
            .client_passes(tcp(&port(e.client, 20), e.vip, SYN), NotBalanced),
        lasting("a known client still gets a backend of weight 0")
            .connects(e.client, e.vip, e.other)
            .connects(&again, e.vip, e.other)
            .after(Before::Quiesce)
            .connects(&neighbour, e.vip, e.web),
        Scenario {
            sysctls: &[(Sysctl::ExpireQuiescentTemplate, 1)],
            ..lasting("with expire_quiescent_template it gets another")
        }
        .connects(e.client, e.vip, e.other)
        .connects(&again, e.vip, e.web)
        .after(Before::Quiesce)
        .connects(&third, e.vip, e.web)
        .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.client, e.other, ACK))),
        lasting("a removed backend's clients get another")
            .connects(e.client, e.vip, e.other)
            .connects(&again, e.vip, e.web)
            .after(Before::Remove)
            .connects(&third, e.vip, e.web),
        Scenario { connections: 1, ..lasting("a client whose template finds no room is refused") }
            .client_sends(tcp(e.client, e.vip, SYN), TableFull, None),
    ]
}

fn calls(e: &Ends) -> Vec<Scenario> {
    let (again, third, neighbour) = (port(e.client, 40_001), port(e.client, 40_002), neighbour(e));
    let says = |from: &str, to: &str, call: &str| {
        let text = format!("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCall-ID: {call}\r\nl: 0\r\n\r\n");
        udp(from, to).data(text.into_bytes())
    };
    let calling = |scenario: Scenario, from: &str, call: &str, backend: &str| {
        scenario.client_sends(says(from, e.vip, call), Redirected, to_web(says(from, backend, call)))
    };
    let sip = |text: &str| Scenario { persistence: 300, engine: SIP, ..name(e, text) };
    let everybody = {
        let mut octets = if e.client.starts_with('[') { [0; 16] } else { Address::ALL.octets() };
        octets[12..].fill(0);
        Address::from(octets)
    };
    let first = calling(sip("--pe sip: a call stays with its backend"), e.client, "1@x", e.other);
    let second = calling(first, &again, "1@x", e.other);
    let moved = Scenario { mask: everybody, ..sip("--pe sip: under a mask of nothing a call may move") };
    let moved = calling(calling(moved, e.client, "1@x", e.other), &neighbour, "1@x", e.other);
    let far = format!("1@x\r\nSubject: {}", "x".repeat(1200));
    vec![
        calling(calling(second, &third, "2@x", e.web), &neighbour, "1@x", e.other),
        calling(moved, &again, "2@x", e.web),
        sip("--pe sip: without a Call-ID no flow begins")
            .client_sends(udp(e.client, e.vip), NoCall, None)
            .client_sends(udp(e.client, e.vip).data(vec![]), NoCall, None),
        calling(sip("--pe sip: what follows in a flow needs none"), e.client, "1@x", e.other)
            .asks(e.client, e.vip, e.other),
        calling(sip("--pe sip: long messages are read"), e.client, &far, e.other),
    ]
}

fn single(e: &Ends) -> Vec<Scenario> {
    let single = |text: &str| Scenario { flags: ONE_PACKET, ..name(e, text) };
    vec![
        Scenario { connections: 1, ..single("-o: every datagram is scheduled, and none leaves an entry") }
            .asks(e.client, e.vip, e.other)
            .asks(e.client, e.vip, e.web)
            .asks(e.client, e.vip, e.other)
            .asks(e.client, e.vip, e.web),
        single("-o: replies are left as they are")
            .asks(e.client, e.vip, e.other)
            .seen_inside(udp(e.other, e.client), NotBalanced),
        Scenario { persistence: 300, ..single("-o with persistence: a client's datagrams go the same way") }
            .asks(e.client, e.vip, e.other)
            .asks(e.client, e.vip, e.other),
        single("-o: TCP has connections all the same").connects(e.client, e.vip, e.other).client_sends(
            tcp(e.client, e.vip, ACK),
            Redirected,
            to_web(tcp(e.client, e.other, ACK)),
        ),
    ]
}

fn sysctls(e: &Ends) -> Vec<Scenario> {
    // The backend refuses: the connection is in CLOSE.
    let refused = |scenario: Scenario| {
        scenario.connects(e.client, e.vip, e.other).web_sends(
            tcp(e.other, e.client, RST | ACK),
            Redirected,
            to_client(tcp(e.vip, e.client, RST | ACK)),
        )
    };
    vec![
        Scenario { sysctls: &[(Sysctl::SloppyTcp, 1)], ..name(e, "sloppy_tcp: any packet but RST opens") }
            .client_passes(tcp(e.client, e.vip, RST), MidStream)
            .client_sends(tcp(e.client, e.vip, ACK), Redirected, to_web(tcp(e.client, e.other, ACK)))
            .client_sends(
                tcp(e.client, e.vip, FIN | ACK),
                Redirected,
                to_web(tcp(e.client, e.other, FIN | ACK)),
            ),
        Scenario {
            sysctls: &[(Sysctl::AmDroprate, 1)],
            defense: DROP_PACKET,
            ..name(e, "drop_packet: new connections are dropped, others are not touched")
        }
        .client_sends(tcp(e.client, e.vip, SYN), DropPacket, None)
        .client_passes(tcp(e.client, e.router, SYN), NotBalanced),
        refused(name(e, "conn_reuse_mode 1: a SYN in CLOSE is scheduled anew"))
            .connects(e.client, e.vip, e.web),
        refused(Scenario {
            sysctls: &[(Sysctl::ConnReuseMode, 0)],
            ..name(e, "conn_reuse_mode 0: it stays with its backend")
        })
        .connects(e.client, e.vip, e.other),
        Scenario {
            sysctls: &[(Sysctl::ExpireNodestConn, 1)],
            ..name(e, "expire_nodest_conn: a removed backend's connections end")
        }
        .connects(e.client, e.vip, e.other)
        .client_passes(tcp(e.client, e.vip, ACK), MidStream)
        .after(Before::Remove)
        .connects(e.client, e.vip, e.web),
        Scenario {
            sysctls: &[(Sysctl::ExpireNodestConn, 1)],
            ..name(e, "expire_nodest_conn: a flow goes on with another backend")
        }
        .asks(e.client, e.vip, e.other)
        .asks(e.client, e.vip, e.web)
        .after(Before::Remove)
        .asks(e.client, e.vip, e.web),
        Scenario {
            sysctls: &[(Sysctl::ExpireNodestConn, 1)],
            ..name(e, "expire_nodest_conn: a SYN leaves a backend of weight 0")
        }
        .connects(e.client, e.vip, e.other)
        .connects(e.client, e.vip, e.web)
        .after(Before::Quiesce),
    ]
}
