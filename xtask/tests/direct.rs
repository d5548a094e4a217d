//! Direct routing (`-g`) and servers on the balancer itself: servers with the service's address on `lo`, which answer
//! the client past the balancer.

mod through;

use std::{env, sync::Arc};

use anyhow::{Context, Result, ensure};
use through::{assert_counted, counters, ctl, curl, eventually};
use xtask::lab::{Lab, Namespace, Nginx, Site, VIP, VIP6};

/// Two addresses of the service, in the servers' network.
const ADDRESSES: [(&str, &str, &str); 2] = [
    ("192.168.33.50", "192.168.33.111", "192.168.33.112"),
    ("[fd00:33::50]", "[fd00:33::111]", "[fd00:33::112]"),
];

/// Client, balancer and two servers in one network, the program loaded.
struct OneNetwork {
    client: Namespace,
    balancer: Namespace,
    _servers: [Nginx; 2],
    _site: Arc<Site>,
}

fn one_network(redirect: bool, hook: &str) -> Result<OneNetwork> {
    let lb_ctl = env::var_os("LB_CTL").context("LB_CTL is not set; run: cargo xtask test")?;
    let site = Site::new(lb_ctl.into())?;
    let switch = site.namespace("switch")?;
    let host = |role: &str, number: u32| -> Result<Namespace> {
        let namespace = site.namespace(role)?;
        // The servers have the service's addresses, and keep quiet about them.
        namespace.sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
        namespace.sysctl("net/ipv4/conf/all/arp_announce", "2")?;
        namespace.connect("eth0", &switch, role)?;
        let own = [&format!("192.168.33.{number}/24")[..], &format!("fd00:33::{number}/64")];
        namespace.addresses("eth0", &own)?;
        Ok(namespace)
    };
    let (client, balancer) = (host("client", 10)?, host("lb", 200)?);
    let (web1, web2) = (host("web1", 111)?, host("web2", 112)?);
    switch.bridge("br0", &["client", "lb", "web1", "web2"])?;
    balancer.addresses("eth0", &["192.168.33.50/32", "fd00:33::50/128"])?;
    for server in [&web1, &web2] {
        server.addresses("lo", &["192.168.33.50/32", "fd00:33::50/128"])?;
    }
    balancer.forward()?;
    if redirect {
        switch.run(["ethtool", "-K", "lb", "gro", "on"])?;
    }
    let servers = [Nginx::start(&web1, "Web1 called.")?, Nginx::start(&web2, "Web2 called.")?];
    ctl(&balancer, &format!("load eth0 --hook {hook}"))?;
    for (vip, first, second) in ADDRESSES {
        ctl(&balancer, &format!("service add -t {vip}:80 -s rr"))?;
        for server in [first, second] {
            // The port is forced to the service's, as by ipvsadm.
            ctl(&balancer, &format!("backend add -t {vip}:80 -r {server}:8080 -g"))?;
        }
    }
    Ok(OneNetwork { client, balancer, _servers: servers, _site: site })
}

#[test]
fn servers_answer_past_the_balancer_and_it_counts_as_ipvs_does() -> Result<()> {
    servers_answer_past_the_balancer("xdp", "Redirected")
}

#[test]
fn servers_answer_past_the_balancer_by_tc() -> Result<()> {
    servers_answer_past_the_balancer("tc", "Transmitted")
}

fn servers_answer_past_the_balancer(hook: &str, reason: &str) -> Result<()> {
    let network = one_network(hook == "xdp", hook)?;
    for (vip, first, second) in ADDRESSES {
        // The first packet to a server finds out its MAC address, and its connection waits for a retransmission.
        for number in 0..6 {
            let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
            assert_eq!(curl(&network.client, &format!("http://{vip}"))?, expected, "request {number}");
        }
        for server in [first, second] {
            let row = format!("  -> {:<28} Route   1      0          3         ", format!("{server}:80"));
            let list = ctl(&network.balancer, "list -n")?;
            ensure!(list.contains(&row), "{row}\n{list}");
        }
    }
    let table = ctl(&network.balancer, "list -n --connections")?;
    ensure!(table.matches("FIN_WAIT").count() == 12, "{table}");
    for line in ctl(&network.balancer, "list -n --stats")?.lines().filter(|line| line.contains("->")).skip(1)
    {
        let figures: Vec<_> = line.split_whitespace().skip(2).collect();
        ensure!(figures[0] == "3" && figures[2] == "0" && figures[4] == "0", "{line}");
    }
    assert_counted(&network.balancer, reason, 60)
}

#[test]
fn a_neighbour_that_is_not_known_is_asked_for() -> Result<()> {
    for hook in ["xdp", "tc"] {
        let network = one_network(hook == "xdp", hook)?;
        for (vip, ..) in ADDRESSES {
            curl(&network.client, &format!("http://{vip}"))?;
        }
        assert_counted(&network.balancer, "NeighbourAsked", 2)?;
        let neighbours = network.balancer.ip("neighbour show dev eth0")?;
        for server in ["192.168.33.112", "fd00:33::112"] {
            ensure!(neighbours.contains(&format!("{server} lladdr")), "{hook}: {neighbours}");
        }
    }
    Ok(())
}

#[test]
fn where_xdp_cannot_send_the_packets_are_lost_and_counted() -> Result<()> {
    let network = one_network(false, "xdp")?;
    let answer = network.client.output(["curl", "-sS", "--max-time", "3", "http://192.168.33.50"])?;
    ensure!(!answer.status.success(), "{answer:?}");
    eventually(|| assert_counted(&network.balancer, "RouteDevice", 1))
}

#[test]
fn a_server_on_the_balancer_itself_is_served_by_every_method() -> Result<()> {
    for hook in ["xdp", "tc"] {
        let lab = Lab::classic()?;
        let _server = Nginx::start(&lab.balancer, "Balancer called.")?;
        ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
        let (vip6, v4, v6) = (format!("[{VIP6}]"), format!("-r {VIP}:80 -m"), format!("-r [{VIP6}]:80 -m"));
        for (vip, backends) in [
            (VIP, ["-r 127.0.0.1:80 -g", &v4, "-r 192.168.33.100 -l"]),
            (&vip6, ["-r [::1]:80 -g", &v6, "-r [fd00:33::100] -l"]),
        ] {
            for (backend, method) in backends.into_iter().zip(["Route ", "Masq  ", "Local "]) {
                ctl(&lab.balancer, &format!("service add -t {vip}:80 -s rr"))?;
                ctl(&lab.balancer, &format!("backend add -t {vip}:80 {backend}"))?;
                for _ in 0..3 {
                    let answer = curl(&lab.client, &format!("http://{vip}"))?;
                    assert_eq!(answer, "Balancer called.\n", "{hook}: {backend}");
                }
                let list = ctl(&lab.balancer, "list -n")?;
                ensure!(
                    list.contains(&format!("{method}  1      0          3 ")),
                    "{hook}: {backend}: {list}"
                );
                ctl(&lab.balancer, "clear")?;
            }
        }
        let counters = counters(&lab.balancer)?;
        ensure!(
            counters["LocalBackend"] >= 4 * 3 * 4 && counters["KernelRoute"] >= 2 * 3 * 4,
            "{counters:?}"
        );
    }
    Ok(())
}
