//! Slots of backends: who has one, who gets one, and who comes back.

use super::{Store, connection::now, traffic};
use anyhow::{Result, bail};
use lb_common::{
    address::Address,
    backend::{Backend, Member, state},
    limits::BACKENDS,
    time::{remaining, ticks},
    tunnel::Tunnel,
};
use std::{
    collections::HashSet,
    ptr::addr_of_mut,
    sync::atomic::{Ordering::Release, fence},
};

/// The service of a removed backend whose service's id another has taken.
const NOBODY: u32 = u32::MAX;
/// How long a removed backend without connections is remembered (`IP_VS_DEST_TRASH_PERIOD`).
const TRASH: u32 = ticks(120);

/// Who a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of its service.
    pub service: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Its address.
    pub address: Address,
    /// Its port, network order.
    pub port: u16,
}

impl Identity {
    fn is(&self, backend: &Backend) -> bool {
        let Self { service, protocol, address, port } = *self;
        (backend.service, backend.protocol, backend.address, backend.port)
            == (service, protocol, address, port)
    }
}

/// Whether no connection and no template needs a removed backend.
const fn is_idle(backend: &Backend) -> bool {
    backend.connections == 0 && backend.persistent == 0
}

/// Whether a removed backend is forgotten: as in IPVS's trash, after it was idle for a while.
fn is_forgotten(backend: &Backend, now: u32) -> bool {
    is_idle(backend) && remaining(backend.removed.wrapping_add(TRASH), now) <= 0
}

/// Where a backend goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// It was removed, and comes back with its connections and counters.
    Revive(u32),
    /// A slot that nobody uses; the flag is whether it is beyond all in use.
    Fresh(u32, bool),
}

/// Chooses the slot of a backend: its old one, a free one, one beyond those in use, and only at
/// last that of a removed backend which could still come back with its counters.
fn place(identity: &Identity, slots: impl Iterator<Item = Backend>, limit: u32, now: u32) -> Option<Place> {
    let (mut free, mut idle, mut used) = (None, None, 0);
    for (slot, backend) in (0..).zip(slots) {
        used = slot + 1;
        match backend.state {
            state::FREE => free = free.or(Some(slot)),
            state::REMOVED if is_forgotten(&backend, now) => free = free.or(Some(slot)),
            state::REMOVED if identity.is(&backend) => return Some(Place::Revive(slot)),
            state::REMOVED if is_idle(&backend) => idle = idle.or(Some(slot)),
            _ => {}
        }
    }
    match free {
        Some(slot) => Some(Place::Fresh(slot, false)),
        None if used < limit => Some(Place::Fresh(used, true)),
        None => idle.map(|slot| Place::Fresh(slot, false)),
    }
}

impl Store {
    /// Backend slots that may be in use: all lie below.
    pub fn slots(&self) -> u32 {
        self.table.get(0).backends.min(self.backends.len())
    }

    /// Finds or makes the slot of a backend. It is available at once, but no packet can find it
    /// before its service is published.
    pub(super) fn take_backend(&mut self, identity: Identity) -> Result<u32> {
        let slots = (0..self.slots()).map(|slot| self.backends.get(slot));
        match place(&identity, slots, self.backends.len(), now()) {
            Some(Place::Revive(slot)) => {
                self.set_state(slot, state::AVAILABLE);
                Ok(slot)
            }
            Some(Place::Fresh(slot, beyond)) => {
                self.forget(slot)?;
                self.start_counting(slot)?;
                let Identity { service, protocol, address, port } = identity;
                let backend = Backend {
                    address,
                    port,
                    state: state::AVAILABLE,
                    protocol,
                    service,
                    ..Backend::default()
                };
                self.backends.set(slot, backend);
                if beyond {
                    fence(Release);
                    // SAFETY: the pointer is to the live element; one aligned word that only
                    // lb-ctl writes.
                    unsafe { addr_of_mut!((*self.table.pointer(0)).backends).write_volatile(slot + 1) }
                }
                Ok(slot)
            }
            None => {
                bail!("{BACKENDS} backends are in use, removed ones with connections included; remove some")
            }
        }
    }

    /// Takes a slot from the backend that had it. What it carried stays with its service. A kill
    /// in between loses these figures rather than counting them twice.
    fn forget(&mut self, slot: u32) -> Result<()> {
        let old = self.backends.get(slot);
        if old.state == state::FREE {
            return Ok(());
        }
        let carried = self.stats(slot)?;
        self.set_state(slot, state::FREE);
        if old.service < self.residue.len() {
            self.residue.set(old.service, traffic::add(self.residue.get(old.service), carried));
        }
        Ok(())
    }

    /// Marks a backend that no published service has as removed: the packet path drops what comes
    /// for it. Its connections and counters live on in case it comes back.
    pub(super) fn remove_backend_slot(&mut self, slot: u32) {
        // SAFETY: the pointer is to a live element; aligned words that only lb-ctl writes.
        unsafe { addr_of_mut!((*self.backends.pointer(slot)).removed).write_volatile(now()) }
        self.set_state(slot, state::REMOVED);
    }

    /// Parts the removed backends of an id from it, because another service takes the id.
    pub(super) fn orphan_backends(&mut self, id: u32) {
        for slot in 0..self.slots() {
            if self.backends.get(slot).service == id {
                // SAFETY: as above.
                unsafe { addr_of_mut!((*self.backends.pointer(slot)).service).write_volatile(NOBODY) }
            }
        }
    }

    /// Ids of services that removed backends could still come back to.
    pub(super) fn remembered_services(&self) -> HashSet<u32> {
        let now = now();
        (0..self.slots())
            .map(|slot| self.backends.get(slot))
            .filter(|backend| backend.state != state::FREE && !is_forgotten(backend, now))
            .map(|backend| backend.service)
            .collect()
    }

    /// Ends an overload at once, as IPVS does when the upper threshold is raised or taken away.
    /// The packet path sets the flag again when it still holds.
    pub(super) fn clear_overload(&mut self, slot: u32) {
        // SAFETY: as above; a flag that the packet path sets at this moment is set again with the
        // next connection.
        unsafe { addr_of_mut!((*self.backends.pointer(slot)).flags).write_volatile(0) }
        self.mark_changed(slot);
    }

    /// Tells the packet path how the packets of all its connections are wrapped.
    pub(super) fn set_tunnel(&mut self, slot: u32, tunnel: Tunnel) {
        // SAFETY: as above; one aligned word.
        unsafe { addr_of_mut!((*self.backends.pointer(slot)).tunnel).write_volatile(tunnel) }
    }

    /// Tells the packet path where the members of a list lie that begins at `first`.
    pub(super) fn set_places(&mut self, first: u32, members: &[Member]) {
        for (place, member) in (first..).zip(members) {
            self.places.set(member.backend, place);
        }
    }

    pub(super) fn set_state(&mut self, slot: u32, state: u8) {
        fence(Release);
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.backends.pointer(slot)).state).write_volatile(state) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Identity = Identity { service: 7, protocol: 6, address: Address { words: [1, 2] }, port: 80 };
    const NOW: u32 = 1_000_000;

    fn slot(state: u8, service: u32, connections: u64, idle_for: u32) -> Backend {
        let Identity { protocol, address, port, .. } = WHO;
        let removed = NOW - ticks(idle_for);
        Backend { address, port, state, protocol, service, connections, removed, ..Backend::default() }
    }

    fn chosen(slots: &[Backend]) -> Option<Place> {
        place(&WHO, slots.iter().copied(), 4, NOW)
    }

    #[test]
    fn a_removed_backend_comes_back() {
        use state::*;
        let busy = slot(AVAILABLE, 7, 0, 0);
        assert_eq!(chosen(&[busy, slot(FREE, 7, 0, 0), slot(REMOVED, 7, 3, 999)]), Some(Place::Revive(2)));
        assert_eq!(chosen(&[busy, slot(REMOVED, 7, 0, 60)]), Some(Place::Revive(1)), "its counters too");
        assert_eq!(chosen(&[busy, slot(REMOVED, 7, 0, 130)]), Some(Place::Fresh(1, false)), "forgotten");
        assert_eq!(chosen(&[busy, slot(REMOVED, 8, 1, 0)]), Some(Place::Fresh(2, true)), "another service's");
    }

    #[test]
    fn connections_keep_a_slot() {
        use state::*;
        let (busy, waiting, idle) =
            (slot(AVAILABLE, 1, 0, 0), slot(REMOVED, 1, 1, 999), slot(REMOVED, 1, 0, 5));
        assert_eq!(chosen(&[busy, waiting, idle]), Some(Place::Fresh(3, true)), "rather than the idle one");
        assert_eq!(
            chosen(&[busy, waiting, idle, busy]),
            Some(Place::Fresh(2, false)),
            "when there is no other"
        );
        assert_eq!(chosen(&[busy, waiting, waiting, busy]), None);
    }
}
