//! Where servers answer by NAT, which the packet path has to know while `nat_icmp_send` is set.
//!
//! It is no part of a change that packets see at once: for the moment between the two, a server that has come or
//! gone is answered or not, as its packets without a connection might have come a moment later or earlier.

use super::{Change, batch};
use anyhow::{Context as _, Result};
use lb_common::{
    backend::{Member, ServerKey, method},
    limits::BACKENDS,
    service::ServiceKey,
    sysctl::Sysctl,
};
use std::collections::HashSet;

impl Change {
    /// Makes the map say where the servers of the present services answer. `was_kept`: as it may have done before.
    pub(super) fn list_servers(&self, was_kept: bool) -> Result<()> {
        if !was_kept && self.settings.sysctl(Sysctl::NatIcmpSend) == 0 {
            return Ok(());
        }
        let map = &self.store.servers;
        let present: Vec<(ServerKey, u32)> =
            batch::entries(map, BACKENDS).context("cannot read the map of servers")?;
        let present: HashSet<_> = present.into_iter().map(|(key, _)| key).collect();
        let wanted = self.servers();
        let gone: Vec<_> = present.difference(&wanted).copied().collect();
        let new: Vec<_> = wanted.difference(&present).map(|key| (*key, 1u32)).collect();
        batch::remove(map, &gone).context("cannot write the map of servers")?;
        batch::insert(map, &new).context("cannot write the map of servers")
    }

    fn servers(&self) -> HashSet<ServerKey> {
        if self.settings.sysctl(Sysctl::NatIcmpSend) == 0 {
            return HashSet::new();
        }
        let versions = self.services.values();
        let members =
            versions.flat_map(|version| version.members.iter().map(move |member| (version, member)));
        let by_nat = members.filter(|(_, member)| member.method == method::NAT);
        let key = |member: &Member, service: &ServiceKey| {
            let (address, port) = self.identity(member);
            let protocol = if service.mark == 0 { service.protocol } else { 0 };
            ServerKey { address, port, protocol, reserved: [0; 5] }
        };
        by_nat.map(|(version, member)| key(member, &version.record.key)).collect()
    }
}
