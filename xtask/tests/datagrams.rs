//! UDP: datagrams in pieces, and the errors that a client is told.

mod through;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use through::{PATIENCE, Path, assert_counted, ctl, eventually, loaded, service};
use xtask::lab::{UdpEcho, VIP, VIP6, udp};

#[test]
fn datagrams_of_4000_bytes_are_echoed_in_pieces() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        let _servers = [UdpEcho::start(&lab.web1, 7000)?, UdpEcho::start(&lab.web2, 7000)?];
        service(&lab.balancer, "-u", 7000, 2)?;
        for destination in [format!("{VIP}:7000"), format!("[{VIP6}]:7000")] {
            for number in 0..10u8 {
                let socket = udp(&lab.client, &destination)?;
                let sent: Vec<u8> = (0..4000u32).map(|byte| byte as u8 ^ number).collect();
                socket.send(&sent)?;
                let mut received = [0; 5000];
                let length = socket.recv(&mut received).with_context(|| format!("{path:?} {destination}"))?;
                ensure!(received[..length] == sent, "{path:?} {destination}: {length} bytes that differ");
            }
        }
    }
    Ok(())
}

/// Sends until the answer is "refused": ICMP errors are limited, and may be lost.
fn assert_udp_refused(lab: &xtask::lab::Lab, destination: &str) -> Result<()> {
    eventually(|| {
        let socket = udp(&lab.client, destination)?;
        socket.set_read_timeout(Some(PATIENCE / 5))?;
        socket.send(b"anyone?")?;
        let error = socket.recv(&mut [0; 10]).err().context("an answer")?;
        ensure!(error.kind() == ErrorKind::ConnectionRefused, "{destination}: {error}");
        Ok(())
    })
}

#[test]
fn a_closed_port_of_the_server_is_refused_in_the_services_name() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let lab = loaded(path, 1500)?;
        service(&lab.balancer, "-u", 9, 1)?;
        // A connected socket hears of it only if the error's quote names the address it sent to.
        assert_udp_refused(&lab, &format!("{VIP}:9"))?;
        assert_udp_refused(&lab, &format!("[{VIP6}]:9"))?;
    }
    Ok(())
}

#[test]
fn without_a_server_the_client_is_refused_at_once() -> Result<()> {
    for (path, reason) in [(Path::Kernel, "AnsweredKernel"), (Path::Redirect, "AnsweredUnreachable")] {
        let lab = loaded(path, 1500)?;
        service(&lab.balancer, "-t", 8080, 0)?;
        service(&lab.balancer, "-u", 8080, 0)?;
        for destination in [format!("{VIP}:8080"), format!("[{VIP6}]:8080")] {
            assert_udp_refused(&lab, &destination)?;
            let start = Instant::now();
            let connected = lab.client.inside(|| TcpStream::connect(&destination))?;
            let error = connected.err().context("nobody is there")?;
            ensure!(error.kind() == ErrorKind::ConnectionRefused, "{path:?} {destination}: {error}");
            ensure!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
        }
        assert_counted(&lab.balancer, reason, 4)?;
    }
    Ok(())
}

#[test]
fn the_host_resets_a_connection_that_the_balancer_does_not_know() -> Result<()> {
    let lab = loaded(Path::Redirect, 1500)?;
    service(&lab.balancer, "-t", 80, 2)?;
    let mut stream = lab.client.inside(|| TcpStream::connect((VIP, 80)))??;
    stream.set_read_timeout(Some(PATIENCE))?;
    ctl(&lab.balancer, "unload")?;
    ctl(&lab.balancer, "load outside inside")?;
    service(&lab.balancer, "-t", 80, 2)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let error = stream.read(&mut [0; 100]).err().context("an answer")?;
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_counted(&lab.balancer, "MidStream", 1)
}
