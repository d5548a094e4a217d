//! The schedulers, by ipvsadm's names, and the flags that `-b` sets.

use bytemuck::{Pod, Zeroable};

/// A scheduler, numbered for the maps.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are ipvsadm's; NAMES and the scheduler files describe them")]
pub enum Scheduler {
    Rr = 0,
    Wrr = 1,
    Lc = 2,
    Wlc = 3,
    Sed = 4,
    Nq = 5,
    Fo = 6,
    Ovf = 7,
    Twos = 8,
    Dh = 9,
    Sh = 10,
    Mh = 11,
    Lblc = 12,
    Lblcr = 13,
}

impl Scheduler {
    /// Every scheduler with its ipvsadm name, in the order of their numbers.
    pub const NAMES: [(Self, &'static str); 14] = [
        (Self::Rr, "rr"),
        (Self::Wrr, "wrr"),
        (Self::Lc, "lc"),
        (Self::Wlc, "wlc"),
        (Self::Sed, "sed"),
        (Self::Nq, "nq"),
        (Self::Fo, "fo"),
        (Self::Ovf, "ovf"),
        (Self::Twos, "twos"),
        (Self::Dh, "dh"),
        (Self::Sh, "sh"),
        (Self::Mh, "mh"),
        (Self::Lblc, "lblc"),
        (Self::Lblcr, "lblcr"),
    ];

    /// The scheduler of a number in a map.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::NAMES.len() { Some(Self::NAMES[number as usize].0) } else { None }
    }

    /// The scheduler of an ipvsadm name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(scheduler, _)| *scheduler)
    }

    /// Its ipvsadm name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// Entries of its lookup table; 0 for a scheduler that has none.
    pub const fn table_length(self) -> u32 {
        match self {
            Self::Dh | Self::Sh => HASH_BUCKETS,
            Self::Mh => MAGLEV_SLOTS,
            _ => 0,
        }
    }
}

/// Buckets of `dh` and `sh` (`IP_VS_DH_TAB_SIZE`, `IP_VS_SH_TAB_SIZE`).
pub const HASH_BUCKETS: u32 = 256;
/// Slots of `mh`'s table: the prime of `CONFIG_IP_VS_MH_TAB_INDEX=12`.
pub const MAGLEV_SLOTS: u32 = 4_093;
/// A slot of a lookup table that no backend fills. Any other value is a position in the member list.
pub const NO_BACKEND: u32 = u32::MAX;

/// Scheduler flags of a service (`IP_VS_SVC_F_SCHED1`, `IP_VS_SVC_F_SCHED2`).
pub mod flags {
    /// `-b sh-fallback`, `mh-fallback`, `flag-1`: try other buckets when the chosen backend cannot serve.
    pub const FALLBACK: u8 = 1;
    /// `-b sh-port`, `mh-port`, `flag-2`: hash the client's port too.
    pub const PORT: u8 = 2;
    /// `-b flag-3`: known to ipvsadm, used by no scheduler.
    pub const THIRD: u8 = 4;
}

/// Where a service's `rr` or `wrr` stands. Changed by compare-and-exchange, so it is one word:
/// bits 48..64 the low bits of the service's generation, 32..48 the position, 0..32 the level.
///
/// The position counts from 0 = before the head of the member list, so `n` is "at member n - 1".
/// A word of another generation is stale: the service's `start` counts instead, which is a position
/// for `rr` and, from the head of the list, a level for `wrr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Turn {
    /// The packed word.
    pub word: u64,
}

const _: () = assert!(size_of::<Turn>() == 8);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Turn {}

impl Turn {
    /// Packs a turn.
    #[inline(always)]
    pub const fn new(generation: u32, position: u32, level: u32) -> Self {
        Self { word: (generation as u64 & 0xffff) << 48 | (position as u64 & 0xffff) << 32 | level as u64 }
    }

    /// The low 16 bits of the generation that wrote it.
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.word >> 48) as u32
    }

    /// The position in the member list; 0 is before the head.
    #[inline(always)]
    pub const fn position(self) -> u32 {
        (self.word >> 32) as u32 & 0xffff
    }

    /// `wrr`'s current weight; 0 before the first turn.
    #[inline(always)]
    pub const fn level(self) -> u32 {
        self.word as u32
    }
}
