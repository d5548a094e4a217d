//! Who gets which slot of a backend, worked out before anything is written.

use super::backend::{Identity, is_forgotten, is_idle};
use lb_common::backend::{Backend, state};
use std::collections::{HashMap, HashSet};

/// The slots as they will be after a change.
pub struct Slots {
    identities: Vec<Identity>,
    /// Who could come back with its connections and counters.
    removed: HashMap<Identity, u32>,
    /// Slots that nobody uses, the lowest last.
    free: Vec<u32>,
    /// Slots of removed backends without connections, the lowest last.
    idle: Vec<u32>,
    /// Slots that this change gives to somebody new.
    fresh: HashSet<u32>,
    /// Slots of backends that come back.
    revived: HashSet<u32>,
    limit: u32,
}

impl Slots {
    /// From the slots as they are.
    pub fn new(slots: impl Iterator<Item = Backend>, limit: u32, now: u32) -> Self {
        let (mut free, mut idle) = (vec![], vec![]);
        let (mut identities, mut removed) = (vec![], HashMap::new());
        for (slot, backend) in (0..).zip(slots) {
            let identity = Identity::of(&backend);
            identities.push(identity);
            match backend.state {
                state::FREE => free.push(slot),
                state::REMOVED if is_forgotten(&backend, now) => free.push(slot),
                state::REMOVED => {
                    removed.entry(identity).or_insert(slot);
                    if is_idle(&backend) {
                        idle.push(slot);
                    }
                }
                _ => {}
            }
        }
        free.reverse();
        idle.reverse();
        Self { identities, removed, free, idle, fresh: HashSet::new(), revived: HashSet::new(), limit }
    }

    /// Who has a slot.
    pub fn identity(&self, slot: u32) -> Identity {
        self.identities[slot as usize]
    }

    /// Slots in use, this change's included, lie below.
    pub fn used(&self) -> u32 {
        self.identities.len() as u32
    }

    /// Whether this change gives a slot to somebody new.
    pub fn is_fresh(&self, slot: u32) -> bool {
        self.fresh.contains(&slot)
    }

    /// The slot of a backend: its old one, a free one, one beyond those in use, and only at last
    /// that of a removed backend which could still come back with its counters.
    pub fn take(&mut self, identity: Identity) -> Option<u32> {
        if let Some(slot) = self.removed.remove(&identity) {
            self.revived.insert(slot);
            return Some(slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.used() < self.limit => {
                self.identities.push(identity);
                self.used() - 1
            }
            None => self.take_idle()?,
        };
        self.identities[slot as usize] = identity;
        self.fresh.insert(slot);
        Some(slot)
    }

    fn take_idle(&mut self) -> Option<u32> {
        while let Some(slot) = self.idle.pop() {
            if !self.revived.contains(&slot) {
                let identity = self.identity(slot);
                if self.removed.get(&identity) == Some(&slot) {
                    self.removed.remove(&identity);
                }
                return Some(slot);
            }
        }
        None
    }

    /// Gives back the slot of a backend that this change removes.
    pub fn give(&mut self, slot: u32) {
        self.removed.insert(self.identity(slot), slot);
    }

    /// Parts the removed backends of a service's id from it.
    pub fn orphan(&mut self, service: u32) {
        self.removed.retain(|identity, _| identity.service != service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::{address::Address, time::ticks};
    use state::*;

    const WHO: Identity = Identity { service: 7, protocol: 6, address: Address { words: [1, 2] }, port: 80 };
    const NOW: u32 = 1_000_000;

    fn slot(state: u8, service: u32, connections: u64, idle_for: u32) -> Backend {
        let Identity { protocol, address, port, .. } = WHO;
        let removed = NOW - ticks(idle_for);
        Backend { address, port, state, protocol, service, connections, removed, ..Backend::default() }
    }

    /// The slot, and whether it starts anew.
    fn chosen(slots: &[Backend]) -> Option<(u32, bool)> {
        let mut slots = Slots::new(slots.iter().copied(), 4, NOW);
        let slot = slots.take(WHO)?;
        Some((slot, slots.is_fresh(slot)))
    }

    #[test]
    fn a_removed_backend_comes_back() {
        let busy = slot(AVAILABLE, 7, 0, 0);
        assert_eq!(chosen(&[busy, slot(FREE, 7, 0, 0), slot(REMOVED, 7, 3, 999)]), Some((2, false)));
        assert_eq!(chosen(&[busy, slot(REMOVED, 7, 0, 60)]), Some((1, false)), "its counters too");
        assert_eq!(chosen(&[busy, slot(REMOVED, 7, 0, 130)]), Some((1, true)), "forgotten");
        assert_eq!(chosen(&[busy, slot(REMOVED, 8, 1, 0)]), Some((2, true)), "another service's");
    }

    #[test]
    fn connections_keep_a_slot() {
        let (busy, waiting, idle) =
            (slot(AVAILABLE, 1, 0, 0), slot(REMOVED, 1, 1, 999), slot(REMOVED, 1, 0, 5));
        assert_eq!(chosen(&[busy, waiting, idle]), Some((3, true)), "rather than the idle one");
        assert_eq!(chosen(&[busy, waiting, idle, busy]), Some((2, true)), "when there is no other");
        assert_eq!(chosen(&[busy, waiting, waiting, busy]), None);
    }

    #[test]
    fn what_a_change_removes_and_adds_again_keeps_its_slot() {
        let mut slots = Slots::new([slot(AVAILABLE, 7, 9, 0)].into_iter(), 4, NOW);
        slots.give(0);
        assert_eq!(slots.take(WHO), Some(0));
        assert!(!slots.is_fresh(0));
        let other = Identity { port: 81, ..WHO };
        assert_eq!(slots.take(other), Some(1));
        slots.give(1);
        assert_eq!(slots.take(other), Some(1));
        assert!(slots.is_fresh(1), "it has not been written yet");
    }
}
