//! `lb-ctl import-ipvs`: moves a director from the kernel's IPVS to this balancer.

use crate::report::say;
use crate::{
    configuration::{Configuration, Difference, Service},
    ipvs::{self, Entry},
    program::object::Adopter,
    report::{Names, View},
    store::{Locked, Store, Timeouts},
    transaction,
};
use anyhow::{Result, bail};
use lb_common::{address::Address, adoption::Adoption, service::ServiceKey, time::ticks};
use std::{
    collections::HashMap,
    io::{self, Write as _},
};

/// Build the services, backends, timeouts and sysctls that the kernel's IPVS has now.
///
/// Nothing is taken from IPVS. From then on new connections are balanced here; those that IPVS holds go on there
/// until they end, or, with --connections, here. `ipvsadm -C` then ends IPVS.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl load eth0 eth1
  lb-ctl import-ipvs --connections && ipvsadm -C")]
pub struct Args {
    /// Take over the live connections too, with their states and the time they have left
    #[arg(long)]
    connections: bool,
    /// Only say what would be built
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let imported = ipvs::configuration()?;
        if self.dry_run {
            return self.describe(&imported);
        }
        // Loaded first: a datagram of a flow between the services' publication and its adoption is scheduled anew.
        let adopter = if self.connections { Some(self.adopter()?) } else { None };
        transaction::make(|change| {
            let here = |service: &&Service| change.version(&service.name.key()).is_some();
            if let Some(Service { name, .. }) = imported.services.iter().find(here) {
                let options = name.options();
                bail!("service {name} exists here already: lb-ctl service del {options}, or lb-ctl clear");
            }
            Difference::between(&Configuration::of_change(change).settings(), &imported).ask(change)
        })?;
        say!("imported {}", imported.count());
        match adopter {
            Some(adopter) => adopt(adopter, &Store::lock()?),
            None => Ok(()),
        }
    }

    fn adopter(&self) -> Result<Adopter> {
        let store = Store::lock()?;
        Adopter::load(store.pins(), store.settings.get(0).connections)
    }

    fn describe(&self, imported: &Configuration) -> Result<()> {
        let mut out = io::stdout().lock();
        View::Table.write(&mut out, &imported.into(), &mut Names::new(true), false)?;
        if let Some(Timeouts { tcp, tcpfin, udp }) = imported.timeouts {
            writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {tcpfin} {udp}")?;
        }
        for (sysctl, value) in imported.sysctls.iter().filter(|(sysctl, value)| sysctl.default() != **value) {
            writeln!(out, "{} = {value}", sysctl.name())?;
        }
        if self.connections {
            writeln!(out, "{} connections", ipvs::entries()?.len())?;
        }
        Ok(())
    }
}

/// Where a backend of a service stands in the map of member lists, by its address and port.
type Places = HashMap<(Address, u16), u32>;

/// Takes over every connection whose service and backend are here.
fn adopt(mut adopter: Adopter, store: &Locked) -> Result<()> {
    // A firewall mark is not told of a connection: any service of a mark that has the backend will do.
    let mut services: HashMap<ServiceKey, Places> = HashMap::new();
    for version in store.versions()? {
        let key = version.record.key;
        let places = services.entry(if key.mark == 0 { key } else { ServiceKey::default() }).or_default();
        for (place, member) in (version.record.first..).zip(&version.members) {
            let backend = store.backends.get(member.backend);
            places.insert((backend.address, u16::from_be(backend.port)), place);
        }
    }
    let (mut adopted, mut left, mut refused) = (0, 0, 0);
    let entries = ipvs::entries()?;
    for entry in &entries {
        let Some(member) = place(&services, entry) else {
            left += 1;
            continue;
        };
        let adoption = Adoption {
            client: entry.client.0,
            service: entry.service.0,
            client_port: entry.client.1.to_be(),
            service_port: entry.service.1.to_be(),
            protocol: entry.protocol,
            state: entry.state,
            reserved: 0,
            member,
            ticks: ticks(entry.seconds),
        };
        if adopter.adopt(&adoption)? { adopted += 1 } else { refused += 1 }
    }
    say!("took over {adopted} of {} connections", entries.len());
    if left > 0 {
        say!("left {left} to IPVS: persistence templates, or no such service and backend here");
    }
    if refused > 0 {
        bail!("the connection table is full: {refused} connections stay with IPVS; load --max-connections N");
    }
    Ok(())
}

/// The place of an entry's backend.
fn place(services: &HashMap<ServiceKey, Places>, entry: &Entry) -> Option<u32> {
    if entry.client.1 == 0 || entry.protocol == 0 {
        return None;
    }
    let key = |port: u16| ServiceKey {
        address: entry.service.0,
        port,
        protocol: entry.protocol,
        ..ServiceKey::default()
    };
    [key(entry.service.1.to_be()), key(0), ServiceKey::default()]
        .iter()
        .find_map(|key| services.get(key)?.get(&entry.backend).copied())
}
