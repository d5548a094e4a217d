//! virtio_net, the card of virtual machines, with the program in its driver: from one card to another, and back by
//! the same.

use std::{
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    cards::MAC,
    traffic::{Traffic, ctl},
};
use crate::lab::{Lab, Namespace};

/// A card of a namespace that was removed comes back a moment later.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries both, and what `status` says of them.
pub fn run(lb_ctl: &Path) -> Result<()> {
    for module in ["virtio_pci", "virtio_net"] {
        // Fails where the kernel has it built in.
        let _ = Command::new("modprobe").arg(module).status()?;
    }
    two_cards(lb_ctl).context("from one card to another")?;
    one_card(lb_ctl).context("back by the same card")
}

fn two_cards(lb_ctl: &Path) -> Result<()> {
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        give(1, client, "eth0")?;
        give(2, balancer, "outside")?;
        give(3, balancer, "inside")?;
        give(4, switch, "balancer")
    })?;
    let lab = lab.with_servers()?;
    print!("{}", ctl(&lab.balancer, "load outside inside")?);
    says(&lab.balancer, &["outside", "inside"])?;
    let traffic = Traffic::start(&lab)?;
    let result = traffic.flows();
    print!("{}", ctl(&lab.balancer, "counters")?);
    result?;
    traffic.counted(&["Redirected"], &["KernelDevice", "Transmitted"])?;
    for card in ["outside", "inside"] {
        driver_counted(&lab.balancer, card, ["rx", "xdp_redirects"])?;
        driver_counted(&lab.balancer, card, ["tx", "xdp_tx"])?;
    }
    ctl(&lab.balancer, "unload").map(drop)
}

/// Client, balancer and servers on one switch, by one card.
fn one_card(lb_ctl: &Path) -> Result<()> {
    let lab = Lab::over(lb_ctl.into(), |client, balancer, switch| {
        give(2, balancer, "inside")?;
        give(1, switch, "balancer")?;
        client.connect("eth0", switch, "client")?;
        // The classic lab's second device, for its addresses: they go to the card below.
        balancer.ip("link add outside type dummy")?;
        balancer.ip("link set outside up").map(drop)
    })?;
    lab.switch.ip("link set client master br0")?;
    lab.balancer.ip("link delete outside")?;
    lab.balancer.addresses("inside", &["192.168.2.200/24", "fd00:2::200/64"])?;
    // The servers must not hear of the shorter way.
    for device in ["all", "inside"] {
        lab.balancer.sysctl(&format!("net/ipv4/conf/{device}/send_redirects"), "0")?;
    }
    let lab = lab.with_servers()?;
    print!("{}", ctl(&lab.balancer, "load inside --hook xdp --mode native")?);
    says(&lab.balancer, &["inside"])?;
    let traffic = Traffic::start(&lab)?;
    let result = traffic.flows();
    print!("{}", ctl(&lab.balancer, "counters")?);
    result?;
    traffic.counted(&["Transmitted"], &["KernelDevice", "Redirected"])?;
    driver_counted(&lab.balancer, "inside", ["rx", "xdp_tx"])?;
    driver_counted(&lab.balancer, "inside", ["tx", "xdp_tx"])?;
    ctl(&lab.balancer, "unload").map(drop)
}

/// Puts a card into a namespace, under a name, up.
fn give(card: u32, namespace: &Namespace, name: &str) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    let device = loop {
        if let Some(device) = find(card)? {
            break device;
        }
        if Instant::now() > limit {
            bail!("no virtio card {card}: has the host no /dev/net/tun?");
        }
        sleep(Duration::from_millis(100));
    };
    let status = Command::new("ip")
        .args(["link", "set", &device, "name", name, "netns", namespace.name()])
        .status()?;
    ensure!(status.success(), "moving {device} ended with {status}");
    namespace.ip(&format!("link set {name} up")).map(drop)
}

fn find(card: u32) -> Result<Option<String>> {
    let wanted = format!("{MAC}{card}");
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("address")).is_ok_and(|mac| mac.trim() == wanted) {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// What `status` has to say of each card.
fn says(balancer: &Namespace, cards: &[&str]) -> Result<()> {
    let status = ctl(balancer, "status")?;
    for card in cards {
        let line = status.lines().find(|line| line.starts_with(card)).context("no line about a card")?;
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(words.get(1) == Some(&"native") && words.contains(&"xdp"), "{status}");
    }
    Ok(())
}

/// Fails unless the driver, too, says that packets went this way, in what it counts for its queues.
fn driver_counted(balancer: &Namespace, card: &str, [side, what]: [&str; 2]) -> Result<()> {
    let statistics = balancer.run(["ethtool", "-S", card])?;
    let lines = statistics.lines().filter_map(|line| line.trim().split_once(": "));
    let counted = lines.filter(|(name, _)| is_of_a_queue(name, side, what));
    let packets: u64 = counted.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum();
    ensure!(packets > 100, "{card}: {packets} packets as {what} ({side}):\n{statistics}");
    println!("{card}: the driver has counted {packets} packets as {what} ({side})");
    Ok(())
}

/// `rx_queue_0_xdp_tx`, or, since Linux 6.10, `rx0_xdp_tx`; there is a sum over the queues as well then.
fn is_of_a_queue(name: &str, side: &str, what: &str) -> bool {
    let Some(rest) = name.strip_prefix(side) else { return false };
    let rest = rest.strip_prefix("_queue_").unwrap_or(rest);
    rest.split_once('_').is_some_and(|(queue, counted)| queue.parse::<u32>().is_ok() && counted == what)
}
