//! Where a CPU remembers that packets of a flow belong to a connection: what the index would say, in a place so
//! small that the processor's cache holds it for many flows. The connection itself tells whether it is true.

use crate::bucket::{Direction, direction};

/// The most sets that a CPU has: 4 MiB of them. Larger ones are in no cache either.
const SETS_MAX: u32 = 1 << 18;
/// Hints of flows whose hashes share a set, the latest first; 0 where there is none.
pub type Set = [u32; 4];

/// Sets of each of `cpus` CPUs for a table of `connections`: together they have room for both flows of each
/// connection. A power of two.
pub const fn sets(connections: u32, cpus: u32) -> u32 {
    let wanted = connections / 2 / cpus;
    if wanted < 1 {
        1
    } else if wanted > SETS_MAX {
        SETS_MAX
    } else {
        wanted.next_power_of_two()
    }
}

/// The fewest sets that packets use, of those that there are.
const SETS_MIN: u32 = 1 << 8;

/// Which bits of a hash choose a set, of those that choose among all: as many as `live` connections need. The fewer
/// sets they are spread over, the fewer lines of the cache they take. `before` are the bits so far; they stay until
/// there are too few, or four times as many as needed, because with others half of the hints are not found any more.
#[inline(always)]
pub const fn mask(before: u32, live: u32) -> u32 {
    if live <= before.saturating_add(1) && live >= before / 4 {
        return before;
    }
    let wanted = if live < SETS_MIN { SETS_MIN } else { live };
    // The next power of two, less one.
    u32::MAX >> (wanted - 1).leading_zeros()
}

/// Before anything is known of connections.
pub const MASK_MIN: u32 = SETS_MIN - 1;

/// Slots from here on are too large for a hint.
const SLOTS: u32 = (1 << 24) - 1;
const TAG: u32 = 0xfe;

/// The hint at a flow's connection: its slot, from 1, seven bits of the flow's hash by which no set is chosen,
/// and the direction.
#[inline(always)]
pub const fn hint(hash: u64, slot: u32, direction: Direction) -> Option<u32> {
    if slot < SLOTS { Some((slot + 1) << 8 | tag(hash) | direction as u32) } else { None }
}

/// Where a hint leads for a flow with this hash, if anywhere.
#[inline(always)]
pub const fn slot(hint: u32, hash: u64) -> Option<(u32, Direction)> {
    if (hint ^ tag(hash)) & TAG == 0 && hint != 0 {
        Some(((hint >> 8).wrapping_sub(1), direction(hint as u64)))
    } else {
        None
    }
}

#[inline(always)]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & TAG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cpus_together_have_a_hint_for_each_flow() {
        assert_eq!(sets(1 << 20, 2), 1 << 18);
        assert_eq!(sets(1 << 20, 64), 1 << 13);
        assert_eq!(sets(1 << 27, 1), SETS_MAX);
        assert_eq!(sets(16, 300), 1);
    }

    #[test]
    fn as_many_sets_as_connections_are_used_and_few_changes_made() {
        assert_eq!(mask(MASK_MIN, 0), MASK_MIN);
        assert_eq!(mask(MASK_MIN, 256), MASK_MIN);
        assert_eq!(mask(MASK_MIN, 257), 511);
        assert_eq!(mask(MASK_MIN, 65_536), 65_535);
        assert_eq!(mask(65_535, 65_537), 131_071);
        assert_eq!(mask(65_535, 16_383), 65_535);
        assert_eq!(mask(65_535, 16_382), 16_383);
        assert_eq!(mask(65_535, 0), MASK_MIN);
        assert_eq!(mask(0, u32::MAX), u32::MAX);
        assert_eq!(mask(u32::MAX, u32::MAX), u32::MAX);
    }

    #[test]
    fn a_hint_leads_back_for_the_hash_it_was_made_of() {
        let hash = 0xdead_beef_1234_5678;
        let made = hint(hash, SLOTS - 1, Direction::Reply).unwrap();
        assert_eq!(slot(made, hash), Some((SLOTS - 1, Direction::Reply)));
        assert_eq!(slot(made, hash ^ 1 << 33), None);
        assert_eq!(slot(0, 0), None);
        assert_eq!(hint(hash, SLOTS, Direction::Forward), None);
    }
}
