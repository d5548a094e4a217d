//! Clients on the balancer itself: what they send to a service's address comes by the loopback, where tc sees it.

mod through;

use std::{
    fs,
    net::UdpSocket,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use through::{PATIENCE, assert_counted, counters, ctl, curl, service};
use xtask::lab::{Lab, Namespace, Nginx, UdpEcho, VIP, VIP6, udp};

/// Bytes of a long answer.
const LONG: usize = 1_000_000;
/// Bytes of a long request: nginx takes no more than a megabyte.
const BODY: usize = 900_000;
/// Longer than it takes until a packet is left to the kernel so that it uses the neighbour.
const PROBED: Duration = Duration::from_secs(7);

fn clients_on_the_balancer_are_served(load: &str) -> Result<()> {
    let lab = Lab::classic()?;
    let balancer = &lab.balancer;
    let said = ctl(balancer, load)?;
    assert!(said.contains("lo: attached (tc)"), "{said}");
    service(balancer, "-t", 80, 2)?;
    service(balancer, "-u", 7000, 2)?;
    let _echoes = [UdpEcho::start(&lab.web1, 7000)?, UdpEcho::start(&lab.web2, 7000)?];
    for server in [&lab.web1, &lab.web2] {
        fs::create_dir_all(files(&lab, server))?;
        fs::write(files(&lab, server).join("long"), vec![b'x'; LONG])?;
    }
    let body = lab.site.directory().join("body");
    fs::write(&body, vec![b'x'; BODY])?;

    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        let url = format!("http://{vip}/");
        // The first packets go to servers whose MAC addresses the kernel has still to ask for.
        balancer.ip("neighbour flush dev inside")?;
        let mut last = String::new();
        let end = Instant::now() + PROBED;
        let mut requests = 0;
        while Instant::now() < end {
            let answer = curl(balancer, &url).with_context(|| format!("{:?}", counters(balancer)))?;
            ensure!(["Web1 called.\n", "Web2 called.\n"].contains(&answer.as_str()), "{answer}");
            ensure!(answer != last, "request {requests} to {vip} went where the last one went");
            last = answer;
            requests += 1;
        }
        println!("{requests} requests to {vip}");
        ensure!(curl(balancer, &format!("{url}files/long"))?.len() == LONG, "a long answer from {vip}");
        let body = format!("@{}", body.display());
        let sent = ["curl", "-sS", "--max-time", "20", "--data-binary", &body, &url];
        assert!(balancer.run(sent)?.ends_with("called.\n"));

        let socket = udp(balancer, &format!("{vip}:7000"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut data = [0; 2000];
        for length in [1, 1400] {
            socket.send(&vec![b'x'; length])?;
            assert_eq!(socket.recv(&mut data)?, length);
        }
        // Others are served as before.
        curl(&lab.client, &url)?;
    }
    by_full_nat(&lab)?;
    assert_counted(balancer, "Redirected", 100)?;
    assert_counted(balancer, "KernelProbe", 1)?;
    // Replies are for this host: the kernel delivers them.
    assert_counted(balancer, "KernelRoute", 100)?;
    ctl(balancer, "unload")?;
    Ok(())
}

/// Two services that name each other as the only server: a packet comes back to neither.
#[test]
fn services_that_lead_to_each_other_end_a_packet() -> Result<()> {
    let lab = Lab::classic()?;
    ctl(&lab.balancer, "load lo outside inside --hook tc")?;
    for (vip, server) in [(VIP, "192.168.33.100"), ("192.168.33.100", VIP)] {
        ctl(&lab.balancer, &format!("service add -t {vip}:81"))?;
        ctl(&lab.balancer, &format!("backend add -t {vip}:81 -r {server}:81 -m"))?;
    }
    let refused = lab.balancer.output(["curl", "-sS", "--max-time", "5", &format!("http://{VIP}:81/")])?;
    let counters = counters(&lab.balancer)?;
    ensure!(refused.status.code() == Some(7), "{refused:?} {counters:?}");
    ensure!(counters["KernelRoute"] == 2, "the request, and the host's RST: {counters:?}");
    Ok(())
}

/// The servers see another address of the balancer's as the client.
fn by_full_nat(lab: &Lab) -> Result<()> {
    lab.balancer.addresses("inside", &["192.168.33.201/24", "fd00:33::201/64"])?;
    ctl(&lab.balancer, "snat-pool add 192.168.33.201 fd00:33::201")?;
    for (vip, server) in [(VIP.to_owned(), "192.168.33.111"), (format!("[{VIP6}]"), "[fd00:33::111]")] {
        ctl(&lab.balancer, &format!("service add -t {vip}:443 --fullnat"))?;
        ctl(&lab.balancer, &format!("backend add -t {vip}:443 -r {server}:443 -m"))?;
        for _ in 0..3 {
            assert_eq!(curl(&lab.balancer, &format!("https://{vip}/"))?, "Web1 called.\n");
        }
        ctl(&lab.balancer, &format!("service add -u {vip}:7001 --fullnat"))?;
        ctl(&lab.balancer, &format!("backend add -u {vip}:7001 -r {server}:7000 -m"))?;
        let socket = udp(&lab.balancer, &format!("{vip}:7001"))?;
        socket.send(b"question")?;
        assert_eq!(socket.recv(&mut [0; 100])?, 8);
    }
    Ok(())
}

#[test]
fn clients_on_the_balancer_are_served_by_tc() -> Result<()> {
    clients_on_the_balancer_are_served("load lo outside inside --hook tc")
}

#[test]
fn clients_on_the_balancer_are_served_beside_xdp() -> Result<()> {
    clients_on_the_balancer_are_served("load lo outside inside")
}

/// A route brings what is for an address that the balancer has not got to the loopback.
#[test]
fn an_address_that_the_balancer_has_not_got_takes_a_route() -> Result<()> {
    for hook in ["tc", "auto"] {
        let lab = Lab::classic()?;
        let balancer = &lab.balancer;
        balancer.ip("route add 203.0.113.80 dev lo")?;
        balancer.ip("-6 route add local fd00:99::80 dev lo")?;
        ctl(balancer, &format!("load lo outside inside --hook {hook}"))?;
        // Once, before both families: it forgets the neighbours of both. Direct routing below loses the datagram
        // that would have to wait for one.
        balancer.ip("neighbour flush dev inside")?;
        for (vip, network) in [("203.0.113.80", "192.168.33."), ("[fd00:99::80]", "[fd00:33::")] {
            let end = if vip.starts_with('[') { "]" } else { "" };
            ctl(balancer, &format!("service add -t {vip}:80 -s rr"))?;
            for server in [111, 112] {
                ctl(balancer, &format!("backend add -t {vip}:80 -r {network}{server}{end}:80 -m"))?;
            }
            for number in 0..6 {
                let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
                assert_eq!(curl(balancer, &format!("http://{vip}/"))?, expected, "{hook}: {vip}");
            }
        }
        assert_counted(balancer, "Redirected", 30)?;
        // Servers that have the address themselves answer it to the balancer's own.
        lab.web1.addresses("lo", &["203.0.113.80/32", "fd00:99::80/128"])?;
        for (vip, server) in [("203.0.113.80", "192.168.33.111"), ("[fd00:99::80]", "[fd00:33::111]")] {
            ctl(balancer, &format!("service add -t {vip}:443"))?;
            ctl(balancer, &format!("backend add -t {vip}:443 -r {server} -g"))?;
            for _ in 0..3 {
                assert_eq!(curl(balancer, &format!("https://{vip}/"))?, "Web1 called.\n", "{hook}: {vip}");
            }
            let datagrams = format!("{vip}:7000");
            ctl(balancer, &format!("service add -u {datagrams}"))?;
            ctl(balancer, &format!("backend add -u {datagrams} -r {server} -g"))?;
            let echo = lab.web1.inside(|| UdpSocket::bind(&datagrams))??;
            echo.set_read_timeout(Some(PATIENCE))?;
            let echo = thread::spawn(move || {
                let mut byte = [0];
                echo.recv_from(&mut byte).and_then(|(length, from)| echo.send_to(&byte[..length], from))
            });
            let socket = udp(balancer, &datagrams)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(&[7])?;
            let mut byte = [0];
            assert_eq!((socket.recv(&mut byte)?, byte), (1, [7]), "{hook}: {vip}");
            ensure!(echo.join().is_ok_and(|echoed| echoed.is_ok()));
        }
    }
    Ok(())
}

/// The answers of a server on the balancer come to the loopback by a rule, and leave in the service's name.
#[test]
fn a_server_on_the_balancer_may_have_another_port() -> Result<()> {
    for hook in ["tc", "auto"] {
        let lab = Lab::classic()?;
        let balancer = &lab.balancer;
        let _server = Nginx::start(balancer, "Balancer called.")?;
        fs::create_dir_all(files(&lab, balancer))?;
        fs::write(files(&lab, balancer).join("long"), vec![b'x'; LONG])?;
        for family in ["", "-6 "] {
            balancer.ip(&format!("{family}rule add ipproto tcp sport 80 lookup 100"))?;
            balancer.ip(&format!("{family}rule add ipproto udp sport 7001 lookup 100"))?;
            balancer.ip(&format!("{family}route add local default dev lo table 100"))?;
        }
        ctl(balancer, &format!("load lo outside inside --hook {hook}"))?;
        for (vip, own) in [(VIP.to_owned(), "192.168.33.100"), (format!("[{VIP6}]"), "[fd00:33::100]")] {
            ctl(balancer, &format!("service add -t {vip}:8080"))?;
            ctl(balancer, &format!("backend add -t {vip}:8080 -r {own}:80 -m"))?;
            for _ in 0..3 {
                let answer = curl(&lab.client, &format!("http://{vip}:8080/"))
                    .with_context(|| format!("{hook}: {:?}", counters(balancer)))?;
                assert_eq!(answer, "Balancer called.\n", "{hook}: {vip}");
            }
            let long = curl(&lab.client, &format!("http://{vip}:8080/files/long"))?;
            ensure!(long.len() == LONG, "{hook}: {} bytes from {vip}", long.len());

            ctl(balancer, &format!("service add -u {vip}:7000"))?;
            ctl(balancer, &format!("backend add -u {vip}:7000 -r {own}:7001 -m"))?;
            // Bound to its address: else the kernel chooses whose name it answers in.
            let server = balancer.inside(|| UdpSocket::bind(format!("{own}:7001")))??;
            server.set_read_timeout(Some(PATIENCE))?;
            let client = udp(&lab.client, &format!("{vip}:7000"))?;
            client.send(b"question")?;
            let mut data = [0; 100];
            let (length, from) = server.recv_from(&mut data)?;
            assert_eq!(&data[..length], b"question", "{hook}: {vip}");
            server.send_to(b"answer", from)?;
            let length = client.recv(&mut data)?;
            assert_eq!(&data[..length], b"answer", "{hook}: {vip}");
        }
        ensure!(
            ctl(balancer, "list -n")?.contains("192.168.33.100:80            Masq    1      0          4")
        );
    }
    Ok(())
}

/// Where the nginx of a namespace looks for files.
fn files(lab: &Lab, namespace: &Namespace) -> PathBuf {
    lab.site.directory().join(format!("nginx-{}/files", namespace.name()))
}
