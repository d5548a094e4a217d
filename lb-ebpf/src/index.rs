//! From a packet's flow to its connection: a hash index of buckets that fill one cache line each.
//!
//! Entries come and go by compare-and-exchange, without locks: an entry is either there or not.

use crate::{Tables, packet::Flow, snat};
use lb_common::{
    bucket::{Bucket, Direction, ENTRIES, direction, entry, slot},
    connection::{
        Connection,
        state::{is_connection, is_valid_template},
    },
    hint,
    settings::Settings,
};

/// A connection that a packet belongs to.
pub struct Found<'a> {
    /// Its slot.
    pub slot: u32,
    /// Which of its packets this is.
    pub direction: Direction,
    /// The connection.
    pub connection: &'a mut Connection,
    /// Its word when it was found: a later exchange against it fails if the slot changed hands.
    pub word: u64,
}

/// The hash of a flow under the secret of the index. The lower half chooses the bucket, the upper
/// half is the entry's tag.
#[inline(always)]
pub fn hash(flow: &Flow, settings: &Settings) -> u64 {
    const MULTIPLIERS: [u64; 3] = [0x9fb2_1c65_1e98_df25, 0xd6e8_feb8_6659_fd93, 0xff51_afd7_ed55_8ccd];
    let ports = (flow.protocol as u64) << 32 | (flow.source_port as u64) << 16 | flow.destination_port as u64;
    let mut hash = (flow.source.words[1] ^ settings.secret[0]).wrapping_mul(MULTIPLIERS[0]);
    hash ^= hash >> 32;
    hash = (hash ^ flow.destination.words[1] ^ settings.secret[1]).wrapping_mul(MULTIPLIERS[1]);
    hash ^= hash >> 32;
    if flow.source.words[0] | flow.destination.words[0] != 0 {
        hash = (hash ^ flow.source.words[0]).wrapping_mul(MULTIPLIERS[2]);
        hash ^= hash >> 32;
        hash = (hash ^ flow.destination.words[0]).wrapping_mul(MULTIPLIERS[0]);
        hash ^= hash >> 32;
    }
    hash = (hash ^ ports).wrapping_mul(MULTIPLIERS[2]);
    hash ^= hash >> 32;
    // Once more: a product's bit depends on those at and below it alone, so that after one round the
    // lowest bits, by which a small table chooses, hardly tell the ports of one client apart.
    hash = hash.wrapping_mul(MULTIPLIERS[0]);
    hash ^ hash >> 32
}

/// The other bucket in which an entry may live.
#[inline(always)]
fn alternate(hash: u64) -> u32 {
    // Odd, so that it never is the same bucket; from the tag, so that neighbours spread.
    hash as u32 ^ ((hash >> 32) as u32 | 1)
}

/// Where the entry of a hash lives, unless there is no room.
pub struct Home<'a> {
    bucket: &'a mut Bucket,
    hash: u64,
}

/// Where the entry of a hash lives.
#[inline(always)]
pub fn home<T: Tables>(tables: &T, hash: u64) -> Option<Home<'_>> {
    Some(Home { bucket: tables.bucket(hash as u32)?, hash })
}

/// The connection of a flow.
#[inline(always)]
pub fn find<'a, T: Tables>(tables: &'a T, flow: &Flow, hash: u64) -> Option<Found<'a>> {
    home(tables, hash)?.find(tables, flow)
}

/// The same, by one of this CPU's hints: that spares the bucket, which with many flows is in no cache.
///
/// What a hint leads to may not be in the index yet, or not any more: it says only what its own words do.
#[inline(always)]
pub fn recall<'a, T: Tables>(tables: &'a T, hints: &hint::Set, flow: &Flow, hash: u64) -> Option<Found<'a>> {
    for &hint in hints {
        if let Some((slot, direction)) = hint::slot(hint, hash)
            && let Some(found) = found_at(tables, slot, direction, flow, |_, word| is_connection(word))
        {
            return Some(found);
        }
    }
    None
}

/// Makes a hint of what was found by a hash.
#[inline(always)]
pub fn remember(hints: &mut hint::Set, hash: u64, found: &Found) {
    if let Some(hint) = hint::hint(hash, found.slot, found.direction) {
        let [first, second, third, _] = *hints;
        *hints = [hint, first, second, third];
    }
}

/// The template of what [`crate::persistence`] makes of a client's flow, and of a Call-ID's digest.
#[inline(always)]
pub fn find_template<'a, T: Tables>(tables: &'a T, flow: &Flow, call: u64, hash: u64) -> Option<Found<'a>> {
    let is_wanted = |template: &Connection, word| is_valid_template(word) && template.call() == call;
    home(tables, hash)?.find_where(tables, flow, is_wanted)
}

/// [`Home::insert`].
#[inline(always)]
pub fn insert<T: Tables>(tables: &T, hash: u64, slot: u32, direction: Direction) -> bool {
    home(tables, hash).is_some_and(|mut home| home.insert(tables, slot, direction))
}

impl Home<'_> {
    /// Fetches it: it is needed soon.
    #[inline(always)]
    pub fn touch<T: Tables>(&self, tables: &T) {
        tables.touch(&self.bucket.overflow);
    }

    /// The connection of a flow.
    #[inline(always)]
    pub fn find<'a, T: Tables>(&self, tables: &'a T, flow: &Flow) -> Option<Found<'a>> {
        self.find_where(tables, flow, |_, word| is_connection(word))
    }

    #[inline(always)]
    fn find_where<'a, T: Tables>(
        &self,
        tables: &'a T,
        flow: &Flow,
        is_wanted: impl Fn(&Connection, u64) -> bool,
    ) -> Option<Found<'a>> {
        let Self { bucket, hash } = self;
        if has_tag(bucket, *hash)
            && let Some(found) = find_in(tables, bucket, flow, *hash, &is_wanted)
        {
            return Some(found);
        }
        if bucket.overflow == 0 {
            return None;
        }
        find_in(tables, tables.bucket(alternate(*hash))?, flow, *hash, &is_wanted)
    }

    /// Enters a connection for one kind of its packets. `false` when both buckets are full.
    #[inline(always)]
    pub fn insert<T: Tables>(&mut self, tables: &T, slot: u32, direction: Direction) -> bool {
        let made = entry(self.hash, slot, direction);
        if put(tables, self.bucket, 0, made) {
            return true;
        }
        let Some(other) = tables.bucket(alternate(self.hash)) else { return false };
        // First the count, then the entry: who sees no overflow may trust that there is none.
        tables.add(&mut self.bucket.overflow, 1);
        let entered = put(tables, other, 0, made);
        if !entered {
            tables.add(&mut self.bucket.overflow, 1u64.wrapping_neg());
        }
        entered
    }

    /// Whether a flow leads to the slot that it was entered for just now, and not to one that another CPU has entered
    /// for it. Entries are looked at in the same order by all.
    #[inline(always)]
    pub fn leads_to<T: Tables>(&self, tables: &T, flow: &Flow, slot: u32, direction: Direction) -> bool {
        let made = entry(self.hash, slot, direction);
        for &entry in &self.bucket.entries {
            if entry == made {
                return true;
            }
            if may_be(entry, self.hash) {
                break;
            }
        }
        self.find(tables, flow).is_none_or(|found| found.slot == slot)
    }
}

/// Whether an entry has the tag of a hash.
#[inline(always)]
const fn may_be(entry: u64, hash: u64) -> bool {
    entry != 0 && (entry ^ hash) >> 32 == 0
}

/// Whether an entry of a bucket may have this hash. Without a branch, the seven are looked at side by side, which is
/// soon done: most packets without a connection find none.
#[inline(always)]
fn has_tag(bucket: &Bucket, hash: u64) -> bool {
    // Less one, only 0 has the highest bit.
    let differences = bucket.entries.iter().map(|entry| ((entry ^ hash) >> 32).wrapping_sub(1));
    differences.fold(0, |all, difference| all | difference) >> 63 != 0
}

#[inline(always)]
fn find_in<'a, T: Tables>(
    tables: &'a T,
    bucket: &Bucket,
    flow: &Flow,
    hash: u64,
    is_wanted: impl Fn(&Connection, u64) -> bool,
) -> Option<Found<'a>> {
    for &entry in &bucket.entries {
        if may_be(entry, hash)
            && let Some(found) = found_at(tables, slot(entry), direction(entry), flow, &is_wanted)
        {
            return Some(found);
        }
    }
    None
}

/// What is in a slot, if it is wanted and a packet's.
#[inline(always)]
fn found_at<'a, T: Tables>(
    tables: &'a T,
    slot: u32,
    direction: Direction,
    flow: &Flow,
    is_wanted: impl Fn(&Connection, u64) -> bool,
) -> Option<Found<'a>> {
    let connection = tables.connection(slot)?;
    let word = connection.word;
    if is_wanted(connection, word) && matches(tables, connection, direction, flow) {
        Some(Found { slot, direction, connection, word })
    } else {
        None
    }
}

#[inline(always)]
fn matches<T: Tables>(tables: &T, connection: &Connection, direction: Direction, flow: &Flow) -> bool {
    let ((source, source_port), (destination, destination_port)) = match direction {
        Direction::Forward => {
            ((connection.client, connection.client_port), (connection.service, connection.service_port))
        }
        Direction::Reply => (connection.replies_from(), snat::replies_to(tables, connection)),
    };
    flow.source.words[1] == source.words[1]
        && flow.destination.words[1] == destination.words[1]
        && flow.source_port == source_port
        && flow.destination_port == destination_port
        && flow.protocol as u8 == connection.protocol
        && flow.source.words[0] == source.words[0]
        && flow.destination.words[0] == destination.words[0]
}

/// Removes what [`Home::insert`] entered.
#[inline(always)]
pub fn remove<T: Tables>(tables: &T, hash: u64, slot: u32, direction: Direction) {
    let made = entry(hash, slot, direction);
    let Some(home) = tables.bucket(hash as u32) else { return };
    if put(tables, home, made, 0) {
        return;
    }
    let Some(other) = tables.bucket(alternate(hash)) else { return };
    if put(tables, other, made, 0) {
        tables.add(&mut home.overflow, 1u64.wrapping_neg());
    }
}

/// Replaces the first `old` in a bucket by `new`.
#[inline(always)]
fn put<T: Tables>(tables: &T, bucket: &mut Bucket, old: u64, new: u64) -> bool {
    for index in 0..ENTRIES {
        let cell = &mut bucket.entries[index];
        if *cell == old && tables.compare_exchange(cell, old, new).is_ok() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostTables;
    use lb_common::connection::{next_use, state::ESTABLISHED};
    use std::{vec, vec::Vec};

    /// Enters a connection of a client's port under a hash.
    fn enter(tables: &HostTables, slot: u32, port: u16, hash: u64) {
        let connection = tables.connection(slot).unwrap();
        connection.client_port = port;
        connection.word = next_use(connection.word, ESTABLISHED);
        assert!(insert(tables, hash, slot, Direction::Forward));
    }

    #[test]
    fn of_two_slots_of_one_flow_the_first_is_led_to() {
        let (tables, flow) = (HostTables::new(16, 16), Flow { source_port: 7, ..Flow::default() });
        let is_led_to =
            |slot| home(&tables, 1 << 40).unwrap().leads_to(&tables, &flow, slot, Direction::Forward);
        // By chance another flow has the same hash.
        for (slot, port) in [(3, 8), (1, 7), (2, 7)] {
            enter(&tables, slot, port, 1 << 40);
        }
        assert_eq!([is_led_to(1), is_led_to(2)], [true, false]);
        remove(&tables, 1 << 40, 3, Direction::Forward);
        assert_eq!([is_led_to(1), is_led_to(2)], [true, false]);
        remove(&tables, 1 << 40, 1, Direction::Forward);
        assert!(is_led_to(2));
    }

    #[test]
    fn clients_in_a_row_spread_over_a_small_table() {
        let settings = Settings::new(64, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        let address = |number: u32, v6: bool| -> lb_common::address::Address {
            let v4 = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            let address = if v6 { v4.to_ipv6_compatible().into() } else { std::net::IpAddr::V4(v4) };
            address.into()
        };
        for (v6, is_reply) in [(false, false), (false, true), (true, false), (true, true)] {
            // Addresses by the last byte, by the last but one, and by both, each with a few ports.
            for (step, of_each) in [(1, 4), (256, 4), (1, 1)] {
                for buckets in [64, 256, 4096] {
                    let mut counts: Vec<usize> = vec![0; buckets];
                    for number in 0..2 * buckets as u32 {
                        let client = address(number / of_each * step, v6);
                        let port = (40_000 + (number % of_each) as u16).to_be();
                        let (vip, service) = (address(0x00c8_0000, v6), 80u16.to_be());
                        let flow = match is_reply {
                            false => Flow {
                                source: client,
                                destination: vip,
                                source_port: port,
                                destination_port: service,
                                protocol: 6,
                            },
                            true => Flow {
                                source: vip,
                                destination: client,
                                source_port: service,
                                destination_port: port,
                                protocol: 6,
                            },
                        };
                        counts[hash(&flow, &settings) as usize % buckets] += 1;
                    }
                    let most = counts.iter().max().unwrap();
                    assert!(*most <= 2 * ENTRIES, "{v6} {is_reply} {step} {buckets}: {most}");
                }
            }
        }
    }

    #[test]
    fn the_ports_of_one_client_spread_over_a_small_table() {
        let settings = Settings::new(64, [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        for buckets in [64, 256, 4096] {
            let mut counts: Vec<usize> = vec![0; buckets];
            for port in 0..2 * buckets as u16 {
                let flow = Flow { source_port: port.to_be(), protocol: 6, ..Flow::default() };
                counts[hash(&flow, &settings) as usize % buckets] += 1;
            }
            assert!(counts.iter().all(|&count| count <= 2 * ENTRIES), "{counts:?}");
        }
    }
}
