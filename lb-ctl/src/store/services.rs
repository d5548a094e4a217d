//! The map from what selects a service to its record. It holds two sets of services, of which
//! packets see one: a change of many services writes the other and then one word.

use super::batch;
use anyhow::{Context as _, Result};
use aya::maps::{HashMap, Map, MapData, MapError};
use lb_common::{limits::SERVICE_KEYS, service::ServiceKey};
use std::{collections::HashSet, path::Path};

/// The map.
pub struct Services {
    map: HashMap<MapData, ServiceKey, u32>,
    /// Another handle to it.
    whole: MapData,
}

impl Services {
    /// Opens the pinned map.
    pub fn open(path: &Path) -> Result<Self> {
        let map = HashMap::try_from(Map::HashMap(super::open(path)?))?;
        Ok(Self { map, whole: super::open(path)? })
    }

    /// Slot of the record of a service in a set.
    pub fn get(&self, bank: u8, key: &ServiceKey) -> Result<Option<u32>> {
        match self.map.get(&ServiceKey { bank, ..*key }, 0) {
            Ok(slot) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Every service of a set, with the slot of its record, in no order.
    pub fn all(&self, bank: u8) -> Result<Vec<(ServiceKey, u32)>> {
        let mut all = self.entries()?;
        all.retain(|(key, _)| key.bank == bank);
        for (key, _) in &mut all {
            key.bank = 0;
        }
        Ok(all)
    }

    fn entries(&self) -> Result<Vec<(ServiceKey, u32)>> {
        batch::entries(&self.whole, SERVICE_KEYS).context("cannot read the map of services")
    }

    /// Changes one service of a set, at once.
    pub fn set(&mut self, bank: u8, key: &ServiceKey, slot: Option<u32>) -> Result<()> {
        let key = ServiceKey { bank, ..*key };
        match slot {
            Some(slot) => self.map.insert(key, slot, 0),
            None => self.map.remove(&key),
        }
        .context("cannot write the map of services")
    }

    /// Writes a whole set, which no packet may be looking at.
    pub fn fill(&mut self, bank: u8, services: impl Iterator<Item = (ServiceKey, u32)>) -> Result<()> {
        let new: Vec<_> = services.map(|(key, slot)| (ServiceKey { bank, ..key }, slot)).collect();
        let kept: HashSet<_> = new.iter().map(|(key, _)| *key).collect();
        let old: Vec<_> = self
            .entries()?
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| key.bank == bank && !kept.contains(key))
            .collect();
        batch::remove(&self.whole, &old).context("cannot clear the spare set of services")?;
        batch::insert(&self.whole, &new).context("cannot write the spare set of services")
    }
}
