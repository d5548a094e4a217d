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

/// Added to [`Block::changes`] when a member carries more than before.
pub const RISE: u64 = 1;
/// Added to [`Block::changes`] when a member carries less than before, or may be given a connection again.
pub const FALL: u64 = 1 << 32;

const POSITION_BITS: u32 = 13;
const FALL_BITS: u32 = 24;
const RISE_BITS: u32 = 27;
const _: () = assert!(POSITION_BITS + FALL_BITS + RISE_BITS == 64);
const _: () = assert!(limits::BACKENDS_PER_SERVICE < 1 << POSITION_BITS);
// The greatest load is that of all connections, active, on one backend.
const _: () = assert!(
    (limits::CONNECTIONS_MAX as u64 * 257) << FALL_BITS >> FALL_BITS == limits::CONNECTIONS_MAX as u64 * 257
);

/// What is remembered of a block or a group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Block {
    /// Bits 0..32 how often the load of one of its members rose, 32..64 how often one fell; atomic addition.
    pub changes: u64,
    /// Bits 0..13 the best member's position in the list, from 1, or 0 when none can take a connection; 13..37 the
    /// low bits of the falls, and 37..64 of the rises, when it was looked for.
    pub best: u64,
    /// Bits 0..24 the low bits of the falls when the best member was looked for; 24..64 what it carried then.
    pub least: u64,
}

const _: () = assert!(size_of::<Block>() == 24);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Block {}

impl Block {
    /// One of which nothing is known.
    pub const UNKNOWN: Self = Self { changes: RISE, best: 0, least: 0 };

    /// The best member's position, from 1, or 0 when none can take a connection. Meaningless unless
    /// [`Self::is_current`].
    #[inline(always)]
    pub const fn position(&self) -> u32 {
        self.best as u32 & ((1 << POSITION_BITS) - 1)
    }

    /// Whether nothing has changed since the best member was looked for.
    #[inline(always)]
    pub const fn is_current(&self) -> bool {
        (self.best ^ Self::found(self.changes, 0)) >> POSITION_BITS == 0
    }

    /// The position of the member that was the best, from 1, and what it carried, if no member's load has fallen since:
    /// no member carries less for its weight, and those before it carry more.
    #[inline(always)]
    pub const fn floor(&self) -> Option<(u32, u64)> {
        let falls = (self.changes >> 32) as u32;
        let have_none_fallen = (self.least as u32 ^ falls) | ((self.best >> POSITION_BITS) as u32 ^ falls);
        if have_none_fallen << (32 - FALL_BITS) == 0 && self.position() != 0 {
            Some((self.position(), self.least >> FALL_BITS))
        } else {
            None
        }
    }

    /// What [`Self::best`] is after a look that began at `changes`.
    #[inline(always)]
    pub const fn found(changes: u64, position: u32) -> u64 {
        changes << (64 - RISE_BITS) | changes >> 32 << (64 - FALL_BITS) >> RISE_BITS | position as u64
    }

    /// What [`Self::least`] is then.
    #[inline(always)]
    pub const fn carried(changes: u64, load: u64) -> u64 {
        load << FALL_BITS | changes >> 32 & ((1 << FALL_BITS) - 1)
    }
}
