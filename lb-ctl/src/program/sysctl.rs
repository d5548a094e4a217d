//! The kernel's settings that a balancer needs.

use crate::lock::RUN;
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Settings by path below `/proc/sys`, with the value from before.
type Record = BTreeMap<String, String>;

/// Lets the kernel take packets that carry a local source address: replies that are rewritten and
/// left to it carry the service's. Remembers what was set before. Returns the names changed.
pub fn accept_local(cookie: u64, interfaces: &[String]) -> Result<Vec<String>> {
    let mut record = Record::new();
    for interface in interfaces {
        let setting = format!("net/ipv4/conf/{interface}/accept_local");
        let before = read(&setting)?;
        if before != "1" {
            record.insert(setting, before);
        }
    }
    if record.is_empty() {
        return Ok(Vec::new());
    }
    // First remembered, then changed: whatever interrupts this, `restore` knows.
    let path = record_path(cookie);
    fs::create_dir_all(RUN).with_context(|| format!("cannot create {RUN}"))?;
    fs::write(&path, serde_json::to_string(&record)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    for setting in record.keys() {
        write(setting, "1")?;
    }
    Ok(record.keys().map(|setting| in_sysctl_form(setting)).collect())
}

/// Puts back what [`accept_local`] changed. Whether there was anything to put back.
pub fn restore(cookie: u64) -> Result<bool> {
    let path = record_path(cookie);
    let record = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    // A record that was cut short was not acted on yet.
    let record: Record = serde_json::from_slice(&record).unwrap_or_default();
    for (setting, before) in &record {
        // The interface may be gone, and its settings with it.
        if Path::new("/proc/sys").join(setting).exists() {
            write(setting, before)?;
        }
    }
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(true)
}

/// Gives up what [`accept_local`] changed, in a namespace that is not this one.
pub fn forget(cookie: u64) -> Result<()> {
    match fs::remove_file(record_path(cookie)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("cannot remove a record"),
        _ => Ok(()),
    }
}

/// What else stands in the way of forwarding, each with the command that helps.
pub fn warnings(interfaces: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        if read(setting).is_ok_and(|value| value == "0") {
            let name = in_sysctl_form(setting);
            warnings.push(format!("{name} is 0, so nothing is forwarded: sysctl -w {name}=1"));
        }
    }
    for interface in interfaces {
        // The kernel takes the greater of the two (ip-sysctl.rst).
        if effective("rp_filter", interface) == "1" {
            let name = in_sysctl_form(&format!("net/ipv4/conf/{interface}/rp_filter"));
            warnings.push(format!(
                "rp_filter on {interface} is strict, which drops replies left to the kernel: sysctl -w {name}=2"
            ));
        }
    }
    // With one interface, clients and backends are on the same side, and a router tells them so.
    if let [interface] = interfaces
        && effective("send_redirects", interface) == "1"
    {
        warnings.push(format!(
            "send_redirects on {interface} is on, so packets left to the kernel make it tell clients and \
             backends to go past the balancer: sysctl -w net.ipv4.conf.all.send_redirects=0 {}=0",
            in_sysctl_form(&format!("net/ipv4/conf/{interface}/send_redirects"))
        ));
    }
    warnings
}

/// The greater of what is set for all interfaces and for one.
fn effective(setting: &str, interface: &str) -> String {
    let of = |scope: &str| read(&format!("net/ipv4/conf/{scope}/{setting}")).unwrap_or_default();
    of("all").max(of(interface))
}

fn record_path(cookie: u64) -> PathBuf {
    Path::new(RUN).join(format!("{cookie}.json"))
}

/// With dots where that is not ambiguous: an interface's name may contain some.
fn in_sysctl_form(setting: &str) -> String {
    if setting.contains('.') { setting.to_owned() } else { setting.replace('/', ".") }
}

fn read(setting: &str) -> Result<String> {
    let path = Path::new("/proc/sys").join(setting);
    let value = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(value.trim().to_owned())
}

fn write(setting: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(setting);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}
