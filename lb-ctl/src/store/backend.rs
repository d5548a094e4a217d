//! Slots of backends: who has one, and what of it lb-ctl writes.

use super::{Store, connection::now, service::Version, traffic};
use anyhow::Result;
use lb_common::{
    address::Address,
    backend::{Backend, state},
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Who has a slot.
    pub const fn of(backend: &Backend) -> Self {
        let Backend { service, protocol, address, port, .. } = *backend;
        Self { service, protocol, address, port }
    }
}

/// The two places of a backend in the member lists.
pub enum Place {
    /// In the version that packets see, except at the moment when they begin to see another.
    Published,
    /// The same, or that in the version which a change is about to publish.
    Coming,
}

/// Whether no connection and no template needs a removed backend.
pub const fn is_idle(backend: &Backend) -> bool {
    backend.connections == 0 && backend.persistent == 0
}

/// Whether a removed backend is forgotten: as in IPVS's trash, after it was idle for a while.
pub fn is_forgotten(backend: &Backend, now: u32) -> bool {
    is_idle(backend) && remaining(backend.removed.wrapping_add(TRASH), now) <= 0
}

impl Store {
    /// Backend slots that may be in use: all lie below.
    pub fn slots(&self) -> u32 {
        self.table.get(0).backends.min(self.backends.len())
    }

    /// Every backend slot that may be in use.
    pub(super) fn each_slot(&self) -> impl Iterator<Item = Backend> {
        (0..self.slots()).map(|slot| self.backends.get(slot))
    }

    /// Gives a slot to a new backend. It is available at once, but no packet can find it before its
    /// service is published.
    pub(super) fn write_backend(&mut self, slot: u32, identity: Identity) -> Result<()> {
        if slot < self.slots() {
            self.forget(slot)?;
        }
        self.start_counting(slot)?;
        let Identity { service, protocol, address, port } = identity;
        let state = state::AVAILABLE;
        self.backends.set(slot, Backend { address, port, state, protocol, service, ..Backend::default() });
        Ok(())
    }

    /// Says that backend slots up to this one may be in use.
    pub(super) fn set_slots(&mut self, used: u32) {
        fence(Release);
        // SAFETY: the pointer is to the live element; one aligned word that only lb-ctl writes.
        unsafe { addr_of_mut!((*self.table.pointer(0)).backends).write_volatile(used) }
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
        self.each_slot()
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

    /// Tells the packet path where the members of a version lie. One of a backend's two places is always in the
    /// list that packets see, and nobody looks at a place in another: so a kill does no harm.
    pub(super) fn set_places(&mut self, which: Place, version: &Version) {
        fence(Release);
        let which = which as usize;
        for (place, member) in (version.record.first..).zip(&version.members) {
            // SAFETY: as above; one aligned word.
            unsafe { addr_of_mut!((*self.places.pointer(member.backend))[which]).write_volatile(place) }
        }
    }

    /// Makes a backend that comes back available.
    pub(super) fn set_available(&mut self, slot: u32) {
        self.set_state(slot, state::AVAILABLE);
    }

    pub(super) fn set_state(&mut self, slot: u32, state: u8) {
        fence(Release);
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.backends.pointer(slot)).state).write_volatile(state) }
    }
}
