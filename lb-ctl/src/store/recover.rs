//! Repairing what a killed `lb-ctl` left half-done. The map of services is the truth: what no
//! published version uses is not in use.

use super::{Store, backend::Place, commit::mark_free, service::Version};
use lb_common::{backend, service::in_use};
use std::collections::HashSet;

/// Puts right what a killed command left.
pub fn recover(store: &mut Store, versions: &[Version]) {
    store.adopt();
    let published = versions.iter().map(|version| version.slot).collect();
    let members = versions.iter().flat_map(|version| &version.members).map(|member| member.backend).collect();
    let records = (0..store.records.len()).map(|slot| store.records.get(slot).state);
    let backends = store.each_slot().map(|backend| backend.state);
    let found = repairs(&published, &members, records, backends);
    for slot in found.records {
        mark_free(store, slot);
    }
    for slot in found.removed {
        store.remove_backend_slot(slot);
    }
    for slot in found.restored {
        store.set_available(slot);
    }
    for version in versions {
        if store.lacks_blocks(&version.record, version.scheduler()) {
            store.prepare_blocks(&version.record, version.scheduler(), &version.members);
            store.keep_blocks(&version.record, version.scheduler());
        }
        store.set_places(Place::Published, version);
        store.set_places(Place::Coming, version);
        for member in &version.members {
            store.set_tunnel(member.backend, member.tunnel);
        }
    }
    store.set_services(versions.iter().map(|version| &version.record.key));
}

/// What has to be put right.
#[derive(Debug, Default, PartialEq, Eq)]
struct Repairs {
    /// Slots of records that claim to be published and are not.
    records: Vec<u32>,
    /// Backends that are available to no service: added, but never published, or removed from
    /// their service, but not yet marked.
    removed: Vec<u32>,
    /// Backends of a published service that are marked as removed.
    restored: Vec<u32>,
}

/// Compares the states of all records and backends with the published record slots and with the
/// backends of all published members.
fn repairs(
    published: &HashSet<u32>,
    members: &HashSet<u32>,
    records: impl Iterator<Item = u32>,
    backends: impl Iterator<Item = u8>,
) -> Repairs {
    let mut found = Repairs::default();
    for (slot, state) in (0..).zip(records) {
        if state == in_use::PUBLISHED && !published.contains(&slot) {
            found.records.push(slot);
        }
    }
    for (slot, state) in (0..).zip(backends) {
        match (state, members.contains(&slot)) {
            (backend::state::AVAILABLE, false) => found.removed.push(slot),
            (backend::state::REMOVED | backend::state::FREE, true) => found.restored.push(slot),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend::state::*;

    #[test]
    fn a_finished_change_needs_no_repair() {
        let found = repairs(
            &[1].into(),
            &[0, 2].into(),
            [in_use::FREE, in_use::PUBLISHED].into_iter(),
            [AVAILABLE, REMOVED, AVAILABLE, FREE].into_iter(),
        );
        assert_eq!(found, Repairs::default());
    }

    #[test]
    fn killed_before_the_commit_means_the_old_state() {
        // Record 0 is published. Record 1 was written for backend 1, which was added.
        let records = [in_use::PUBLISHED, in_use::PUBLISHED];
        let found =
            repairs(&[0].into(), &[0].into(), records.into_iter(), [AVAILABLE, AVAILABLE].into_iter());
        assert_eq!(found, Repairs { records: vec![1], removed: vec![1], restored: vec![] });
    }

    #[test]
    fn killed_after_the_commit_means_the_new_state() {
        // Record 1 replaced record 0 and has no backend 0 any more; neither was marked.
        let records = [in_use::PUBLISHED, in_use::PUBLISHED];
        let found =
            repairs(&[1].into(), &[1].into(), records.into_iter(), [AVAILABLE, AVAILABLE].into_iter());
        assert_eq!(found, Repairs { records: vec![0], removed: vec![0], restored: vec![] });
    }

    #[test]
    fn what_is_published_is_available() {
        let found = repairs(&[].into(), &[0].into(), [].into_iter(), [REMOVED].into_iter());
        assert_eq!(found.restored, [0]);
    }
}
