//! What `lb-ctl` lists, read back.

use anyhow::{Context, Result};

use super::Namespace;

/// A line of `lb-ctl list -n --connections`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// In ipvsadm's words.
    pub state: String,
    /// Until it expires.
    pub seconds: u32,
    /// The client's address and port.
    pub client: String,
    /// The service's.
    pub service: String,
    /// The backend's.
    pub backend: String,
}

/// A backend's line of `lb-ctl list -n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Address and port.
    pub address: String,
    /// Its weight.
    pub weight: u32,
    /// ActiveConn.
    pub active: u64,
    /// InActConn.
    pub inactive: u64,
}

impl Namespace {
    /// The connection table of this namespace's balancer.
    pub fn connections(&self) -> Result<Vec<Connection>> {
        let list = self.lb_ctl(["list", "-n", "--connections"])?;
        list.lines().skip(2).map(|line| connection(line).with_context(|| line.to_owned())).collect()
    }

    /// The backends of all its services.
    pub fn backends(&self) -> Result<Vec<Backend>> {
        let list = self.lb_ctl(["list", "-n"])?;
        let lines = list.lines().skip(3).filter(|line| line.starts_with("  ->"));
        lines.map(|line| backend(line).with_context(|| line.to_owned())).collect()
    }

    /// How many packets it counted under a reason, by the name that `counters --json` gives.
    pub fn counter(&self, reason: &str) -> Result<u64> {
        let list = self.lb_ctl(["counters", "--all", "--json"])?;
        // Keys come in the order of the program's structure: the number before the name.
        let name = format!("\"name\": \"{reason}\"");
        let before = list.split_once(&name).with_context(|| format!("no reason {reason}:\n{list}"))?.0;
        let number = before.rsplit_once("\"packets\":").context("no packets")?.1;
        Ok(number.split(',').next().unwrap_or_default().trim().parse()?)
    }
}

fn connection(line: &str) -> Option<Connection> {
    let [_, expire, state, client, service, backend] = words(line)?;
    let (minutes, seconds) = expire.split_once(':')?;
    let seconds = minutes.parse::<u32>().ok()? * 60 + seconds.parse::<u32>().ok()?;
    let [state, client, service, backend] = [state, client, service, backend].map(str::to_owned);
    Some(Connection { state, seconds, client, service, backend })
}

fn backend(line: &str) -> Option<Backend> {
    let [_, address, _, weight, active, inactive] = words(line)?;
    Some(Backend {
        address: address.to_owned(),
        weight: weight.parse().ok()?,
        active: active.parse().ok()?,
        inactive: inactive.parse().ok()?,
    })
}

fn words(line: &str) -> Option<[&str; 6]> {
    line.split_whitespace().collect::<Vec<_>>().try_into().ok()
}
