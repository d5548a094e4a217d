//! Traffic counters of a backend, and the rates that come of them.

use bytemuck::{Pod, Zeroable};

/// What a backend has carried, counted per CPU. Bytes are IP lengths, as in IPVS. A service's
/// figures are the sums over its backends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Traffic {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

const _: () = assert!(size_of::<Traffic>() == 40);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Traffic {}

impl Traffic {
    /// Counts one packet of `bytes`, from the client (`forward`) or to it.
    #[inline(always)]
    pub fn count(&mut self, forward: bool, bytes: u64) {
        if forward {
            self.packets_in += 1;
            self.bytes_in += bytes;
        } else {
            self.packets_out += 1;
            self.bytes_out += bytes;
        }
    }
}

/// Rates of a backend as IPVS's estimator keeps them (`net/netfilter/ipvs/ip_vs_est.c`): every two
/// seconds, average += (rate - average) / 4, in fixed point.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Rates {
    /// The counters at the last estimate, over all CPUs.
    pub last: Traffic,
    /// Connections a second, times 2^10.
    pub connections: u64,
    /// Packets from clients a second, times 2^10.
    pub packets_in: u64,
    /// Packets to clients a second, times 2^10.
    pub packets_out: u64,
    /// Bytes from clients a second, times 2^5.
    pub bytes_in: u64,
    /// Bytes to clients a second, times 2^5.
    pub bytes_out: u64,
}

const _: () = assert!(size_of::<Rates>() == 80);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Rates {}
