//! Reading services: a version at a time, although another `lb-ctl` may publish meanwhile.

use super::Store;
use anyhow::Result;
use lb_common::{
    backend::Member,
    scheduler::Scheduler,
    service::{Service, ServiceKey},
};

/// One published version of a service.
#[derive(Clone, Debug)]
pub struct Version {
    /// Slot of its record.
    pub slot: u32,
    /// Its record.
    pub record: Service,
    /// Its backends, newest first.
    pub members: Vec<Member>,
}

impl Version {
    /// Its scheduler.
    pub fn scheduler(&self) -> Scheduler {
        Scheduler::from_number(self.record.scheduler).unwrap_or(Scheduler::Wlc)
    }

    /// The range of its member list: first entry and length.
    pub(super) fn members_range(&self) -> (u32, u32) {
        (self.record.first, self.record.count)
    }

    /// The range of its lookup table.
    pub(super) fn table_range(&self) -> (u32, u32) {
        (self.record.table, self.scheduler().table_length())
    }
}

impl Store {
    /// The published version of a service.
    pub fn version(&self, key: &ServiceKey) -> Result<Option<Version>> {
        loop {
            let bank = self.bank();
            let Some(slot) = self.services.get(bank, key)? else { return Ok(None) };
            let version = self.read(slot);
            // Slots rest long before they are used again, so the same slot is the same version.
            if self.bank() == bank && self.services.get(bank, key)? == Some(slot) {
                return Ok(Some(version));
            }
        }
    }

    /// Every published service, in no order: as they were at one moment.
    pub fn versions(&self) -> Result<Vec<Version>> {
        loop {
            let bank = self.bank();
            let published = self.services.all(bank)?;
            let versions = published.iter().map(|(_, slot)| self.read(*slot)).collect();
            if self.bank() == bank && self.services.all(bank)? == published {
                return Ok(versions);
            }
        }
    }

    fn read(&self, slot: u32) -> Version {
        let record = self.records.get(slot % self.records.len());
        // A record that is being written over may claim anything.
        let last = record.first.saturating_add(record.count).min(self.members.len());
        let members = (record.first..last).map(|position| self.members.get(position)).collect();
        Version { slot, record, members }
    }
}
