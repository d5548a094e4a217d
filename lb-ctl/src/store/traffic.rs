//! What backends and services have carried, and their rates.

use super::{Change, Store};
use anyhow::Result;
use lb_common::{
    backend::state,
    service::ServiceKey,
    traffic::{Rates, Traffic},
};
use std::collections::{HashMap, HashSet};

/// The rates of a backend or service, in IPVS's fixed point: `connections` and packets a second
/// times 2^10, bytes a second times 2^5.
pub type Fixed = Traffic;

/// Field by field.
fn zip(a: Traffic, b: Traffic, each: impl Fn(u64, u64) -> u64) -> Traffic {
    Traffic {
        connections: each(a.connections, b.connections),
        packets_in: each(a.packets_in, b.packets_in),
        packets_out: each(a.packets_out, b.packets_out),
        bytes_in: each(a.bytes_in, b.bytes_in),
        bytes_out: each(a.bytes_out, b.bytes_out),
    }
}

/// The sum, wrapping.
pub fn add(a: Traffic, b: Traffic) -> Traffic {
    zip(a, b, u64::wrapping_add)
}

/// The difference, wrapping.
pub fn subtract(a: Traffic, b: Traffic) -> Traffic {
    zip(a, b, u64::wrapping_sub)
}

impl Change {
    /// Starts the counters and rates of one service, or of all, anew.
    pub fn zero(&mut self, only: Option<&ServiceKey>) {
        let keys = only.map_or_else(|| self.keys(), |key| vec![*key]);
        let ids: Vec<_> = keys.iter().filter_map(|key| Some(self.version(key)?.record.id)).collect();
        self.zeroed.extend(ids);
    }
}

impl Store {
    /// All that a slot has carried, ever, under whichever backend.
    pub(super) fn carried(&self, slot: u32) -> Result<Traffic> {
        Ok(self.traffic.get(&slot, 0)?.iter().copied().fold(Traffic::default(), add))
    }

    /// What a backend has carried since it was added, or since `zero`.
    pub fn stats(&self, slot: u32) -> Result<Traffic> {
        Ok(subtract(self.carried(slot)?, self.baseline.get(slot)))
    }

    /// The rates of a backend.
    pub fn rates_of(&self, slot: u32) -> Fixed {
        let Rates { connections, packets_in, packets_out, bytes_in, bytes_out, .. } = self.rates.get(slot);
        Traffic { connections, packets_in, packets_out, bytes_in, bytes_out }
    }

    /// What each service has carried, by its id: its backends, removed ones included as long as
    /// their slots are theirs, and the residue of those whose slots others have taken.
    pub fn service_stats(&self) -> Result<HashMap<u32, Traffic>> {
        let mut all = self.stats_of_services(|_| true)?;
        for (id, sum) in &mut all {
            if *id < self.residue.len() {
                *sum = add(*sum, self.residue.get(*id));
            }
        }
        Ok(all)
    }

    /// What the backends of some services have carried, without residues, by the service's id. Looks
    /// up no more counters than it must.
    pub(super) fn stats_of_services(&self, wanted: impl Fn(u32) -> bool) -> Result<HashMap<u32, Traffic>> {
        let mut all = HashMap::new();
        for (slot, backend) in (0..).zip(self.each_slot()) {
            if backend.state != state::FREE && wanted(backend.service) {
                let sum: &mut Traffic = all.entry(backend.service).or_default();
                *sum = add(*sum, self.stats(slot)?);
            }
        }
        Ok(all)
    }

    /// Starts the counters and rates of services anew, their removed backends' too.
    pub(super) fn zero(&mut self, ids: &HashSet<u32>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        for slot in 0..self.slots() {
            let backend = self.backends.get(slot);
            if backend.state != state::FREE && ids.contains(&backend.service) {
                self.start_counting(slot)?;
            }
        }
        for id in ids {
            self.residue.set(*id, Traffic::default());
        }
        Ok(())
    }

    /// Starts a slot's counters and rates at zero. The packet path's own figures go on; only what
    /// is subtracted from them changes.
    pub(super) fn start_counting(&mut self, slot: u32) -> Result<()> {
        let carried = self.carried(slot)?;
        self.baseline.set(slot, carried);
        self.rates.set(slot, Rates { last: carried, ..Rates::default() });
        Ok(())
    }
}
