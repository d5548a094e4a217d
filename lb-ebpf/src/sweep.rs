//! The sweep: what runs by a kernel timer and not for a packet. It ends connections whose time is
//! over, gives their slots back, and estimates rates.

use crate::{Steps, persistence};
use lb_common::{
    backend::state::REMOVED,
    connection::{state, with_state},
    protocol,
    settings::{Settings, Table, defense},
    sysctl::Sysctl,
    time::remaining,
    traffic::{Rates, Traffic},
};

/// What a visit to a slot has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// It holds nothing that packets could find.
    Idle,
    /// It is in use.
    Live,
    /// It was until now.
    Ended,
}

/// Visits one slot of the connection table.
///
/// A slot that has been taken out of the index passes through two more rounds before it is free:
/// a packet that found the connection just before may still hold it, but not that long.
#[inline(always)]
pub fn visit<T: Steps>(tables: &T, slot: u32, now: u32) -> Visit {
    let Some(settings) = tables.settings() else { return Visit::Idle };
    let Some(connection) = tables.connection(slot) else { return Visit::Idle };
    let word = connection.word;
    let is_homeless = settings.sysctl(Sysctl::ExpireNodestConn) != 0
        && tables.backend(connection.backend_index).is_some_and(|backend| backend.state == REMOVED);
    let is_over = is_homeless || remaining(connection.expires, now) <= 0;
    if state::is_connection(word) {
        let is_dropped = settings.defense & defense::DROP_ENTRY != 0
            && connection.protocol == protocol::TCP
            && matches!(word as u8, state::SYN_RECV | state::SYNACK)
            && tables.random().is_multiple_of(CHANCE);
        if is_over || is_dropped {
            tables.end(slot, word);
            return Visit::Ended;
        }
    } else if state::is_live(word) {
        let is_dropped = settings.defense & defense::DROP_ENTRY != 0
            && word as u8 == state::TEMPLATE
            && connection.controlled == 0;
        if is_over || is_dropped {
            persistence::expire(tables, slot, word, now);
        }
    } else if word as u8 == state::DEAD {
        connection.word = with_state(word, state::RESTING);
    } else if word as u8 == state::RESTING {
        connection.word = with_state(word, state::FREE);
        tables.give_slot(slot);
    }
    if state::is_live(word) { Visit::Live } else { Visit::Idle }
}

/// `drop_entry` looks at one slot in so many: IPVS visits a 32nd of its table each second
/// (`ip_vs_random_dropentry`), this is called four times a second.
const CHANCE: u32 = 128;

/// Slots in a page, which `amemthresh` counts in.
const PAGE: u32 = 32;

/// The [`defense`] that is in force while so many slots are in use (`update_defense_level`): where IPVS
/// looks at free memory, this looks at free slots.
#[inline(always)]
pub fn defense(settings: &Settings, table: &Table) -> u32 {
    let free = settings.connections.saturating_sub(table.live);
    let wanted = settings.sysctl(Sysctl::Amemthresh).saturating_mul(PAGE);
    let most = settings.connections / 8;
    let is_low = free < if wanted < most { wanted } else { most };
    let mut level = 0;
    if is_on(settings.sysctl(Sysctl::DropEntry), is_low) {
        level |= defense::DROP_ENTRY;
    }
    if is_on(settings.sysctl(Sysctl::DropPacket), is_low) {
        level |= defense::DROP_PACKET;
    }
    if is_on(settings.sysctl(Sysctl::SecureTcp), is_low) {
        level |= defense::SECURE_TCP;
    }
    level
}

/// IPVS moves a value of 1 to 2 while memory is short, and back. Here both mean the same.
#[inline(always)]
const fn is_on(value: u32, is_low: bool) -> bool {
    value == 3 || value != 0 && is_low
}

/// One step of IPVS's estimator (`ip_vs_est.c`), two seconds after the last: the average moves a
/// quarter of the way to the present rate. Fixed point as in [`Rates`].
#[inline(always)]
pub fn estimate(rates: &mut Rates, total: &Traffic) {
    // A rate over two seconds in 2^10 is the difference times 2^9, in 2^5 times 2^4.
    step(&mut rates.connections, total.connections, rates.last.connections, 9);
    step(&mut rates.packets_in, total.packets_in, rates.last.packets_in, 9);
    step(&mut rates.packets_out, total.packets_out, rates.last.packets_out, 9);
    step(&mut rates.bytes_in, total.bytes_in, rates.last.bytes_in, 4);
    step(&mut rates.bytes_out, total.bytes_out, rates.last.bytes_out, 4);
    rates.last = *total;
}

#[inline(always)]
fn step(average: &mut u64, total: u64, last: u64, shift: u32) {
    let rate = total.wrapping_sub(last) << shift;
    // An arithmetic shift, as C's on `s64`: a falling average rounds down.
    *average = average.wrapping_add((rate.wrapping_sub(*average) as i64 >> 2) as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_approached_by_quarters() {
        let mut rates = Rates::default();
        let mut total = Traffic::default();
        let mut shown = std::vec::Vec::new();
        for _ in 0..4 {
            total.connections += 200;
            estimate(&mut rates, &total);
            shown.push((rates.connections + 0x1ff) >> 10);
        }
        assert_eq!(shown, [25, 44, 58, 68]);
    }

    #[test]
    fn silence_brings_the_rate_back_to_zero() {
        let mut rates = Rates { bytes_in: 1 << 20, ..Rates::default() };
        for _ in 0..100 {
            estimate(&mut rates, &Traffic::default());
        }
        assert_eq!(rates.bytes_in, 0);
    }
}
