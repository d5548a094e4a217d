//! Persistence, one-packet scheduling, thresholds and sysctls with real clients, after recordings of
//! IPVS.

mod balanced;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};
use balanced::{Balanced, CLIENT, PATIENCE, SERVICE, VIP_PORT, wait_for};
use xtask::lab::{Connection, Conversation, Echo};

/// A second client in the network of the first.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 11);
/// A client in another network.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 3, 10);

/// The lab with two more clients' addresses.
fn lab() -> Result<Balanced> {
    let lab = Balanced::new()?;
    lab.lab.client.ip("address add 192.168.2.11/24 dev eth0")?;
    lab.lab.client.ip("address add 192.168.3.10/24 dev eth0")?;
    lab.lab.balancer.ip("route add 192.168.3.0/24 dev outside")?;
    Ok(lab)
}

impl Balanced {
    /// The two servers behind a service with these options.
    fn persistent(&self, options: &str) -> Result<()> {
        self.ctl(&format!("service add -t {VIP_PORT} -s rr {options}"))?;
        self.backend("add", 111, "-m")?;
        self.backend("add", 112, "-m")?;
        Ok(())
    }

    /// Connects from an address to a port of the service's address; which server it is, and the
    /// connection.
    fn visit(&self, from: Ipv4Addr, port: u16) -> Result<(String, Conversation)> {
        let (source, there) = (SocketAddrV4::new(from, 0), SocketAddrV4::new(*SERVICE.ip(), port));
        let mut conversation = Conversation::open(&self.lab.client, source, there, PATIENCE)??;
        Ok((conversation.receive()?, conversation))
    }

    /// The same, and closes it.
    fn passes_by(&self, from: Ipv4Addr) -> Result<String> {
        let (server, conversation) = self.visit(from, SERVICE.port())?;
        conversation.close()?;
        Ok(server)
    }

    fn templates(&self) -> Result<Vec<Connection>> {
        let mut found = self.connections()?;
        found.retain(|connection| connection.client.ends_with(":0"));
        found.sort_by(|a, b| a.client.cmp(&b.client).then(a.service.cmp(&b.service)));
        Ok(found)
    }

    /// A client's UDP socket at this port.
    fn datagrams(&self, port: u16) -> Result<UdpSocket> {
        let socket = self.lab.client.inside(|| UdpSocket::bind(SocketAddrV4::new(CLIENT, port)))??;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }
}

/// Sends to the service; the answer, and where it came from.
fn ask(socket: &UdpSocket, text: &str) -> Result<(String, String)> {
    socket.send_to(text.as_bytes(), SERVICE)?;
    let mut data = [0; 1400];
    let (length, from) = socket.recv_from(&mut data).with_context(|| format!("asking '{text}'"))?;
    Ok((String::from_utf8_lossy(&data[..length]).into_owned(), from.to_string()))
}

fn row(connection: &Connection) -> [&str; 4] {
    [&connection.state, &connection.client, &connection.service, &connection.backend]
}

#[test]
fn a_network_of_clients_stays_with_one_server() -> Result<()> {
    let lab = lab()?;
    lab.persistent("-p 300 -M 255.255.255.0")?;
    for (client, server) in [(CLIENT, "web2"), (NEIGHBOUR, "web2"), (STRANGER, "web1"), (CLIENT, "web2")] {
        for _ in 0..2 {
            assert_eq!(lab.passes_by(client)?, server, "{client}");
        }
    }
    let templates = lab.templates()?;
    assert_eq!(
        templates.iter().map(row).collect::<Vec<_>>(),
        [
            ["ASSURED", "192.168.2.0:0", VIP_PORT, "192.168.33.112:8080"],
            ["ASSURED", "192.168.3.0:0", VIP_PORT, "192.168.33.111:8080"],
        ]
    );
    assert!(templates.iter().all(|template| (290..=300).contains(&template.seconds)), "{templates:?}");
    let list = lab.ctl("list -n --persistent-conn")?;
    let rows: Vec<_> =
        list.lines().skip(3).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        rows,
        [
            &format!("TCP {VIP_PORT} rr persistent 300 mask 255.255.255.0"),
            "-> 192.168.33.111:8080 1 1 0 2",
            "-> 192.168.33.112:8080 1 1 0 6",
        ]
    );

    lab.ctl(&format!("service edit -t {VIP_PORT} -p -M 255.255.255.255"))?;
    assert_eq!([lab.passes_by(CLIENT)?, lab.passes_by(NEIGHBOUR)?], ["web2", "web1"]);
    assert_eq!([lab.passes_by(CLIENT)?, lab.passes_by(NEIGHBOUR)?], ["web2", "web1"]);
    Ok(())
}

#[test]
fn a_service_on_port_0_takes_every_port_and_leaves_the_exact_ones() -> Result<()> {
    let lab = lab()?;
    let _more = [Echo::start(&lab.lab.web1, "web1", 9443)?, Echo::start(&lab.lab.web2, "web2", 9443)?];
    lab.ctl("service add -t 192.168.2.200:0 -s rr -p 60")?;
    for server in [111, 112] {
        lab.ctl(&format!("backend add -t 192.168.2.200:0 -r 192.168.33.{server} -m"))?;
    }
    for (client, server) in [(CLIENT, "web2"), (NEIGHBOUR, "web1")] {
        for port in [8080, 9443] {
            assert_eq!(lab.visit(client, port)?.0, server, "{client} port {port}");
        }
    }
    let refused = lab.visit(CLIENT, 9999).err().and_then(|error| error.downcast::<std::io::Error>().ok());
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    assert_eq!(
        lab.templates()?.iter().map(row).collect::<Vec<_>>(),
        [
            ["ASSURED", "192.168.2.10:0", "192.168.2.200:0", "192.168.33.112:0"],
            ["ASSURED", "192.168.2.11:0", "192.168.2.200:0", "192.168.33.111:0"],
        ]
    );
    lab.ctl(&format!("service add -t {VIP_PORT} -s rr"))?;
    lab.backend("add", 111, "-m")?;
    assert_eq!(lab.visit(CLIENT, 8080)?.0, "web1", "the exact port wins");
    assert_eq!(lab.visit(CLIENT, 9443)?.0, "web2");
    Ok(())
}

#[test]
fn a_template_outlives_its_time_while_connections_use_it() -> Result<()> {
    let lab = lab()?;
    lab.persistent("-p 2")?;
    let (server, _conversation) = lab.connect()?;
    assert_eq!(server, "web2");
    let is_armed_again = || Ok(lab.templates()?.iter().any(|template| template.seconds > 50));
    wait_for(Duration::from_secs(10), true, is_armed_again)?;
    assert_eq!(lab.passes_by(CLIENT)?, "web2");
    Ok(())
}

#[test]
fn a_quiesced_server_keeps_its_clients_unless_the_sysctl_says_otherwise() -> Result<()> {
    let lab = lab()?;
    lab.persistent("-p 60")?;
    assert_eq!(lab.passes_by(CLIENT)?, "web2");
    lab.backend("edit", 112, "-w 0")?;
    assert_eq!(lab.passes_by(CLIENT)?, "web2");
    lab.ctl("sysctl expire_quiescent_template=1")?;
    assert_eq!([lab.passes_by(CLIENT)?, lab.passes_by(CLIENT)?], ["web1", "web1"]);
    assert_eq!(
        lab.templates()?.iter().map(row).collect::<Vec<_>>(),
        [
            ["ASSURED", "192.168.2.10:0", "192.168.2.200:65535", "192.168.33.112:65535"],
            ["ASSURED", "192.168.2.10:0", VIP_PORT, "192.168.33.111:8080"],
        ]
    );
    Ok(())
}

#[test]
fn with_one_packet_scheduling_every_datagram_goes_its_own_way() -> Result<()> {
    let lab = lab()?;
    let udp = |command: &str, rest: &str| lab.ctl(&format!("{command} -u {VIP_PORT} {rest}"));
    udp("service add", "-s rr -o")?;
    udp("backend add", "-r 192.168.33.111:8080 -m")?;
    udp("backend add", "-r 192.168.33.112:8080 -m")?;
    let socket = lab.datagrams(30_005)?;
    for round in 0..3 {
        for (server, address) in [("web2", 112), ("web1", 111)] {
            let answer = ask(&socket, &format!("d{round}"))?;
            assert_eq!(answer, (format!("{server}:d{round}"), format!("192.168.33.{address}:8080")));
        }
    }
    assert_eq!((lab.connections()?.len(), lab.counts()?), (0, vec![(0, 0), (0, 0)]));
    let stats = lab.ctl("list -n --stats")?;
    let numbers = |line: &str| line.split_whitespace().rev().take(5).map(str::to_owned).collect::<Vec<_>>();
    assert!(
        stats.lines().skip(4).all(|line| numbers(line) == ["0", "90", "0", "3", "3"]),
        "OutBytes to Conns:\n{stats}"
    );

    udp("service edit", "--no-ops")?;
    for _ in 0..3 {
        assert_eq!(ask(&socket, "d")?, ("web2:d".to_owned(), VIP_PORT.to_owned()));
    }
    assert_eq!(lab.connections()?.len(), 1);
    Ok(())
}

#[test]
fn a_sip_call_stays_with_its_server() -> Result<()> {
    let lab = lab()?;
    let udp = |command: &str, rest: &str| lab.ctl(&format!("{command} -u {VIP_PORT} {rest}"));
    udp("service add", "-s rr -p 60 --pe sip")?;
    udp("backend add", "-r 192.168.33.111:8080 -m")?;
    udp("backend add", "-r 192.168.33.112:8080 -m")?;
    for (port, call, server) in
        [(5060, "a@x", "web2"), (5061, "b@x", "web1"), (5062, "a@x", "web2"), (5063, "b@x", "web1")]
    {
        let message = format!("OPTIONS sip:x SIP/2.0\r\nCall-ID: {call}\r\n\r\n");
        let (answer, from) = ask(&lab.datagrams(port)?, &message)?;
        assert_eq!((answer, from), (format!("{server}:{message}"), VIP_PORT.to_owned()));
    }
    assert_eq!(lab.templates()?.len(), 2);
    let silent = lab.datagrams(5064)?;
    silent.set_read_timeout(Some(Duration::from_millis(300)))?;
    assert!(ask(&silent, "no call").is_err());
    assert_eq!(lab.lab.balancer.counter("NoCall")?, 1);
    Ok(())
}

#[test]
fn a_server_at_its_upper_threshold_gets_no_more() -> Result<()> {
    let lab = lab()?;
    lab.ctl(&format!("service add -t {VIP_PORT} -s rr"))?;
    lab.backend("add", 111, "-m -x 2 -y 1")?;
    lab.backend("add", 112, "-m -x 4 -y 2")?;
    let mut open = vec![];
    for server in ["web2", "web1", "web2", "web1", "web2", "web2"] {
        let (found, conversation) = lab.connect()?;
        assert_eq!(found, server, "after {}", open.len());
        open.push(conversation);
    }
    let refused = || -> Result<_> { Ok(lab.try_connect(PATIENCE)?.err().map(|error| error.kind())) };
    assert_eq!(refused()?, Some(ErrorKind::ConnectionRefused));
    for conversation in open {
        conversation.close()?;
    }
    assert_eq!(refused()?, Some(ErrorKind::ConnectionRefused), "closed ones count as well");
    Ok(())
}

#[test]
fn with_expire_nodest_conn_a_removed_servers_client_hears_at_once() -> Result<()> {
    let lab = lab()?;
    lab.service("rr", &[1, 1])?;
    lab.ctl("sysctl expire_nodest_conn=1")?;
    let (server, mut conversation) = lab.connect()?;
    assert_eq!(server, "web2");
    lab.backend("del", 112, "")?;
    conversation.send("b")?;
    assert_eq!(conversation.receive().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(lab.connections()?.len(), 0);
    Ok(())
}

#[test]
fn defences_come_into_force_with_the_sweep() -> Result<()> {
    let lab = lab()?;
    lab.service("rr", &[1, 1])?;
    assert!(lab.ctl("sysctl")?.contains("secure_tcp = 0\n"));
    lab.ctl("sysctl secure_tcp=3 drop_packet=3 am_droprate=1")?;
    assert_eq!(lab.ctl("sysctl am_droprate secure_tcp")?, "am_droprate = 1\nsecure_tcp = 3\n");
    let dropped = || {
        let attempt = lab.try_connect(Duration::from_millis(100))?;
        Ok(attempt.is_err())
    };
    wait_for(PATIENCE, true, dropped)?;
    assert!(lab.lab.balancer.counter("DropPacket")? > 0);
    lab.ctl("sysctl drop_packet=0")?;
    wait_for(PATIENCE, false, dropped)?;

    // A handshake by hand would stop at SYNACK; a server that speaks first acknowledges at once.
    let (_, _conversation) = lab.connect()?;
    wait_for(PATIENCE, true, || Ok(lab.connections()?.iter().any(|row| row.state == "ESTABLISHED")))
}
