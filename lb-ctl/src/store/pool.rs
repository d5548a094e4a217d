//! The pool of full NAT: the addresses of the balancer that backends see as the client.
//!
//! An address has a place in the map, and connections know it by that. So a place whose address was
//! removed keeps it while connections have ports of it, and gets another address only when none has.

use super::{Change, Store, grace};
use crate::spec::Endpoint;
use anyhow::{Result, bail};
use lb_common::{
    address::Address,
    connection::{Connection, state::is_connection},
    snat::{ADDRESSES, PLACES},
};
use std::{collections::BTreeSet, net::IpAddr};

/// The addresses, IPv4 first.
pub type Pool = BTreeSet<IpAddr>;

/// Addresses that have to be written, with their places.
pub type NewSources = Vec<(u32, Address)>;

/// An address that new connections get, or connections still have.
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// Ports of it that connections have, towards all backends.
    pub ports: u64,
    /// Whether new connections get it.
    pub is_given: bool,
}

impl Store {
    /// The pool that packets see.
    pub fn pool(&self) -> Pool {
        self.pool_of(self.current_settings().pool)
    }

    /// The addresses at these places.
    fn pool_of(&self, places: [u64; 2]) -> Pool {
        let given = (0..PLACES).filter(|place| is_given(places, *place));
        given.map(|place| self.pool.get(place).into()).collect()
    }

    /// All addresses that are in use, the pool's first.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let (places, taken) = (self.current_settings().pool, self.taken()?);
        let all = (0..PLACES).map(|place| Source {
            address: self.pool.get(place).into(),
            ports: taken[place as usize],
            is_given: is_given(places, place),
        });
        let mut sources: Vec<_> = all.filter(|source| source.is_given || source.ports > 0).collect();
        sources.sort_by_key(|source| (!source.is_given, source.address));
        Ok(sources)
    }

    /// What a connection's backend sees as the client, by full NAT.
    pub fn source_of(&self, connection: &Connection) -> Option<Endpoint> {
        let is_full = is_connection(connection.word) && connection.is_full_nat();
        is_full.then(|| Endpoint {
            address: self.pool.get(connection.source_place() % PLACES).into(),
            port: u16::from_be(connection.source_port()),
        })
    }

    /// Ports that are taken, by place.
    fn taken(&self) -> Result<[u64; PLACES as usize]> {
        let mut taken = [0; PLACES as usize];
        for page in self.ports.iter() {
            let (key, ports) = page?;
            taken[usize::from(key.place) % PLACES as usize] += ports.taken;
        }
        Ok(taken)
    }

    /// Places for a pool: a bit each, and what has to be written there first.
    fn places(&self, pool: &Pool) -> Result<([u64; 2], NewSources)> {
        let given = self.current_settings().pool;
        let (mut places, mut new, mut taken) = ([0; 2], vec![], None);
        let mut is_free = |place, chosen: [u64; 2]| -> Result<bool> {
            if is_given(given, place) || is_given(chosen, place) {
                return Ok(false);
            }
            if self.pool.get(place) == Address::UNSPECIFIED {
                return Ok(true);
            }
            let taken = match taken {
                Some(taken) => taken,
                None => {
                    // A packet may still take a port of what the command before removed.
                    grace::wait();
                    *taken.insert(self.taken()?)
                }
            };
            Ok(taken[place as usize] == 0)
        };
        // Those that have a place keep it, before others look for one.
        let mut pool: Vec<_> = pool.iter().map(|address| (self.place(*address), *address)).collect();
        pool.sort_unstable_by_key(|(place, _)| place.is_none());
        for (known, address) in pool {
            let mut place = known;
            for other in of_family(address) {
                if place.is_none() && is_free(other, places)? {
                    new.push((other, address.into()));
                    place = Some(other);
                }
            }
            let Some(place) = place else {
                bail!(
                    "{ADDRESSES} addresses of a family is the most, those removed with connections included"
                );
            };
            places[(place / ADDRESSES) as usize] |= 1 << (place % ADDRESSES);
        }
        Ok((places, new))
    }

    /// Where an address is, or was last.
    fn place(&self, address: IpAddr) -> Option<u32> {
        of_family(address).find(|place| self.pool.get(*place) == address.into())
    }
}

impl Change {
    /// The pool that packets see.
    pub fn pool_before(&self) -> Pool {
        self.store.pool()
    }

    /// The pool, as this change has made it so far.
    pub fn pool(&self) -> Pool {
        self.pool.clone().unwrap_or_else(|| self.store.pool())
    }

    /// Changes the pool.
    pub fn set_pool(&mut self, pool: Pool) -> Result<()> {
        (self.settings.pool, self.new_sources) = self.store.places(&pool)?;
        self.pool = Some(pool);
        Ok(())
    }

    /// Writes addresses where no packet looks yet.
    pub(super) fn write_sources(&mut self) {
        for (place, address) in &self.new_sources {
            self.store.pool.set(*place, *address);
        }
    }
}

fn of_family(address: IpAddr) -> std::ops::Range<u32> {
    if address.is_ipv4() { 0..ADDRESSES } else { ADDRESSES..PLACES }
}

fn is_given(places: [u64; 2], place: u32) -> bool {
    places[(place / ADDRESSES) as usize] >> (place % ADDRESSES) & 1 == 1
}
