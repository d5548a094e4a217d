//! What `lc`, `wlc`, `sed` and `nq` compare, as numbers to calculate with.
//!
//! Numbers and not a branch for each: the verifier follows every branch in a loop, and on Linux 6.1 what it knows of
//! one would be with it in all later rounds.

use core::hint::black_box;
use lb_common::backend::{Backend, Member};

/// How a scheduler weighs a backend.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Weigh(
    /// Bits 0..33 0, [`Self::PROSPECT`] or [`Self::PROSPECT_IF_BUSY`]; 33..42 what an active connection counts, 42..44
    /// what an inactive one does; 44..46 whether weights count.
    u64,
);

impl Weigh {
    /// The connection to come counts.
    const PROSPECT: u64 = 1 << 32;
    /// It does unless there is no active one yet.
    const PROSPECT_IF_BUSY: u64 = (1 << 32) - 1;

    /// `lc`: the overhead.
    pub(super) const OVERHEAD: Self = Self(257 << 33 | 1 << 42);
    /// `wlc`: the overhead for the weight.
    pub(super) const OVERHEAD_FOR_WEIGHT: Self = Self(Self::OVERHEAD.0 | 1 << 44);
    /// `sed`: how long the new connection would wait.
    pub(super) const DELAY: Self = Self(Self::PROSPECT | 1 << 33 | 1 << 44);
    /// `nq`: the same, and an idle member is lighter than any other, whatever its weight.
    pub(super) const DELAY_UNLESS_IDLE: Self = Self(Self::PROSPECT_IF_BUSY | 1 << 33 | 1 << 44);

    /// As it is handed to another function of BPF.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The other end of [`Self::bits`].
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What a backend carries.
    ///
    /// The bits are hidden from the compiler, which would keep each number in a place of its own on the stack.
    #[inline(always)]
    pub(super) fn load(self, backend: &Backend) -> u64 {
        let (bits, active) = (black_box(self.0), u64::from(backend.active()));
        active * (bits >> 33 & 0x1ff)
            + u64::from(backend.inactive()) * (bits >> 42 & 3)
            + ((active + (bits & 0x1_ffff_ffff)) >> 32)
    }

    /// What it should carry, relative to others. Its weight is above 0.
    #[inline(always)]
    pub(super) fn weight(self, member: &Member) -> u32 {
        (member.weight - 1) * (black_box(self.0) >> 44 & 3) as u32 + 1
    }
}
