//! Full NAT: which address and port of the balancer a backend sees as the client
//! (docs/decisions/0009).
//!
//! A connection's source is taken before it can be found and given back by whoever ends it. Ports are
//! bits of pages; there are pages only where there are connections.

use crate::{
    Reason, Tables, index,
    open::Choice,
    packet::{Flow, Packet},
};
use lb_common::{
    address::Address,
    connection::Connection,
    snat::{ADDRESSES, FIRST_PORT, PAGE, PAGES, Ports, PortsKey, ROWS, rows},
};

/// Pages that a new connection looks into before it is refused: all of two addresses.
const TRIES: u32 = 2 * PAGES;

/// How often a source is looked for that another service has not taken either.
pub const ATTEMPTS: u32 = 4;

/// The address and port that a connection's replies carry as their destination: the client's, or what the
/// backend sees in its place.
#[inline(always)]
pub fn replies_to<T: Tables>(tables: &T, connection: &Connection) -> (Address, u16) {
    if !connection.is_full_nat() {
        return (connection.client, connection.client_port);
    }
    let address = tables.source(connection.source_place()).copied().unwrap_or(Address::UNSPECIFIED);
    (address, connection.source_port())
}

/// Takes a source that no other connection to its backend has, for the connection that a packet opens:
/// [`Connection::keeping_source`] of it.
#[inline(always)]
pub fn take<T: Tables>(tables: &T, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let member = tables.member(choice.member).ok_or(Reason::NoBackend)?;
    let backend = tables.backend(member.backend).ok_or(Reason::NoBackend)?;
    let (port, is_any) = choice.port(backend, packet);
    let family = !backend.address.is_ipv4() as u32;
    let pool = settings.pool[family as usize & 1];
    let pages = pool.count_ones() * PAGES;
    if pages == 0 {
        return Err(Reason::PoolEmpty);
    }
    // As many pages as leave each of them half empty, while there are so many.
    let wanted = backend.active().wrapping_add(backend.inactive()) / (PAGE / 2) + 1;
    let start = below(tables.random(), if wanted < pages { wanted } else { pages });
    let mut key = PortsKey {
        backend: backend.address,
        port: if is_any { 0 } else { port },
        protocol: packet.flow.protocol as u8,
        ..PortsKey::default()
    };
    let mut is_reserved = false;
    tables.each(if pages < TRIES { pages } else { TRIES }, |step| {
        let position = start + step;
        let position = if position < pages { position } else { position - pages };
        key.place = (family * ADDRESSES + nth(pool, position / PAGES)) as u8;
        key.page = (position % PAGES) as u8;
        is_reserved = reserve(tables, &key);
        !is_reserved
    });
    if !is_reserved {
        return Err(Reason::PortsTaken);
    }
    let number = take_of(tables, &key)?;
    let source = Connection::keeping_source(key.place as u32, (number as u16).to_be());
    // A service for one port and another for all ports may reach the same port of the backend.
    let replies = Flow {
        source: backend.address,
        destination: tables.source(key.place as u32).copied().unwrap_or(Address::UNSPECIFIED),
        source_port: port,
        destination_port: (number as u16).to_be(),
        protocol: packet.flow.protocol,
    };
    if index::find(tables, &replies, index::hash(&replies, settings)).is_some() {
        give(tables, backend.address, key.port, key.protocol, source);
        return Err(Reason::Raced);
    }
    Ok(source)
}

/// Counts one more port of a page. `false` when it has none.
#[inline(always)]
fn reserve<T: Tables>(tables: &T, key: &PortsKey) -> bool {
    let Some(ports) = tables.ports(key).or_else(|| tables.new_ports(key)) else { return false };
    if tables.add(&mut ports.taken, 1) < (rows(key.page as u32) * u64::BITS) as u64 {
        return true;
    }
    tables.add(&mut ports.taken, 1u64.wrapping_neg());
    false
}

/// Takes a port of a page that has counted it.
#[inline(always)]
fn take_of<T: Tables>(tables: &T, key: &PortsKey) -> Result<u32, Reason> {
    let ports = tables.ports(key).ok_or(Reason::PortsTaken)?;
    let rows = rows(key.page as u32);
    let random = tables.random();
    let (first, wished) = (random / u64::BITS, random % u64::BITS);
    let mut found = None;
    // Twice around, because another CPU may give a port back behind this one.
    tables.each(2 * ROWS, |step| {
        let row = (first + step) % ROWS;
        let cell = &mut ports.rows[row as usize];
        let word = *cell;
        if row >= rows || word == u64::MAX {
            return true;
        }
        let bit = if word >> wished & 1 == 0 { wished } else { nth(!word, 0) };
        if tables.compare_exchange(cell, word, word | 1 << bit).is_err() {
            return true;
        }
        found = Some(row * u64::BITS + bit);
        false
    });
    let Some(found) = found else {
        tables.add(&mut ports.taken, 1u64.wrapping_neg());
        return Err(Reason::PortsTaken);
    };
    Ok(FIRST_PORT + key.page as u32 * PAGE + found)
}

/// Gives back what [`take`] took for a connection. Whoever ends it does, and nobody else.
#[inline(always)]
pub fn give<T: Tables>(tables: &T, backend: Address, port: u16, protocol: u8, source: u32) {
    let (place, number) = ((source >> 16) as u8, u16::from_be(source as u16) as u32);
    let number = number.wrapping_sub(FIRST_PORT);
    let page = (number / PAGE) as u8;
    let key = PortsKey { backend, port, protocol, place, page, reserved: [0; 3] };
    let Some(Ports { taken, rows }) = tables.ports(&key) else { return };
    // The bit is set, so taking it away borrows from no other.
    let bit = 1u64 << (number % u64::BITS);
    tables.add(&mut rows[(number / u64::BITS % ROWS) as usize], bit.wrapping_neg());
    tables.add(taken, 1u64.wrapping_neg());
}

/// A random number below `most`, which is not 0.
#[inline(always)]
fn below(random: u32, most: u32) -> u32 {
    ((random as u64 * most as u64) >> 32) as u32
}

/// The place of a word's `n`th set bit, of which there are more than `n`.
#[inline(always)]
fn nth(mut word: u64, mut n: u32) -> u32 {
    let mut place = 0;
    for width in [32, 16, 8, 4, 2, 1] {
        let below = (word & ((1 << width) - 1)).count_ones();
        if n >= below {
            n -= below;
            word >>= width;
            place += width;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn set_bits_are_counted_from_the_lowest(word: u64) {
            let set: std::vec::Vec<_> = (0..u64::BITS).filter(|bit| word >> bit & 1 == 1).collect();
            for (n, bit) in set.into_iter().enumerate() {
                prop_assert_eq!(nth(word, n as u32), bit);
            }
        }
    }
}
