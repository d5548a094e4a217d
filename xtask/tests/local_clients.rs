//! Clients on the balancer itself: what they send to a service's address comes by the loopback, where tc sees it.

mod through;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use through::{PATIENCE, assert_counted, counters, ctl, curl, service};
use xtask::lab::{Lab, UdpEcho, VIP, VIP6, udp};

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
        let files = lab.site.directory().join(format!("nginx-{}/files", server.name()));
        fs::create_dir_all(&files)?;
        fs::write(files.join("long"), vec![b'x'; LONG])?;
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
