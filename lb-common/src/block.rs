//! Blocks of a long member list, and groups of blocks: the best member of each is remembered, so that a scheduler
//! which looks for the least loaded does not look at all of them.

use crate::limits;
use bytemuck::{Pod, Zeroable};

/// Members of a block. A list with blocks begins at a multiple of this in the map of member lists;
/// its blocks lie in theirs at the same place, divided by this.
pub const MEMBERS: u32 = 16;

/// Blocks of a group. A list of more than one group begins with a group.
pub const GROUP: u32 = 16;

/// Blocks of all member lists.
const BLOCKS: u32 = limits::MEMBERS / MEMBERS;
// Backends have the number of theirs in 16 bits.
const _: () = assert!(BLOCKS < 1 << 16);

/// Entries of the map of blocks: all blocks, and behind them all groups.
pub const ENTRIES: u32 = BLOCKS + BLOCKS / GROUP;

/// Where the group of a block lies in the map of blocks.
#[inline(always)]
pub const fn group(block: u32) -> u32 {
    BLOCKS + block / GROUP
}

/// Whether the blocks of a list are remembered in groups.
#[inline(always)]
pub const fn has_groups(members: u32) -> bool {
    members > GROUP * MEMBERS
}

/// What the first entry of a list with blocks has to be a multiple of. No other list has groups where one has:
/// it would have to begin there.
pub const fn alignment(members: u32) -> u32 {
    if has_groups(members) { GROUP * MEMBERS } else { MEMBERS }
}

/// What is remembered of a block or a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Block {
    /// How often the connections of one of its members changed; atomic addition. Never 0 when `best`
    /// was not looked for yet.
    pub changes: u64,
    /// Bits 32..64 the low half of `changes` when the best member was looked for; 0..32 its position in
    /// the list, from 1; 0 when none can take a connection.
    pub best: u64,
}

const _: () = assert!(size_of::<Block>() == 16);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Block {}

impl Block {
    /// One of which nothing is known.
    pub const UNKNOWN: Self = Self { changes: 1, best: 0 };

    /// The best member's position, from 1, or 0 when none can take a connection. Meaningless unless
    /// [`Self::is_current`].
    #[inline(always)]
    pub const fn position(&self) -> u32 {
        self.best as u32
    }

    /// Whether nothing has changed since the best member was looked for.
    #[inline(always)]
    pub const fn is_current(&self) -> bool {
        (self.best >> 32) as u32 == self.changes as u32
    }

    /// What [`Self::best`] is after a look that began at `changes`.
    #[inline(always)]
    pub const fn found(changes: u64, position: u32) -> u64 {
        changes << 32 | position as u64
    }
}
