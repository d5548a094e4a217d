//! Changing services, so that a packet sees all of the old version or all of the new one.
//!
//! A version is a record, a member list and perhaps a lookup table, never written once packets can
//! find them. A change writes new ones into free room; then one update of the map of services makes
//! them the truth; then the old record and removed backends are marked. A process killed on the way
//! leaves the old or the new version, and marks that the next one puts right ([`super::recover`]).

use super::{
    Locked, Store, backend::Identity, grace, member::MemberSettings, recover::repairs, schedule::Schedule,
    service::Version, space::Space, traffic,
};
use anyhow::{Context as _, Result, anyhow, bail};
use lb_common::{
    address::Address,
    backend::{Member, method, state},
    block,
    limits::{BACKENDS_PER_SERVICE, SERVICES},
    scheduler::{Scheduler, Turn},
    service::{Service, ServiceKey, in_use},
    traffic::Traffic,
};
use lb_ebpf::plan;
use std::{
    collections::{HashMap, HashSet},
    ptr::addr_of_mut,
    sync::atomic::{Ordering::Release, fence},
};

/// Changes of one command, under the lock.
pub struct Change {
    pub(super) store: Locked,
    published: HashMap<ServiceKey, Version>,
    /// Record slots that this command must not write: published now, or replaced by itself.
    records: HashSet<u32>,
    members: Space,
    lookup: Space,
}

/// The part of a new version that its change decides.
struct Draft {
    record: Service,
    members: Vec<Member>,
    /// Whether the scheduler goes on where it stands, because nothing changed in the list.
    same_list: bool,
}

impl Change {
    /// Takes the lock, repairs what a killed command left, and waits until no packet looks at
    /// anything that earlier commands replaced: from here on, whatever is not published is free.
    pub fn begin() -> Result<Self> {
        let mut store = Store::lock()?;
        let versions = store.versions()?;
        recover(&mut store, &versions);
        let published = versions.into_iter().map(|version| (version.record.key, version)).collect();
        let mut change = Self {
            store,
            published,
            records: HashSet::new(),
            members: Space::new(0, []),
            lookup: Space::new(0, []),
        };
        change.reclaim();
        Ok(change)
    }

    /// Makes room: all that no published version uses.
    fn reclaim(&mut self) {
        grace::wait();
        let versions = self.published.values();
        self.records = versions.clone().map(|version| version.slot).collect();
        self.members = Space::new(self.store.members.len(), versions.clone().map(Version::members_range));
        self.lookup = Space::new(self.store.lookup.len(), versions.map(Version::table_range));
    }

    /// Keys of all services.
    pub fn keys(&self) -> Vec<ServiceKey> {
        self.published.keys().copied().collect()
    }

    /// The published version of a service.
    pub fn version(&self, key: &ServiceKey) -> Option<&Version> {
        self.published.get(key)
    }

    /// Adds a service. The caller has looked that there is none with this key.
    pub fn add_service(&mut self, key: ServiceKey, schedule: Schedule) -> Result<()> {
        if self.published.len() >= SERVICES as usize {
            bail!("{SERVICES} services is the most there can be; delete one first");
        }
        let id = self.take_id(&key)?;
        let scheduler = Scheduler::Wlc as u8;
        let new = Service { key, id, scheduler, mask: Address::ALL, ..Service::default() };
        self.publish(Draft { record: schedule.applied_to(new), members: vec![], same_list: false })
    }

    /// Adds a service together with its backends, newest first: no packet sees it without them.
    pub fn add_service_with(
        &mut self,
        key: ServiceKey,
        schedule: Schedule,
        backends: impl ExactSizeIterator<Item = (Address, u16, MemberSettings)>,
    ) -> Result<()> {
        if self.published.len() >= SERVICES as usize {
            bail!("{SERVICES} services is the most there can be; delete one first");
        }
        if backends.len() > BACKENDS_PER_SERVICE as usize {
            bail!("a service has at most {BACKENDS_PER_SERVICE} backends, this one has {}", backends.len());
        }
        let id = self.take_id(&key)?;
        let mut members = Vec::new();
        for (address, port, asked) in backends {
            let slot =
                self.store.take_backend(Identity { service: id, protocol: key.protocol, address, port })?;
            let new = Member { backend: slot, weight: 1, method: method::NAT, ..Member::default() };
            let new = asked.applied_to(new);
            self.store.set_tunnel(slot, new.tunnel);
            self.store.clear_overload(slot);
            members.push(new);
        }
        let scheduler = schedule.scheduler.unwrap_or(Scheduler::Wlc);
        let start = plan::start(scheduler, None, &members);
        let new = Service {
            key,
            id,
            start,
            scheduler: Scheduler::Wlc as u8,
            mask: Address::ALL,
            ..Service::default()
        };
        self.publish(Draft { record: schedule.applied_to(new), members, same_list: false })
    }

    /// Changes what is named of a service.
    pub fn edit_service(&mut self, key: &ServiceKey, schedule: Schedule) -> Result<()> {
        let old = self.known(key)?;
        let mut record = schedule.applied_to(old.record);
        let same_list = record.scheduler == old.record.scheduler;
        let members = old.members.clone();
        if let Some(scheduler) = Scheduler::from_number(record.scheduler)
            && !same_list
        {
            record.start = plan::start(scheduler, None, &members);
        }
        self.publish(Draft { record, members, same_list })
    }

    /// Deletes a service and its backends.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<()> {
        let old = self.known(key)?.clone();
        self.store.services.remove(key)?;
        self.published.remove(key);
        self.retire(old.slot);
        for member in &old.members {
            self.store.remove_backend_slot(member.backend);
        }
        self.store.set_services(self.published.keys());
        Ok(())
    }

    /// Deletes every service.
    pub fn clear(&mut self) -> Result<()> {
        self.keys().iter().try_for_each(|key| self.remove_service(key))
    }

    /// Position of a backend in the member list of a service.
    pub fn position(&self, key: &ServiceKey, address: Address, port: u16) -> Option<usize> {
        self.published.get(key)?.members.iter().position(|member| {
            let backend = self.store.backends.get(member.backend);
            (backend.address, backend.port) == (address, port)
        })
    }

    /// Adds a backend at the head of the list. The caller has looked that it is not there.
    pub fn add_backend(
        &mut self,
        key: &ServiceKey,
        address: Address,
        port: u16,
        asked: MemberSettings,
    ) -> Result<()> {
        let old = self.known(key)?;
        if old.members.len() >= BACKENDS_PER_SERVICE as usize {
            bail!("a service has at most {BACKENDS_PER_SERVICE} backends; delete one first");
        }
        let (record, mut list) = (old.record, old.members.clone());
        let identity = Identity { service: record.id, protocol: key.protocol, address, port };
        let slot = self.store.take_backend(identity)?;
        list.insert(0, asked.applied_to(Member { backend: slot, weight: 1, ..Member::default() }));
        self.store.set_tunnel(slot, list[0].tunnel);
        self.publish_list(record, list)?;
        self.store.clear_overload(slot);
        Ok(())
    }

    /// Changes what is named of the backend at this position; it keeps its place.
    pub fn edit_backend(&mut self, key: &ServiceKey, position: usize, asked: MemberSettings) -> Result<()> {
        let old = self.known(key)?;
        let (record, mut list) = (old.record, old.members.clone());
        let before = list[position];
        list[position] = asked.applied_to(before);
        let after = list[position];
        self.publish_list(record, list)?;
        self.store.set_tunnel(after.backend, after.tunnel);
        if after.upper == 0 || after.upper > before.upper {
            self.store.clear_overload(after.backend);
        }
        Ok(())
    }

    /// Removes the backend at this position.
    pub fn remove_backend(&mut self, key: &ServiceKey, position: usize) -> Result<()> {
        let old = self.known(key)?;
        let (record, mut list) = (old.record, old.members.clone());
        let gone = list.remove(position);
        self.publish_list(record, list)?;
        self.store.remove_backend_slot(gone.backend);
        Ok(())
    }

    fn known(&self, key: &ServiceKey) -> Result<&Version> {
        self.published.get(key).context("no such service")
    }

    /// Publishes a changed list. The scheduler goes on where it stands, as far as it does in IPVS.
    fn publish_list(&mut self, mut record: Service, members: Vec<Member>) -> Result<()> {
        let old = self.known(&record.key)?;
        let turn = self.store.turns.get(record.id);
        record.start = plan::start(old.scheduler(), Some((&old.record, turn, &old.members)), &members);
        self.publish(Draft { record, members, same_list: false })
    }

    /// Writes a version and makes it the one that packets see.
    fn publish(&mut self, draft: Draft) -> Result<()> {
        let Draft { mut record, members, same_list } = draft;
        let scheduler =
            Scheduler::from_number(record.scheduler).context("the record's scheduler is unknown")?;
        let plan = {
            let known: Vec<_> = members
                .iter()
                .map(|member| {
                    let backend = self.store.backends.get(member.backend);
                    (*member, backend.address, backend.port)
                })
                .collect();
            plan::plan(scheduler, &known)
        };
        (record.first, record.table) =
            self.take_ranges(scheduler, members.len() as u32, plan.table.len() as u32)?;
        record.count = members.len() as u32;
        (record.divisor, record.greatest) = (plan.divisor, plan.greatest);
        let slot = self.take_record(&mut record.generation, same_list)?;
        record.state = in_use::PUBLISHED;
        if record.born == 0 {
            record.born = record.generation;
        }

        for (position, member) in (record.first..).zip(&members) {
            self.store.members.set(position, *member);
        }
        for (position, member) in (record.table..).zip(&plan.table) {
            self.store.lookup.set(position, *member);
        }
        self.store.records.set(slot, record);
        self.store.prepare_blocks(&record, scheduler, &members);
        let old = self.published.get(&record.key).map(|version| version.slot);
        if old.is_none() {
            // Before the service: a packet that finds it must not have been told that there is none.
            self.store.set_services(self.published.keys().chain([&record.key]));
        }
        // Before the service too: whom it is given to must be found in its list.
        self.store.set_places(record.first, &members);
        fence(Release);
        // The commit: one update of one entry.
        self.store.services.insert(record.key, slot, 0)?;
        self.store.keep_blocks(&record, scheduler);
        if let Some(old) = old {
            self.retire(old);
        }
        self.records.insert(slot);
        self.published.insert(record.key, Version { slot, record, members });
        Ok(())
    }

    fn take_ranges(&mut self, scheduler: Scheduler, members: u32, table: u32) -> Result<(u32, u32)> {
        let align = if plan::has_blocks(scheduler, members as usize) { block::MEMBERS } else { 1 };
        for attempt in 0..2 {
            if attempt == 1 {
                // This command's own leftovers.
                self.reclaim();
            }
            if let (Some(first), Some(table)) =
                (self.members.take(members, align), self.lookup.take(table, 1))
            {
                return Ok((first, table));
            }
        }
        // A failed attempt may have taken one of the two.
        self.reclaim();
        Err(anyhow!(
            "no room for {members} more backends and {table} more hash slots; use fewer dh, sh or mh services"
        ))
    }

    /// A record slot to write: of those free, the one that has rested longest, which is the one
    /// with the lowest generation. Generations count versions over all services, so that an id that
    /// is given to another service never meets a turn of its own generation.
    fn take_record(&mut self, generation: &mut u32, keep: bool) -> Result<u32> {
        for _ in 0..2 {
            let all =
                (0..self.store.records.len()).map(|slot| (self.store.records.get(slot).generation, slot));
            let (mut newest, mut oldest) = (0, None::<(u32, u32)>);
            for found in all {
                newest = newest.max(found.0);
                if !self.records.contains(&found.1) && oldest.is_none_or(|best| found < best) {
                    oldest = Some(found);
                }
            }
            if let Some((_, slot)) = oldest {
                if !keep {
                    *generation = newest + 1;
                }
                return Ok(slot);
            }
            self.reclaim();
        }
        bail!("no free record for the service; this is an error in lb-ctl")
    }

    /// Marks a record that packets no longer find. It stays out of use until the next command.
    fn retire(&mut self, slot: u32) {
        mark_free(&mut self.store, slot);
        self.records.insert(slot);
    }

    /// An id for a new service: the one that a service with this key had, so that its backends can
    /// come back with their connections, as from IPVS's trash; else one that nobody remembers.
    fn take_id(&mut self, key: &ServiceKey) -> Result<u32> {
        let store = &self.store;
        let busy: HashSet<_> = self.published.values().map(|version| version.record.id).collect();
        let mut latest: HashMap<u32, Service> = HashMap::new();
        for record in (0..store.records.len()).map(|slot| store.records.get(slot)) {
            let newest = latest.entry(record.id).or_insert(record);
            if record.generation > newest.generation {
                *newest = record;
            }
        }
        let own = latest
            .values()
            .find(|record| record.key == *key && record.generation > 0 && !busy.contains(&record.id));
        let id = match own {
            Some(record) => record.id,
            None => {
                let remembered = store.remembered_services();
                let mut free = (0..store.turns.len()).filter(|id| !busy.contains(id));
                let id = free.clone().find(|id| !remembered.contains(id)).or(free.next());
                let id = id.context("no free service id; this is an error in lb-ctl")?;
                self.store.orphan_backends(id);
                id
            }
        };
        self.store.turns.set(id, Turn::default());
        // The service starts at zero, although backends that come back do not.
        let carried = self.store.service_backends_stats(id)?;
        self.store.residue.set(id, traffic::subtract(Traffic::default(), carried));
        Ok(id)
    }
}

fn recover(store: &mut Store, versions: &[Version]) {
    let published = versions.iter().map(|version| version.slot).collect();
    let members = versions.iter().flat_map(|version| &version.members).map(|member| member.backend).collect();
    let records = (0..store.records.len()).map(|slot| store.records.get(slot).state);
    let backends = (0..store.slots()).map(|slot| store.backends.get(slot).state);
    let found = repairs(&published, &members, records, backends);
    for slot in found.records {
        mark_free(store, slot);
    }
    for slot in found.removed {
        store.remove_backend_slot(slot);
    }
    for slot in found.restored {
        store.set_state(slot, state::AVAILABLE);
    }
    for version in versions {
        if store.lacks_blocks(&version.record, version.scheduler()) {
            store.prepare_blocks(&version.record, version.scheduler(), &version.members);
            store.keep_blocks(&version.record, version.scheduler());
        }
    }
    for member in versions.iter().flat_map(|version| &version.members) {
        store.set_tunnel(member.backend, member.tunnel);
    }
    for version in versions {
        store.set_places(version.record.first, &version.members);
    }
    store.set_services(versions.iter().map(|version| &version.record.key));
}

fn mark_free(store: &mut Store, slot: u32) {
    // SAFETY: the pointer is to a live element; one aligned word that the packet path never reads.
    unsafe { addr_of_mut!((*store.records.pointer(slot)).state).write_volatile(in_use::FREE) }
}
