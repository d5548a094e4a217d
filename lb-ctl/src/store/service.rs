//! Reading services: a version at a time, although another `lb-ctl` may publish meanwhile.

use super::Store;
use anyhow::Result;
use aya::maps::MapError;
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
    /// Slot of the record that packets with this key see.
    pub(super) fn slot_of(&self, key: &ServiceKey) -> Result<Option<u32>> {
        match self.services.get(key, 0) {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The published version of a service.
    pub fn version(&self, key: &ServiceKey) -> Result<Option<Version>> {
        loop {
            let Some(slot) = self.slot_of(key)? else { return Ok(None) };
            let record = self.records.get(slot % self.records.len());
            // A record that is being written over may claim anything.
            let last = record.first.saturating_add(record.count).min(self.members.len());
            let members = (record.first..last).map(|position| self.members.get(position)).collect();
            // Slots rest long before they are used again, so the same slot is the same version.
            if self.slot_of(key)? == Some(slot) {
                return Ok(Some(Version { slot, record, members }));
            }
        }
    }

    /// Every published service, in no order.
    pub fn versions(&self) -> Result<Vec<Version>> {
        let mut all = vec![];
        for key in self.services.keys().collect::<Result<Vec<_>, _>>()? {
            all.extend(self.version(&key)?);
        }
        Ok(all)
    }
}
