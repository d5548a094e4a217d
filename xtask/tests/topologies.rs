//! Other networks than the classic one: one interface for both sides, a bridge, two balancers.

mod through;

use std::{env, fs};

use anyhow::{Context, Result};
use through::{Path, assert_counted, ctl, curl, loaded};
use xtask::lab::{Lab, Namespace, Nginx, Site, VIP, sent_to_veth};

/// A service on port 80 of an address, with both servers of the classic lab.
fn web_service(balancer: &Namespace, vip: &str) -> Result<()> {
    ctl(balancer, &format!("service add -t {vip}:80 -s rr"))?;
    for server in [111, 112] {
        ctl(balancer, &format!("backend add -t {vip}:80 -r 192.168.33.{server}:80 -m"))?;
    }
    Ok(())
}

fn assert_turns(client: &Namespace, vip: &str) -> Result<()> {
    for number in 0..6 {
        let expected = if number % 2 == 0 { "Web2 called.\n" } else { "Web1 called.\n" };
        assert_eq!(curl(client, &format!("http://{vip}"))?, expected, "request {number} to {vip}");
    }
    Ok(())
}

/// Client, balancer and servers as hosts of one network; the balancer's interface has a number.
fn one_armed(redirect: bool, number: u32) -> Result<()> {
    let lb_ctl = env::var_os("LB_CTL").context("LB_CTL is not set; run: cargo xtask test")?;
    let site = Site::new(lb_ctl.into())?;
    let switch = site.namespace("switch")?;
    let hosts = [("client", 10), ("lb", 200), ("web1", 111), ("web2", 112)];
    let hosts = hosts.map(|(role, host)| -> Result<Namespace> {
        let namespace = site.namespace(role)?;
        match role {
            "lb" => namespace.connect_numbered("eth0", number, &switch, role)?,
            _ => namespace.connect("eth0", &switch, role)?,
        }
        namespace.addresses("eth0", &[&format!("192.168.33.{host}/24")])?;
        Ok(namespace)
    });
    let [client, balancer, web1, web2] = hosts;
    let (client, balancer, web1, web2) = (client?, balancer?, web1?, web2?);
    switch.bridge("br0", &["client", "lb", "web1", "web2"])?;
    // Replies have to come back through the balancer, which must not tell of the shorter way.
    for server in [&web1, &web2] {
        server.ip("route add 192.168.33.10/32 via 192.168.33.200")?;
    }
    balancer.forward()?;
    for device in ["all", "eth0"] {
        balancer.sysctl(&format!("net/ipv4/conf/{device}/send_redirects"), "0")?;
    }
    let _servers = [Nginx::start(&web1, "Web1 called.")?, Nginx::start(&web2, "Web2 called.")?];
    if redirect {
        switch.run(["ethtool", "-K", "lb", "gro", "on"])?;
    }
    ctl(&balancer, "load eth0")?;
    web_service(&balancer, "192.168.33.200")?;
    assert_turns(&client, "192.168.33.200")?;
    assert_counted(&balancer, if redirect { sent_to_veth()? } else { "KernelDevice" }, 20)
}

#[test]
fn one_armed_through_the_kernel() -> Result<()> {
    one_armed(false, 100)
}

#[test]
fn one_armed_sent_back_by_xdp() -> Result<()> {
    one_armed(true, 100)
}

/// The map of interfaces to send through ends below it.
#[test]
fn one_armed_sent_back_by_xdp_whatever_the_interface_s_number() -> Result<()> {
    one_armed(true, 70_000)
}

#[test]
fn a_port_of_a_bridge_as_inside_interface_is_served() -> Result<()> {
    let lab = Lab::classic()?;
    lab.balancer.ip("address flush dev inside")?;
    lab.balancer.bridge("br0", &["inside"])?;
    lab.balancer.addresses("br0", &["192.168.33.100/24"])?;
    ctl(&lab.balancer, "load outside inside")?;
    web_service(&lab.balancer, VIP)?;
    assert_turns(&lab.client, VIP)
}

#[test]
fn a_bridge_as_inside_interface_is_served_and_says_how() -> Result<()> {
    let lab = Lab::classic()?;
    lab.balancer.ip("address flush dev inside")?;
    lab.balancer.bridge("br0", &["inside"])?;
    lab.balancer.addresses("br0", &["192.168.33.100/24"])?;
    let said = ctl(&lab.balancer, "load outside br0")?;
    assert!(said.contains("br0: attached (tc)"), "{said}");
    web_service(&lab.balancer, VIP)?;
    assert_turns(&lab.client, VIP)?;
    assert_counted(&lab.balancer, "KernelDevice", 10)?;
    // Generic XDP sends the replies itself.
    assert_counted(&lab.balancer, "Redirected", 10)?;

    // Long enough for segments that are cut up only on the way out.
    for server in [&lab.web1, &lab.web2] {
        let files = lab.site.directory().join(format!("nginx-{}/files", server.name()));
        fs::create_dir_all(&files)?;
        fs::write(files.join("large"), vec![b'x'; 5_000_000])?;
    }
    let large = curl(&lab.client, &format!("http://{VIP}/files/large"))?;
    assert_eq!(large.len(), 5_000_000);
    Ok(())
}

#[test]
fn a_second_load_in_another_namespace_is_independent() -> Result<()> {
    let lab = loaded(Path::Kernel, 1500)?;
    let (client, balancer) = (lab.site.namespace("client2")?, lab.site.namespace("lb2")?);
    client.connect("eth0", &balancer, "outside")?;
    balancer.connect("inside", &lab.switch, "lb2")?;
    lab.switch.ip("link set lb2 master br0")?;
    client.addresses("eth0", &["192.168.4.10/24"])?;
    balancer.addresses("outside", &["192.168.4.200/24"])?;
    balancer.addresses("inside", &["192.168.33.101/24"])?;
    client.gateways(&["192.168.4.200"])?;
    balancer.forward()?;
    for server in [&lab.web1, &lab.web2] {
        server.ip("route add 192.168.4.0/24 via 192.168.33.101")?;
    }
    ctl(&balancer, "load outside inside")?;
    web_service(&lab.balancer, VIP)?;
    web_service(&balancer, "192.168.4.200")?;
    assert_turns(&lab.client, VIP)?;
    assert_turns(&client, "192.168.4.200")?;
    assert!(!ctl(&balancer, "list -n")?.contains(VIP));
    assert!(!ctl(&lab.balancer, "list -n")?.contains("192.168.4.200"));

    ctl(&lab.balancer, "unload")?;
    assert_turns(&client, "192.168.4.200")
}
