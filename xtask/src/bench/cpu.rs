//! Processor time of chosen processes: what others on the machine do at the same time does not count.
//!
//! Packets on veth are mostly handled in the context of whoever sent them, and the rest by the kernel's ksoftirqd,
//! so both are counted.

use std::fs;

use anyhow::{Context, Result};

use crate::lab::Process;

/// A clock tick of `/proc/<id>/stat` (`USER_HZ`), which is the same on every architecture Linux runs on today.
const TICK: f64 = 0.01;

/// Seconds so far of these processes and the ones that they started, of our children that have ended, and of
/// ksoftirqd.
pub fn seconds<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Result<f64> {
    let groups: Vec<u32> = processes.into_iter().map(Process::id).collect();
    let mut nanoseconds = 0.0;
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // Whoever has ended meanwhile was not ours: ours run all the time.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
        let group = fields.split(' ').nth(2).and_then(|group| group.parse().ok());
        if name.contains("(ksoftirqd/") || group.is_some_and(|group| groups.contains(&group)) {
            nanoseconds += running(id)?;
        }
    }
    Ok(nanoseconds / 1e9 + children()?)
}

/// Of all threads of a process.
fn running(id: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).context("no schedstat")?;
    }
    Ok(sum)
}

/// Of our children that have ended.
fn children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("/proc/self/stat")?.1.split(' ').collect();
    // Fields 16 and 17, cutime and cstime; the first two are cut off.
    Ok((fields[13].parse::<f64>()? + fields[14].parse::<f64>()?) * TICK)
}
