//! How many packets went where, and why.

use super::open;
use crate::program::pins::Pins;
use anyhow::Result;
use aya::maps::{Map, PerCpuArray};
use lb_common::reason::{COUNTERS, Reason};

/// Packets by number of the reason, over all CPUs.
#[derive(Debug, Clone, Copy)]
pub struct Counters([u64; COUNTERS]);

impl Counters {
    /// Reads them. They only ever grow.
    pub fn open() -> Result<Self> {
        let map = open(&Pins::here()?.loaded()?.join("REASONS"))?;
        let map: PerCpuArray<_, [u64; COUNTERS]> = PerCpuArray::try_from(Map::PerCpuArray(map))?;
        let mut sum = [0; COUNTERS];
        for of_cpu in map.get(&0, 0)?.iter() {
            for (total, count) in sum.iter_mut().zip(of_cpu) {
                *total += count;
            }
        }
        Ok(Self(sum))
    }

    /// Packets of a reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }
}
