//! What IPsec sends: a datagram between ports 500, as of a key exchange, then AH and ESP both ways.

use std::{
    io,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, socket};

use super::Namespace;

/// Where keys are exchanged.
const PORT: u16 = 500;
/// How long a packet may take; the first one of a neighbour is often lost.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;

/// Fails unless a datagram, AH and ESP from `client` to `service` come to `server` at `address`, and its answers come
/// back in the service's name.
pub fn protected(client: &Namespace, service: IpAddr, server: &Namespace, address: IpAddr) -> Result<()> {
    let exchange = || UdpSocket::bind((any(service), PORT)).and_then(|own| connected(own, service, PORT));
    let ends = [client.inside(exchange)??, server.inside(|| UdpSocket::bind((address, PORT)))??];
    both_ways(ends, PORT).context("a datagram of port 500")?;
    for (name, protocol) in [("ESP", ipproto::ESP), ("AH", ipproto::AH)] {
        let ends = [
            client.inside(|| raw(service, protocol).and_then(|own| connected(own, service, 0)))??,
            server.inside(|| raw(address, protocol).and_then(|own| bound(own, address)))??,
        ];
        both_ways(ends, 0).context(name)?;
    }
    Ok(())
}

/// From the first of two ends to the second, and an answer.
fn both_ways([client, server]: [UdpSocket; 2], port: u16) -> Result<()> {
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE))?;
    }
    let mut data = [0; 200];
    for attempt in 1.. {
        client.send(b"nobody can read this")?;
        match server.recv_from(&mut data) {
            Err(error) if attempt == ATTEMPTS => return Err(error).context("on the way to the server"),
            Err(_) => continue,
            Ok((length, from)) => {
                // A raw socket of IPv4 hears the header, too.
                ensure!(data[..length].ends_with(b"nobody can read this"), "{length} bytes came");
                server.send_to(b"nor this", (from.ip(), port))?;
            }
        }
        match client.recv(&mut data) {
            Err(error) if attempt == ATTEMPTS => return Err(error).context("on the way to the client"),
            Err(_) => {}
            Ok(length) => {
                ensure!(data[..length].ends_with(b"nor this"), "{length} bytes came back");
                break;
            }
        }
    }
    Ok(())
}

/// A raw socket is used as one of datagrams without ports is.
fn raw(of: IpAddr, protocol: Protocol) -> io::Result<UdpSocket> {
    let family = if of.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(UdpSocket::from(socket(family, SocketType::RAW, Some(protocol))?))
}

fn connected(socket: UdpSocket, to: IpAddr, port: u16) -> io::Result<UdpSocket> {
    socket.connect((to, port)).map(|()| socket)
}

fn bound(socket: UdpSocket, to: IpAddr) -> io::Result<UdpSocket> {
    rustix::net::bind(&socket, &std::net::SocketAddr::new(to, 0))?;
    Ok(socket)
}

fn any(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}
