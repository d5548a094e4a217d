//! The TOML of a configuration, read: docs/configuration.md says what it may hold.

use super::{
    Backend, Configuration, Service,
    field::{CHECKSUMS, METHODS},
    mark::MarkTable,
    position::Fault,
};
use crate::{
    command::{backend::check, snat_pool::parse_source},
    progress,
    spec::{
        Endpoint, Protocol, ServiceName, ipv4_mask, ipv6_mask, parse_engine, parse_flags, parse_scheduler,
        parse_sysctl, parse_tunnel,
    },
    store::{MemberSettings, Pool, Schedule, Sysctls, Timeouts, check_full_nat},
};
use anyhow::{Result, anyhow};
use lb_common::{
    address::Address,
    backend::method,
    limits::WEIGHT,
    scheduler::Scheduler,
    service::{Service as Record, engine},
    tunnel::{Tunnel, kind},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::Ipv4Addr,
    ops::Range,
};
use toml::Spanned;

/// 31 days, the most that ipvsadm takes for any timeout.
const SECONDS: u32 = 31 * 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    timeouts: Option<TimeoutsTable>,
    snat_pool: Option<Vec<Spanned<String>>>,
    marks: Option<Vec<Spanned<MarkTable>>>,
    sysctls: Option<BTreeMap<Spanned<String>, Spanned<i64>>>,
    service: Option<Vec<Spanned<ServiceTable>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeoutsTable {
    tcp: Option<Spanned<i64>>,
    tcpfin: Option<Spanned<i64>>,
    udp: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ServiceTable {
    tcp: Option<Spanned<String>>,
    udp: Option<Spanned<String>>,
    sctp: Option<Spanned<String>>,
    mark: Option<Spanned<i64>>,
    #[serde(default)]
    ipv6: bool,
    scheduler: Option<Spanned<String>>,
    flags: Option<Spanned<String>>,
    persistence: Option<Spanned<i64>>,
    netmask: Option<Spanned<String>>,
    engine: Option<Spanned<String>>,
    #[serde(default)]
    one_packet: bool,
    #[serde(default)]
    fullnat: bool,
    #[serde(default)]
    toa: bool,
    #[serde(default)]
    backend: Vec<Spanned<BackendTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendTable {
    address: Spanned<String>,
    method: Option<Spanned<String>>,
    weight: Option<Spanned<i64>>,
    upper: Option<Spanned<i64>>,
    lower: Option<Spanned<i64>>,
    tunnel: Option<Spanned<TunnelTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TunnelTable {
    #[serde(rename = "type")]
    kind: Option<Spanned<String>>,
    port: Option<Spanned<i64>>,
    checksum: Option<Spanned<String>>,
}

/// Reads a whole configuration.
pub fn parse(text: &str) -> Result<Configuration, Fault> {
    pieces(text).map_or_else(|| whole(text), Ok)
}

fn whole(text: &str) -> Result<Configuration, Fault> {
    let document: Document =
        toml::from_str(text).map_err(|error| Fault::at(text, error.span(), one_line(error.message())))?;
    let reader = Reader { text };
    let mut configuration = reader.settings(&document)?;
    let mut seen = HashMap::new();
    for table in document.service.iter().flatten() {
        let service = reader.service(table)?;
        if let Some(first) = seen.insert(service.name.key(), table.span()) {
            let first = Fault::at(text, Some(first), "").to_string();
            let line = first.split(':').next().unwrap_or("");
            let again = anyhow!("service {} stands in line {line} already; remove one", service.name);
            return Err(reader.fault(table.span(), again));
        }
        configuration.services.push(service);
    }
    Ok(configuration)
}

/// The same, read in pieces: what comes before the first service, then each service. The tree of a piece fits
/// the processor's cache, that of ten thousand services does not, and takes twice as long. `None` where anything
/// is wrong, or where it may not be the same to read them one by one.
fn pieces(text: &str) -> Option<Configuration> {
    const START: &str = "\n[[service]]";
    if ["\"\"\"", "'''"].iter().any(|quote| text.contains(quote)) {
        return None;
    }
    let mut starts: Vec<_> = text.match_indices(START).map(|(at, _)| at + 1).collect();
    if text.starts_with(&START[1..]) {
        starts.insert(0, 0);
    }
    let mut ends = starts.clone();
    ends.push(text.len());
    let head: Document = toml::from_str(&text[..ends[0]]).ok()?;
    if head.service.is_some() {
        return None;
    }
    let mut configuration = Reader { text }.settings(&head).ok()?;
    let mut seen = HashSet::new();
    progress::each("reading", starts.iter().zip(&ends[1..]), |(&start, &end)| {
        let text = &text[start..end];
        let piece: Document = toml::from_str(text).map_err(|_| ())?;
        let Document { timeouts, snat_pool, marks, sysctls, service } = &piece;
        if timeouts.is_some() || snat_pool.is_some() || marks.is_some() || sysctls.is_some() {
            return Err(());
        }
        for table in service.iter().flatten() {
            let service = Reader { text }.service(table).map_err(|_| ())?;
            if !seen.insert(service.name.key()) {
                return Err(());
            }
            configuration.services.push(service);
        }
        Ok(())
    })
    .ok()?;
    Some(configuration)
}

/// An error of the library, without line ends and names of Rust.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("expected i64", "expected a number")
}

pub(super) struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    pub(super) fn fault(&self, span: Range<usize>, error: anyhow::Error) -> Fault {
        Fault::at(self.text, Some(span), format!("{error:#}"))
    }

    /// A value that `read` can make something of, or a fault where it stands.
    fn value<T, V>(&self, value: &Spanned<T>, read: impl FnOnce(&T) -> Result<V>) -> Result<V, Fault> {
        read(value.as_ref()).map_err(|error| self.fault(value.span(), error))
    }

    pub(super) fn option<T, V>(
        &self,
        value: &Option<Spanned<T>>,
        read: impl FnOnce(&T) -> Result<V>,
    ) -> Result<Option<V>, Fault> {
        value.as_ref().map(|value| self.value(value, read)).transpose()
    }

    fn number(&self, value: &Option<Spanned<i64>>, least: u32, most: u32) -> Result<Option<u32>, Fault> {
        value.as_ref().map(|value| self.within(value, least, most)).transpose()
    }

    pub(super) fn within(&self, value: &Spanned<i64>, least: u32, most: u32) -> Result<u32, Fault> {
        self.value(value, |number| {
            let read = u32::try_from(*number).ok().filter(|number| (least..=most).contains(number));
            read.ok_or_else(|| anyhow!("{number} is not a number from {least} to {most}"))
        })
    }

    fn settings(&self, document: &Document) -> Result<Configuration, Fault> {
        let mut configuration = Configuration::default();
        if let Some(table) = &document.timeouts {
            let seconds = |value: &_| Ok(self.number(value, 1, SECONDS)?.unwrap_or(0));
            let [tcp, tcpfin, udp] = [seconds(&table.tcp)?, seconds(&table.tcpfin)?, seconds(&table.udp)?];
            configuration.timeouts = Some(Timeouts { tcp, tcpfin, udp });
        }
        if let Some(pool) = &document.snat_pool {
            let address = |text: &Spanned<String>| self.value(text, |text| parse_source(text));
            configuration.pool = Some(pool.iter().map(address).collect::<Result<Pool, _>>()?);
        }
        if let Some(marks) = &document.marks {
            configuration.marks = Some(self.marks(marks)?);
        }
        let sysctls = document.sysctls.iter().flatten().map(|(name, value)| -> Result<_, Fault> {
            let sysctl = self.value(name, |name| parse_sysctl(name))?;
            Ok((sysctl, self.within(value, 0, sysctl.most())?))
        });
        configuration.sysctls = sysctls.collect::<Result<Sysctls, _>>()?;
        Ok(configuration)
    }

    fn name(&self, table: &Spanned<ServiceTable>) -> Result<ServiceName, Fault> {
        let ServiceTable { tcp, udp, sctp, mark, ipv6, .. } = table.as_ref();
        let mut names = vec![];
        for (protocol, value) in [(Protocol::Tcp, tcp), (Protocol::Udp, udp), (Protocol::Sctp, sctp)] {
            names.extend(self.option(value, |text| ServiceName::parse(protocol, text))?);
        }
        names.extend(self.option(mark, |mark| ServiceName::parse_mark(&mark.to_string(), *ipv6))?);
        match names[..] {
            [name] => Ok(name),
            _ => Err(self.fault(
                table.span(),
                anyhow!("a service has one of tcp, udp, sctp and mark; write tcp = \"192.168.2.200:80\""),
            )),
        }
    }

    fn service(&self, table: &Spanned<ServiceTable>) -> Result<Service, Fault> {
        let name = self.name(table)?;
        let ServiceTable {
            scheduler,
            flags,
            persistence,
            netmask,
            engine,
            one_packet,
            fullnat,
            toa,
            backend,
            ..
        } = table.as_ref();
        let scheduler = self.option(scheduler, |text| parse_scheduler(text))?.unwrap_or(Scheduler::Wlc);
        let persistence = self.number(persistence, 0, SECONDS)?;
        if persistence.unwrap_or(0) == 0 && name.port() == 0 && name.protocol().is_some() {
            let every = anyhow!("{name}: a service on port 0, which is every port, must be persistent");
            return Err(self.fault(table.span(), every));
        }
        let schedule = Schedule {
            scheduler: Some(scheduler),
            flags: Some(self.option(flags, |text| parse_flags(text, scheduler))?.unwrap_or(0)),
            persistence: Some(persistence.unwrap_or(0)),
            mask: Some(self.option(netmask, |text| mask(text, name.is_ipv6()))?.unwrap_or(Address::ALL)),
            engine: Some(self.option(engine, |text| parse_engine(text))?.unwrap_or(engine::NONE)),
            one_packet: Some(*one_packet),
            full_nat: Some(*fullnat),
            toa: Some(*toa),
        };
        let record = schedule.applied_to(Record { key: name.key(), ..Record::default() });
        check_full_nat(&record, []).map_err(|error| self.fault(table.span(), error))?;
        let mut backends: Vec<Backend> = Vec::with_capacity(backend.len());
        let mut seen = HashSet::new();
        for table in backend {
            let backend = self.backend(table, name)?;
            let Endpoint { address, port } = backend.endpoint;
            if !seen.insert((address, port)) {
                let again = anyhow!("{name} has backend {} already; remove one", backend.endpoint);
                return Err(self.fault(table.as_ref().address.span(), again));
            }
            check_full_nat(&record, backend.settings.method)
                .map_err(|error| self.fault(table.as_ref().address.span(), error))?;
            backends.push(backend);
        }
        Ok(Service { name, schedule, backends })
    }

    fn backend(&self, table: &Spanned<BackendTable>, service: ServiceName) -> Result<Backend, Fault> {
        let BackendTable { address, method, weight, upper, lower, tunnel } = table.as_ref();
        let endpoint = self.value(address, |text| {
            let protocol = service.protocol().unwrap_or(Protocol::Tcp);
            let (address, port) = Endpoint::parse(text, protocol)?;
            Ok(Endpoint { address, port: port.unwrap_or(service.port()) })
        })?;
        let settings = MemberSettings {
            weight: Some(self.number(weight, 0, WEIGHT)?.unwrap_or(1)),
            upper: Some(self.number(upper, 0, u32::MAX)?.unwrap_or(0)),
            lower: Some(self.number(lower, 0, u32::MAX)?.unwrap_or(0)),
            method: Some(self.option(method, |text| named(&METHODS, text))?.unwrap_or(method::NAT)),
            tunnel: Some(match tunnel {
                Some(tunnel) => self.tunnel(tunnel)?,
                None => Tunnel::default(),
            }),
        };
        check(service, endpoint, &settings).map_err(|error| self.fault(address.span(), error))?;
        Ok(Backend { endpoint, settings })
    }

    fn tunnel(&self, table: &Spanned<TunnelTable>) -> Result<Tunnel, Fault> {
        let TunnelTable { kind, port, checksum } = table.as_ref();
        let kind = self.option(kind, |text| parse_tunnel(text))?.unwrap_or(kind::IPIP);
        let number = self.number(port, 1, u16::MAX.into())?;
        if (kind == kind::GUE) != number.is_some() {
            return Err(
                self.fault(table.span(), anyhow!("a gue tunnel has a port, and no other; write port = 6080"))
            );
        }
        let flags = self.option(checksum, |text| named(&CHECKSUMS, text))?.unwrap_or(0);
        if flags != 0 && kind == kind::IPIP || flags == lb_common::tunnel::flags::REMCSUM && kind != kind::GUE
        {
            return Err(
                self.fault(table.span(), anyhow!("this checksum does not go with this type of tunnel"))
            );
        }
        Ok(Tunnel { kind, flags, port: (number.unwrap_or(0) as u16).to_be() })
    }
}

fn named<T: Copy>(known: &[(T, &str)], text: &str) -> Result<T> {
    known.iter().find(|(_, name)| *name == text).map(|(value, _)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(_, name)| *name).collect();
        anyhow!("'{text}' is not one of: {}", names.join(" "))
    })
}

fn mask(text: &str, ipv6: bool) -> Result<Address> {
    if ipv6 {
        let length = text.parse().ok().filter(|length| (1..=128).contains(length));
        length.map(ipv6_mask).ok_or_else(|| anyhow!("'{text}' is not a prefix length from 1 to 128"))
    } else {
        let bits = text.parse::<Ipv4Addr>();
        bits.map(ipv4_mask).map_err(|_| anyhow!("'{text}' is not a netmask; write 255.255.255.0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(
            lines in prop::collection::vec(prop::sample::select(&[
                "[[service]]", "[[service]]", "[[service]]", "[[service.backend]]", "tcp = \"10.0.0.1:80\"",
                "tcp = \"10.0.0.2:80\"", "mark = 7", "address = \"10.0.0.3:80\"", "weight = 2", "# nothing",
                "[timeouts]", "udp = 30", "[sysctls]", "sloppy_tcp = 1", "snat-pool = []", "marks = [", "]",
                "service = []", "[[ service ]]", " [[service]]", "[service]", "\"\"\"", "scheduler = '''",
            ][..]), 0..12),
        ) {
            let text = lines.join("\n");
            let said = |read: Result<Configuration, Fault>| read.map_err(|fault| fault.to_string());
            prop_assert_eq!(said(parse(&text)), said(whole(&text)));
        }
    }
}
