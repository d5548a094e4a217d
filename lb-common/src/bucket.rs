//! The index of the connection table.

use bytemuck::{Pod, Zeroable};

/// Entries of a bucket.
pub const ENTRIES: usize = 7;

/// One bucket of the hash index from packets to connections. One cache line.
///
/// A connection has two entries, one for each direction's packets. An entry lives in the bucket of
/// its hash, or, when that is full, in the bucket's alternate; `overflow` says how many do, so that
/// a look-up reads a second line only where it must.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    /// Packed entries; 0 is empty. Changed by compare-and-exchange.
    pub entries: [u64; ENTRIES],
    /// Entries whose hash belongs here but which live in the alternate bucket; atomic addition.
    pub overflow: u64,
}

const _: () = assert!(size_of::<Bucket>() == 64);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Bucket {}

/// Which of a connection's two kinds of packets an entry finds.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the service.
    Forward = 0,
    /// From the backend to the client.
    Reply = 1,
}

/// Packs an entry: the upper half of the flow's hash, then the slot (from 1) and the direction.
#[inline(always)]
pub const fn entry(hash: u64, slot: u32, direction: Direction) -> u64 {
    hash & 0xffff_ffff_0000_0000 | ((slot as u64 + 1) << 1 | direction as u64)
}

/// The slot of an entry that is not empty.
#[inline(always)]
pub const fn slot(entry: u64) -> u32 {
    ((entry as u32) >> 1).wrapping_sub(1)
}

/// The direction of an entry.
#[inline(always)]
pub const fn direction(entry: u64) -> Direction {
    if entry & 1 == 0 { Direction::Forward } else { Direction::Reply }
}

/// Buckets for a table of `connections`: about half of the entries stay empty.
pub const fn buckets(connections: u32) -> u32 {
    let wanted = connections.saturating_mul(4) / ENTRIES as u32;
    if wanted < 16 { 16 } else { wanted.next_power_of_two() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_back_what_it_was_made_of() {
        let made = entry(0xdead_beef_1234_5678, 41, Direction::Reply);
        assert_eq!((slot(made), direction(made), made >> 32), (41, Direction::Reply, 0xdead_beef));
        assert_ne!(entry(0, 0, Direction::Forward), 0);
    }
}
