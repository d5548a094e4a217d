//! How long programs of timers hold a core, by the kernel's own tracepoints. No packet is worked on there meanwhile.

use crate::instance::OBJECT;
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{MapData, PerCpuArray},
    programs::RawTracePoint,
};
use std::fs::read_to_string;

/// As in `lb-ebpf/src/bin/bench.rs`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Held {
    since: u64,
    longest: u64,
    times: u64,
    long: u64,
}

/// What has been seen of them.
pub struct Seen {
    /// How often one ran.
    pub times: u64,
    /// How often for longer than a millisecond.
    pub long: u64,
    /// The longest run in nanoseconds.
    pub longest: u64,
}

// SAFETY: four numbers.
unsafe impl Pod for Held {}

/// Watches them, on all cores, from its creation on.
pub struct Timers(Ebpf);

impl Timers {
    /// Begins.
    pub fn watch() -> Self {
        let mut ebpf = EbpfLoader::new()
            .override_global("TIMER_CALLBACK", &address_of("bpf_timer_cb"), true)
            .load(OBJECT)
            .unwrap();
        for (name, tracepoint) in
            [("timer_begins", "hrtimer_expire_entry"), ("timer_ends", "hrtimer_expire_exit")]
        {
            let program: &mut RawTracePoint = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(tracepoint).unwrap();
        }
        Self(ebpf)
    }

    /// Up to now, on all cores.
    pub fn seen(&self) -> Seen {
        let held: PerCpuArray<&MapData, Held> = self.0.map("HELD").unwrap().try_into().unwrap();
        let values = held.get(&0, 0).unwrap();
        Seen {
            times: values.iter().map(|held| held.times).sum(),
            long: values.iter().map(|held| held.long).sum(),
            longest: values.iter().map(|held| held.longest).max().unwrap(),
        }
    }
}

fn address_of(name: &str) -> u64 {
    let symbols = read_to_string("/proc/kallsyms").unwrap();
    let line = symbols.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    u64::from_str_radix(line.unwrap().split_whitespace().next().unwrap(), 16).unwrap()
}
