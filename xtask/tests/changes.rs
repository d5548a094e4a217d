//! Changes under load: a backend's MAC address, and the program itself.

mod through;

use anyhow::{Result, ensure};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use through::{Path, ctl, loaded};
use xtask::lab::{Lab, VIP};

/// The service, and one server for it.
fn with_one_server(path: Path) -> Result<Lab> {
    let lab = loaded(path, 1500)?;
    ctl(&lab.balancer, &format!("service add -t {VIP}:80 -s rr"))?;
    ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r 192.168.33.111:80 -m"))?;
    Ok(lab)
}

fn request(lab: &Lab, patience: &str) -> bool {
    let url = format!("http://{VIP}");
    lab.client
        .run(["curl", "-sS", "--max-time", patience, &url])
        .is_ok_and(|answer| answer == "Web1 called.\n")
}

#[test]
fn a_backend_with_a_new_mac_address_is_found_again() -> Result<()> {
    for path in [Path::Redirect, Path::Kernel] {
        let lab = with_one_server(path)?;
        for _ in 0..10 {
            ensure!(request(&lab, "5"));
        }
        lab.web1.ip("link set eth0 address 02:00:00:00:77:01")?;
        // What a server's network manager does with a new address: it speaks. The balancer's kernel learns the
        // address from that, and the program asks the kernel at most half a second later.
        lab.web1.run(["ping", "-c", "1", "-W", "5", "192.168.33.100"])?;
        let changed = Instant::now();
        while !request(&lab, "1") {
            ensure!(changed.elapsed() < Duration::from_secs(10), "{path:?}: the server is not found again");
        }
        println!("{path:?}: healed in {:?}", changed.elapsed());
        for _ in 0..10 {
            ensure!(request(&lab, "5"), "{path:?}: a request failed after the change had healed");
        }
    }
    Ok(())
}

#[test]
fn a_second_route_takes_over_when_the_first_ones_interface_goes_down() -> Result<()> {
    let lab = Lab::classic()?;
    lab.balancer.connect("spare", &lab.switch, "spare")?;
    lab.switch.ip("link set spare master br0")?;
    lab.balancer.ip("address add 192.168.33.101/24 dev spare metric 200")?;
    // Each interface answers for its own address; replies come by the spare one all the time.
    lab.balancer.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore"])?;
    lab.web1.ip("route replace default via 192.168.33.101")?;
    for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer"), (&lab.switch, "spare")] {
        namespace.run(["ethtool", "-K", device, "gro", "on"])?;
    }
    ctl(&lab.balancer, "load outside inside spare")?;
    ctl(&lab.balancer, &format!("service add -t {VIP}:80 -s rr"))?;
    ctl(&lab.balancer, &format!("backend add -t {VIP}:80 -r 192.168.33.111:80 -m"))?;
    for _ in 0..10 {
        ensure!(request(&lab, "5"));
    }
    lab.balancer.ip("link set inside down")?;
    let changed = Instant::now();
    while !request(&lab, "1") {
        ensure!(changed.elapsed() < Duration::from_secs(10), "the second route does not take over");
    }
    println!("healed in {:?}", changed.elapsed());
    for _ in 0..10 {
        ensure!(request(&lab, "5"), "a request failed after the change had healed");
    }
    Ok(())
}

#[test]
fn upgrades_fail_no_request() -> Result<()> {
    let lab = with_one_server(Path::Redirect)?;
    let urls = format!("http://{VIP}/?[1-600]");
    let mut upgrades = 0;
    // Each a connection of its own, one after the other.
    let options =
        ["curl", "-sS", "--fail", "--max-time", "10", "-H", "Connection: close", "--rate", "60/s", &urls];
    std::thread::scope(|scope| -> Result<()> {
        let client = scope.spawn(|| lab.client.run(options));
        while !client.is_finished() {
            ctl(&lab.balancer, "upgrade")?;
            upgrades += 1;
            sleep(Duration::from_millis(200));
        }
        let answers = client.join().expect("the client's thread")?;
        ensure!(answers.matches("Web1 called.").count() == 600, "not every request was answered");
        Ok(())
    })?;
    ensure!(upgrades >= 3, "only {upgrades} upgrades fell into the requests");
    println!("{upgrades} upgrades");
    Ok(())
}
