//! Making a change: new versions are written into free room; then one update of the map of
//! services, or one word, makes all of them the truth; then old records and removed backends are
//! marked. A process killed on the way leaves all of the old state or all of the new one, and marks
//! that the next one puts right ([`super::recover`]).

use super::{
    Store, backend::Place, change::Change, grace, service::Version, settings::changed, space::Space,
};
use crate::progress;
use anyhow::{Context as _, Result, anyhow};
use lb_common::{
    backend::Member,
    block,
    scheduler::{Scheduler, Turn},
    service::{Service, ServiceKey, in_use},
    sysctl::Sysctl,
};
use lb_ebpf::plan;
use std::{
    collections::{HashMap, HashSet},
    ptr::addr_of_mut,
    sync::atomic::{Ordering::Release, fence},
};

/// Room for what a change writes: all that no published version uses.
struct Room {
    /// Record slots, those that have rested longest first, which are those with the lowest
    /// generations.
    records: std::vec::IntoIter<(u32, u32)>,
    members: Space,
    lookup: Space,
}

impl Room {
    fn new(store: &Store, published: &[&Version]) -> Self {
        let used: HashSet<_> = published.iter().map(|version| version.slot).collect();
        let mut records: Vec<_> = (0..store.records.len())
            .filter(|slot| !used.contains(slot))
            .map(|slot| (store.records.get(slot).generation, slot))
            .collect();
        records.sort_unstable();
        let published = published.iter();
        Self {
            records: records.into_iter(),
            members: Space::new(
                store.members.len(),
                published.clone().map(|version| version.members_range()),
            ),
            lookup: Space::new(store.lookup.len(), published.map(|version| version.table_range())),
        }
    }

    /// A record slot, and the first entries of a member list and of a lookup table.
    fn take(&mut self, scheduler: Scheduler, members: u32, table: u32) -> Result<(u32, u32, u32)> {
        let align = if plan::has_blocks(scheduler, members as usize) { block::alignment(members) } else { 1 };
        let (_, slot) =
            self.records.next().context("no free record for the service; this is an error in lb-ctl")?;
        let (Some(first), Some(table)) = (self.members.take(members, align), self.lookup.take(table, 1))
        else {
            return Err(anyhow!(
                "no room for {members} more backends and {table} more hash slots; \
                 use fewer dh, sh or mh services"
            ));
        };
        Ok((slot, first, table))
    }
}

impl Change {
    /// Makes the change: packets see all of it or nothing.
    pub fn commit(mut self) -> Result<()> {
        self.prune();
        if !self.is_empty() || self.marks.is_some() {
            self.make()?;
        }
        self.store.zero(&self.zeroed)
    }

    fn make(&mut self) -> Result<()> {
        let kept_servers = self.store.settings.get(0).sysctl(Sysctl::NatIcmpSend) != 0;
        // From here on, no packet looks at anything that earlier commands replaced.
        grace::wait();
        self.write_versions()?;
        self.write_backends()?;
        self.write_sources();
        self.write_marks()?;
        self.each_changed(|store, version| {
            store.prepare_blocks(&version.record, version.scheduler(), &version.members);
        });
        // Before a new service: a packet that finds it must not have been told that there is none, and whom
        // it is given to must be found in its list.
        let old = self.before.iter().filter(|(key, _)| !self.services.contains_key(key)).map(|(key, _)| key);
        self.store.set_services(self.services.keys().chain(old));
        self.each_changed(|store, version| store.set_places(Place::Coming, version));
        self.publish()?;
        self.each_changed(|store, version| store.set_places(Place::Published, version));
        self.each_changed(|store, version| store.keep_blocks(&version.record, version.scheduler()));
        self.store.set_services(self.services.keys());
        self.retire();
        self.list_servers(kept_servers)?;
        self.retire_marks()
    }

    /// Whether it changes nothing that an admin says, once what has come out as it was is left alone: counters
    /// perhaps, or the interfaces that firewall marks have found.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && !self.has_settings() && !self.has_marks()
    }

    fn has_settings(&self) -> bool {
        let old = self.store.settings.get(0);
        changed(old, &self.settings) != old
    }

    /// Leaves alone what has come out as it was.
    pub fn prune(&mut self) {
        let Self { services, before, restarted, .. } = self;
        before.retain(|key, old| match (old, services.get_mut(key)) {
            (None, None) => false,
            (Some(old), Some(new)) if !restarted.contains(key) && old.says_the_same_as(new) => {
                *new = old.clone();
                false
            }
            _ => true,
        });
    }

    /// Calls `body` with every new version.
    fn each_changed(&mut self, mut body: impl FnMut(&mut Store, &Version)) {
        let Self { store, services, before, .. } = self;
        for version in before.keys().filter_map(|key| services.get(key)) {
            body(store, version);
        }
    }

    /// Writes records, member lists and lookup tables that no packet finds yet.
    fn write_versions(&mut self) -> Result<()> {
        let Self { store, services, before, slots, .. } = self;
        let published: Vec<_> = before
            .values()
            .flatten()
            .chain(services.iter().filter(|(key, _)| !before.contains_key(key)).map(|(_, version)| version))
            .collect();
        let mut room = Room::new(store, &published);
        progress::each("writing services", before.keys(), |key| -> Result<()> {
            let Some(version) = services.get_mut(key) else { return Ok(()) };
            let known: Vec<_> = version
                .members
                .iter()
                .map(|member| {
                    let identity = slots.identity(member.backend);
                    (*member, identity.address, identity.port)
                })
                .collect();
            let plan = plan::plan(version.scheduler(), &known);
            version
                .place(room.take(version.scheduler(), known.len() as u32, plan.table.len() as u32)?, &plan);
            write(store, version, &plan.table);
            Ok(())
        })
    }

    /// Gives slots to new backends, and makes removed ones that come back available.
    fn write_backends(&mut self) -> Result<()> {
        let Self { store, services, before, slots, restarted, orphaned, .. } = self;
        for id in orphaned.iter() {
            store.orphan_backends(*id);
        }
        let added = added(before, services);
        progress::each("writing backends", added.iter(), |member| match slots.is_fresh(member.backend) {
            true => store.write_backend(member.backend, slots.identity(member.backend)),
            false => Ok(()),
        })?;
        if slots.used() > store.slots() {
            store.set_slots(slots.used());
        }
        let new = before.iter().filter(|(key, old)| old.is_none() || restarted.contains(key));
        let new = new.filter_map(|(key, _)| services.get(key)).map(|version| version.record.id);
        // A new service starts at zero, and so does a server that comes back to it (`__ip_vs_update_dest`).
        store.zero(&new.collect())?;
        for (key, _) in before.iter().filter(|(_, old)| old.is_none()) {
            if let Some(version) = services.get(key) {
                store.turns.set(version.record.id, Turn::default());
            }
        }
        for member in &added {
            store.set_tunnel(member.backend, member.tunnel);
            store.set_available(member.backend);
        }
        Ok(())
    }

    /// The commit itself: one service by one update of its entry, more by the word that says which
    /// of the two sets packets see.
    fn publish(&mut self) -> Result<()> {
        let has_more = self.has_settings() || self.marks.is_some();
        let Self { store, services, before, settings, marks, .. } = self;
        let mut changed = before.keys();
        let bank = store.bank();
        fence(Release);
        if let (Some(key), None, false) = (changed.next(), changed.next(), has_more) {
            let slot = services.get(key).map(|version| version.slot);
            return store.changing(|store| store.services.set(bank, key, slot));
        }
        let spare = 1 - bank;
        store.services.fill(spare, services.iter().map(|(key, version)| (*key, version.slot)))?;
        let present = store.settings.get(0).marks();
        store.set_marks(spare, marks.as_ref().map_or(present, |new| new.generation));
        settings.bank = spare.into();
        store.announce(*settings);
        store.changing(|store| store.set_bank(spare));
        store.adopt();
        Ok(())
    }

    /// Marks what packets no longer find, and tells those backends that stay what is new.
    fn retire(&mut self) {
        let Self { store, services, before, .. } = self;
        for (key, old) in before {
            let new = services.get(key).map_or(&[][..], |version| &version.members);
            let kept: HashMap<_, _> = new.iter().map(|member| (member.backend, member)).collect();
            let mut was = HashMap::new();
            if let Some(old) = old {
                mark_free(store, old.slot);
                for member in &old.members {
                    was.insert(member.backend, member);
                    if !kept.contains_key(&member.backend) {
                        store.remove_backend_slot(member.backend);
                    }
                }
            }
            for after in new {
                store.set_tunnel(after.backend, after.tunnel);
                let before = was.get(&after.backend);
                if after.upper == 0 || before.is_none_or(|before| after.upper > before.upper) {
                    store.clear_overload(after.backend);
                }
            }
        }
    }
}

impl Version {
    /// Whether an admin sees no difference.
    fn says_the_same_as(&self, other: &Self) -> bool {
        let Service { id, scheduler, scheduler_flags, persistence, flags, engine, mask, .. } = self.record;
        let record =
            Service { id, scheduler, scheduler_flags, persistence, flags, engine, mask, ..other.record };
        record == other.record && self.members == other.members
    }

    /// Takes the room that this version has been given.
    fn place(&mut self, (slot, first, table): (u32, u32, u32), plan: &plan::Plan) {
        self.slot = slot;
        self.record = Service {
            first,
            table,
            count: self.members.len() as u32,
            divisor: plan.divisor,
            greatest: plan.greatest,
            state: in_use::PUBLISHED,
            ..self.record
        };
    }
}

fn write(store: &mut Store, version: &Version, table: &[u32]) {
    for (position, member) in (version.record.first..).zip(&version.members) {
        store.members.set(position, *member);
    }
    for (position, member) in (version.record.table..).zip(table) {
        store.lookup.set(position, *member);
    }
    store.records.set(version.slot, version.record);
}

/// Members whose backends packets cannot find yet.
fn added(
    before: &HashMap<ServiceKey, Option<Version>>,
    services: &HashMap<ServiceKey, Version>,
) -> Vec<Member> {
    let old = before.values().flatten().flat_map(|version| &version.members);
    let old: HashSet<_> = old.map(|member| member.backend).collect();
    let new = before.keys().filter_map(|key| services.get(key)).flat_map(|version| &version.members);
    new.filter(|member| !old.contains(&member.backend)).copied().collect()
}

/// Marks a record that packets do not find.
pub(super) fn mark_free(store: &mut Store, slot: u32) {
    // SAFETY: the pointer is to a live element; one aligned word that the packet path never reads.
    unsafe { addr_of_mut!((*store.records.pointer(slot)).state).write_volatile(in_use::FREE) }
}
