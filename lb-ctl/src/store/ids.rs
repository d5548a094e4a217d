//! Ids of services: the one that a service with the same key had, so that its backends can come
//! back with their connections, as from IPVS's trash; else one that nobody remembers.

use lb_common::service::{Service, ServiceKey};
use std::collections::{HashMap, HashSet};

/// The ids as they will be after a change.
pub struct Ids {
    /// Of services that packets see, or that this change adds.
    busy: HashSet<u32>,
    /// Ids that removed backends could still come back to.
    remembered: HashSet<u32>,
    /// The id that a key had last.
    last: HashMap<ServiceKey, u32>,
    /// All below have been looked at.
    next: u32,
    count: u32,
}

impl Ids {
    /// From all records, published ones and those that have been.
    pub fn new(
        busy: HashSet<u32>,
        remembered: HashSet<u32>,
        records: impl Iterator<Item = Service>,
        count: u32,
    ) -> Self {
        let mut latest: HashMap<u32, Service> = HashMap::new();
        for record in records.filter(|record| record.generation > 0) {
            let newest = latest.entry(record.id).or_insert(record);
            if record.generation > newest.generation {
                *newest = record;
            }
        }
        let mut latest: Vec<_> = latest.into_values().collect();
        latest.sort_unstable_by_key(|record| record.generation);
        let last = latest.into_iter().map(|record| (record.key, record.id)).collect();
        Self { busy, remembered, last, next: 0, count }
    }

    /// An id for a service with this key; the flag is whether removed backends remember it as that
    /// of another service. `old` is the id that packets know it by until this change is made.
    pub fn take(&mut self, key: &ServiceKey, old: Option<u32>) -> Option<(u32, bool)> {
        let own = || self.last.get(key).copied().filter(|id| !self.busy.contains(id));
        if let Some(id) = old.or_else(own) {
            self.busy.insert(id);
            return Some((id, false));
        }
        while self.next < self.count {
            let id = self.next;
            self.next += 1;
            if !self.remembered.contains(&id) && self.busy.insert(id) {
                return Some((id, false));
            }
        }
        let id = (0..self.count).find(|id| !self.busy.contains(id))?;
        self.busy.insert(id);
        Some((id, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(mark: u32) -> ServiceKey {
        ServiceKey { mark, ..ServiceKey::default() }
    }

    fn record(mark: u32, id: u32, generation: u32) -> Service {
        Service { key: key(mark), id, generation, ..Service::default() }
    }

    #[test]
    fn a_service_that_comes_back_gets_its_id() {
        let records = [record(1, 0, 5), record(2, 1, 6), record(3, 0, 9)];
        let mut ids = Ids::new([0].into(), [1].into(), records.into_iter(), 4);
        assert_eq!(ids.take(&key(2), None), Some((1, false)));
        assert_eq!(ids.take(&key(1), None), Some((2, false)), "another has its id");
        assert_eq!(ids.take(&key(3), Some(0)), Some((0, false)), "removed and added by one change");
    }

    #[test]
    fn what_is_remembered_is_taken_last() {
        let mut ids = Ids::new([].into(), [0, 1].into(), [].into_iter(), 3);
        assert_eq!(ids.take(&key(1), None), Some((2, false)));
        assert_eq!(ids.take(&key(2), None), Some((0, true)));
        assert_eq!(ids.take(&key(3), None), Some((1, true)));
        assert_eq!(ids.take(&key(4), None), None);
    }
}
