//! What the tests of real traffic share: the classic lab with the program loaded, real clients, and
//! the counters that tell which way the packets took.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use xtask::lab::{Lab, Namespace, VIP, VIP6};

/// How long an answer may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the balancer sends packets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Plain veth, whose far ends would lose redirected packets: the kernel forwards.
    Kernel,
    /// The far ends have GRO on, and so take redirected packets.
    Redirect,
    /// tc instead of XDP, on veth that hand over segments of 64 KiB and checksums that are not filled in.
    Tc,
}

/// The classic lab with the program loaded, without services.
pub fn loaded(path: Path, mtu: u32) -> Result<Lab> {
    let lab = Lab::classic()?;
    let links = [(&lab.client, "eth0"), (&lab.balancer, "outside"), (&lab.balancer, "inside")];
    let far = [(&lab.switch, "balancer"), (&lab.switch, "web1"), (&lab.switch, "web2")];
    for (namespace, device) in links.into_iter().chain(far).chain([(&lab.web1, "eth0"), (&lab.web2, "eth0")])
    {
        namespace.ip(&format!("link set {device} mtu {mtu}"))?;
    }
    if path == Path::Redirect {
        for (namespace, device) in [(&lab.client, "eth0"), (&lab.switch, "balancer")] {
            namespace.run(["ethtool", "-K", device, "gro", "on"])?;
        }
    }
    let hook = if path == Path::Tc { "tc" } else { "xdp" };
    ctl(&lab.balancer, &format!("load outside inside --hook {hook}"))?;
    Ok(lab)
}

/// Runs `lb-ctl`; the words are separated by blanks.
pub fn ctl(balancer: &Namespace, words: &str) -> Result<String> {
    balancer.lb_ctl(words.split_whitespace())
}

/// A service (`-t` or `-u`) on this port of both addresses, with this many of the servers.
pub fn service(balancer: &Namespace, protocol: &str, port: u16, servers: u16) -> Result<()> {
    for (vip, network) in [(VIP.to_owned(), "192.168.33."), (format!("[{VIP6}]"), "fd00:33::")] {
        ctl(balancer, &format!("service add {protocol} {vip}:{port} -s rr"))?;
        for server in 111..111 + servers {
            let address = format!("{network}{server}");
            let address = if vip.starts_with('[') { format!("[{address}]") } else { address };
            ctl(balancer, &format!("backend add {protocol} {vip}:{port} -r {address}:{port} -m -w 1"))?;
        }
    }
    Ok(())
}

/// What one request of `curl` to this address brings.
pub fn curl(client: &Namespace, url: &str) -> Result<String> {
    client.run(["curl", "-sSk", "--max-time", "20", url])
}

/// The packets counted so far, by reason.
pub fn counters(balancer: &Namespace) -> Result<BTreeMap<String, u64>> {
    let list = ctl(balancer, "counters --json")?;
    let mut packets = 0;
    let mut counters = BTreeMap::new();
    for line in list.lines().map(|line| line.trim().trim_end_matches(',')) {
        if let Some(number) = line.strip_prefix("\"packets\": ") {
            packets = number.parse()?;
        } else if let Some(name) = line.strip_prefix("\"name\": ") {
            counters.insert(name.trim_matches('"').to_owned(), packets);
        }
    }
    Ok(counters)
}

/// Fails unless at least this many packets were counted under a reason.
pub fn assert_counted(balancer: &Namespace, reason: &str, at_least: u64) -> Result<()> {
    let counters = counters(balancer)?;
    let packets = counters.get(reason).copied().unwrap_or(0);
    ensure!(packets >= at_least, "{packets} packets counted as {reason}, not {at_least}: {counters:?}");
    Ok(())
}

/// Tries until it succeeds; the last failure after [`PATIENCE`].
pub fn eventually<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let limit = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < limit => sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}
