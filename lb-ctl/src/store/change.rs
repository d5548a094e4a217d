//! Changing services, so that a packet sees all of the old version or all of the new one.
//!
//! A version is a record, a member list and perhaps a lookup table, never written once packets can
//! find them. A change is worked out in memory first: until [`Change::commit`] ([`super::commit`])
//! nothing is written, and a change that is dropped leaves everything as it was.

use super::{
    Locked, Store,
    backend::Identity,
    connection::now,
    ids::Ids,
    marks::NewMarks,
    member::MemberSettings,
    pool::{NewSources, Pool},
    recover::recover,
    schedule::{Schedule, check_full_nat},
    service::Version,
    settings::{Sysctls, Timeouts, sysctls},
    slots::Slots,
};
use anyhow::{Context as _, Result, bail};
use lb_common::{
    address::Address,
    backend::{Member, method},
    limits::{BACKENDS, BACKENDS_PER_SERVICE, SERVICES},
    scheduler::Scheduler,
    service::{Service, ServiceKey},
    settings::Settings,
    sysctl::Sysctl,
};
use lb_ebpf::plan;
use std::collections::{HashMap, HashSet};

/// All that one command changes, under the lock.
pub struct Change {
    pub(super) store: Locked,
    /// Every service as it will be.
    pub(super) services: HashMap<ServiceKey, Version>,
    /// What packets see of the services that change; `None` is nothing.
    pub(super) before: HashMap<ServiceKey, Option<Version>>,
    pub(super) settings: Settings,
    /// The pool of full NAT, once this change has changed it.
    pub(super) pool: Option<Pool>,
    /// What it needs before packets see it.
    pub(super) new_sources: NewSources,
    /// Firewall marks, once this change has changed them.
    pub(super) marks: Option<NewMarks>,
    pub(super) slots: Slots,
    /// Services that this change removes and adds again: they start anew, as in IPVS.
    pub(super) restarted: HashSet<ServiceKey>,
    /// Ids that this change takes from removed backends of other services.
    pub(super) orphaned: HashSet<u32>,
    /// Ids of services whose counters start anew.
    pub(super) zeroed: HashSet<u32>,
    /// Looked for when the first service is added.
    ids: Option<Ids>,
    /// The highest generation so far. Generations count versions over all services, so that an id
    /// that is given to another service never meets a turn of its own generation.
    generation: u32,
}

impl Change {
    /// Takes the lock and repairs what a killed command left.
    pub fn begin() -> Result<Self> {
        let mut store = Store::lock()?;
        let versions = store.versions()?;
        recover(&mut store, &versions);
        let settings = store.settings.get(0);
        let records = (0..store.records.len()).map(|slot| store.records.get(slot).generation);
        let generation = records.max().unwrap_or(0);
        let slots = Slots::new(store.each_slot(), store.backends.len(), now());
        let services = versions.into_iter().map(|version| (version.record.key, version)).collect();
        Ok(Self {
            store,
            services,
            before: HashMap::new(),
            settings,
            pool: None,
            new_sources: vec![],
            marks: None,
            slots,
            restarted: HashSet::new(),
            orphaned: HashSet::new(),
            zeroed: HashSet::new(),
            ids: None,
            generation,
        })
    }

    /// Keys of all services.
    pub fn keys(&self) -> Vec<ServiceKey> {
        self.services.keys().copied().collect()
    }

    /// A service, as this change has made it so far.
    pub fn version(&self, key: &ServiceKey) -> Option<&Version> {
        self.services.get(key)
    }

    /// Who a member is.
    pub fn identity(&self, member: &Member) -> (Address, u16) {
        let Identity { address, port, .. } = self.slots.identity(member.backend);
        (address, port)
    }

    /// The versions that packets see of the services that change, and those that they will see.
    pub fn sides(&self) -> (Vec<&Version>, Vec<&Version>) {
        let old = self.before.values().flatten().collect();
        let new = self.before.keys().filter_map(|key| self.services.get(key)).collect();
        (old, new)
    }

    /// The timeouts that packets see.
    pub fn timeouts_before(&self) -> Timeouts {
        self.store.timeouts()
    }

    /// The timeouts, as this change has made them so far.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts::of(&self.settings)
    }

    /// Changes the timeouts; 0 keeps one as it is.
    pub fn set_timeouts(&mut self, new: Timeouts) {
        new.write(&mut self.settings);
    }

    /// The values of all sysctls that packets see.
    pub fn sysctls_before(&self) -> Sysctls {
        self.store.sysctls()
    }

    /// The values of all sysctls, as this change has made them so far.
    pub fn sysctls(&self) -> Sysctls {
        sysctls(&self.settings)
    }

    /// Changes a sysctl.
    pub fn set_sysctl(&mut self, of: Sysctl, value: u32) {
        self.settings.sysctls[of as usize] = value;
    }

    /// Adds a service. The caller has looked that there is none with this key.
    pub fn add_service(&mut self, key: ServiceKey, schedule: Schedule) -> Result<()> {
        if self.services.len() >= SERVICES as usize {
            bail!("{SERVICES} services is the most there can be; delete one first");
        }
        self.touch(&key);
        if self.before[&key].is_some() {
            self.restarted.insert(key);
        }
        let id = self.take_id(&key)?;
        self.generation += 1;
        let (generation, born) = (self.generation, self.generation);
        let scheduler = Scheduler::Wlc as u8;
        let new = Service { key, id, scheduler, mask: Address::ALL, generation, born, ..Service::default() };
        let record = schedule.applied_to(new);
        check_full_nat(&record, [])?;
        // The slot is chosen last.
        self.services.insert(key, Version { slot: 0, record, members: vec![] });
        Ok(())
    }

    /// Changes what is named of a service.
    pub fn edit_service(&mut self, key: &ServiceKey, schedule: Schedule) -> Result<()> {
        let version = self.known(key)?;
        let old = version.record;
        let record = schedule.applied_to(old);
        check_full_nat(&record, version.members.iter().map(|member| member.method))?;
        self.touch(key);
        self.known(key)?.record = record;
        if record.scheduler != old.scheduler {
            self.renew(key)?;
            // IPVS's schedulers begin with the list that there is: at its head, `wrr` at the top level.
            self.known(key)?.record.start = 0;
        }
        Ok(())
    }

    /// Deletes a service and its backends.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<()> {
        self.touch(key);
        let old = self.services.remove(key).context("no such service")?;
        for member in &old.members {
            self.slots.give(member.backend);
        }
        Ok(())
    }

    /// Deletes every service.
    pub fn clear(&mut self) -> Result<()> {
        self.keys().iter().try_for_each(|key| self.remove_service(key))
    }

    /// Position of a backend in the member list of a service.
    pub fn position(&self, key: &ServiceKey, address: Address, port: u16) -> Option<usize> {
        self.services.get(key)?.members.iter().position(|member| self.identity(member) == (address, port))
    }

    /// Adds a backend at the head of the list. The caller has looked that it is not there.
    pub fn add_backend(
        &mut self,
        key: &ServiceKey,
        address: Address,
        port: u16,
        asked: MemberSettings,
    ) -> Result<()> {
        let version = self.known(key)?;
        if version.members.len() >= BACKENDS_PER_SERVICE as usize {
            bail!("a service has at most {BACKENDS_PER_SERVICE} backends; delete one first");
        }
        let identity = Identity { service: version.record.id, protocol: key.protocol, address, port };
        let Some(backend) = self.slots.take(identity) else {
            bail!("{BACKENDS} backends are in use, removed ones with connections included; remove some")
        };
        let new = Member { backend, weight: 1, method: method::NAT, ..Member::default() };
        self.change_list(key, |list| list.insert(0, asked.applied_to(new)))
    }

    /// Changes what is named of the backend at this position; it keeps its place.
    pub fn edit_backend(&mut self, key: &ServiceKey, position: usize, asked: MemberSettings) -> Result<()> {
        self.change_list(key, |list| list[position] = asked.applied_to(list[position]))
    }

    /// Removes the backend at this position.
    pub fn remove_backend(&mut self, key: &ServiceKey, position: usize) -> Result<()> {
        let backend = self.known(key)?.members[position].backend;
        self.change_list(key, |list| {
            list.remove(position);
        })?;
        self.slots.give(backend);
        Ok(())
    }

    fn known(&mut self, key: &ServiceKey) -> Result<&mut Version> {
        self.services.get_mut(key).context("no such service")
    }

    /// Keeps what packets see of a service that is going to change.
    fn touch(&mut self, key: &ServiceKey) {
        let published = self.services.get(key);
        self.before.entry(*key).or_insert_with(|| published.cloned());
    }

    /// Makes the turn that the service has reached one of an old version.
    fn renew(&mut self, key: &ServiceKey) -> Result<()> {
        let published = self.before.get(key).and_then(Option::as_ref);
        let published = published.map(|version| version.record.generation);
        let next = self.generation + 1;
        let record = &mut self.known(key)?.record;
        if published == Some(record.generation) {
            record.generation = next;
            self.generation = next;
        }
        Ok(())
    }

    /// Changes the list. The scheduler goes on where it stands, as far as it does in IPVS.
    fn change_list(&mut self, key: &ServiceKey, edit: impl FnOnce(&mut Vec<Member>)) -> Result<()> {
        self.touch(key);
        let old = self.known(key)?.clone();
        let turn = self.store.turns.get(old.record.id);
        let version = self.known(key)?;
        edit(&mut version.members);
        check_full_nat(&version.record, version.members.iter().map(|member| member.method))?;
        let stands = Some((&old.record, turn, old.members.as_slice()));
        version.record.start = plan::start(version.scheduler(), stands, &version.members);
        self.renew(key)
    }

    fn take_id(&mut self, key: &ServiceKey) -> Result<u32> {
        let Self { store, services, before, ids, .. } = self;
        let ids = ids.get_or_insert_with(|| {
            let published = before.values().flatten().chain(services.values());
            let busy = published.map(|version| version.record.id).collect();
            let records = (0..store.records.len()).map(|slot| store.records.get(slot));
            Ids::new(busy, store.remembered_services(), records, store.turns.len())
        });
        let old = before.get(key).and_then(Option::as_ref).map(|version| version.record.id);
        let (id, orphans) = ids.take(key, old).context("no free service id; this is an error in lb-ctl")?;
        if orphans {
            self.slots.orphan(id);
            self.orphaned.insert(id);
        }
        Ok(id)
    }
}
