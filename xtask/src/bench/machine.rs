//! Where and when it was measured.

use std::{fs, process::Command, thread::available_parallelism};

use anyhow::{Context, Result};
use serde::Serialize;

/// What a reader has to know about the machine.
#[derive(Serialize)]
pub struct Machine {
    /// UTC.
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    /// What the kernel says about the processor's flaws, where it does something about them.
    pub mitigations: usize,
    /// Programs that wanted to run at the same time, mean of a minute: at the start and at the end.
    pub load: [String; 2],
}

impl Machine {
    /// This one, now.
    pub fn here() -> Result<Self> {
        let first = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.trim_start_matches(['\t', ' ', ':']).to_owned()
        };
        let memory = first("/proc/meminfo", "MemTotal:");
        let kilobytes: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let flaws = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten();
        let mitigated = flaws.filter_map(|flaw| fs::read_to_string(flaw.ok()?.path()).ok());
        let date = Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M"]).output().context("date")?;
        Ok(Self {
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
            processor: first("/proc/cpuinfo", "model name"),
            cores: available_parallelism()?.get(),
            memory_gib: kilobytes >> 20,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            mitigations: mitigated.filter(|text| text.starts_with("Mitigation")).count(),
            load: [load()?, String::new()],
        })
    }

    /// The measurements have ended.
    pub fn end(&mut self) -> Result<()> {
        self.load[1] = load()?;
        Ok(())
    }

    /// In one sentence.
    pub fn describe(&self) -> String {
        format!(
            "{} UTC, {} × {}, {} GiB, Linux {}, {} mitigations on, load {} at the start and {} at the end",
            self.date,
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.mitigations,
            self.load[0],
            self.load[1]
        )
    }
}

fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
