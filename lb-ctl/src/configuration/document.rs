//! The TOML of a configuration, read: docs/configuration.md says what it may hold.

use super::{
    Backend, Configuration, Service,
    field::{CHECKSUMS, METHODS},
    position::Fault,
};
use crate::{
    command::{backend::check, snat_pool::parse_source},
    spec::{
        Endpoint, Protocol, ServiceName, ipv4_mask, ipv6_mask, mark, parse_engine, parse_flags,
        parse_scheduler, parse_sysctl, parse_tunnel,
    },
    store::{MemberSettings, Pool, Schedule, Sysctls, Timeouts, check_full_nat},
};
use anyhow::{Result, anyhow};
use lb_common::{
    address::Address,
    backend::method,
    limits::WEIGHT,
    mark::Rule,
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
    #[serde(default)]
    sysctls: BTreeMap<Spanned<String>, Spanned<i64>>,
    #[serde(default)]
    service: Vec<Spanned<ServiceTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeoutsTable {
    tcp: Option<Spanned<i64>>,
    tcpfin: Option<Spanned<i64>>,
    udp: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkTable {
    mark: Spanned<i64>,
    source: Option<Spanned<String>>,
    destination: Option<Spanned<String>>,
    protocol: Option<Spanned<String>>,
    dport: Option<Spanned<String>>,
    interface: Option<Spanned<String>>,
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
    let document: Document =
        toml::from_str(text).map_err(|error| Fault::at(text, error.span(), one_line(error.message())))?;
    Reader { text }.configuration(document)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn fault(&self, span: Range<usize>, error: anyhow::Error) -> Fault {
        Fault::at(self.text, Some(span), format!("{error:#}"))
    }

    /// A value that `read` can make something of, or a fault where it stands.
    fn value<T, V>(&self, value: &Spanned<T>, read: impl FnOnce(&T) -> Result<V>) -> Result<V, Fault> {
        read(value.as_ref()).map_err(|error| self.fault(value.span(), error))
    }

    fn option<T, V>(
        &self,
        value: &Option<Spanned<T>>,
        read: impl FnOnce(&T) -> Result<V>,
    ) -> Result<Option<V>, Fault> {
        value.as_ref().map(|value| self.value(value, read)).transpose()
    }

    fn number(&self, value: &Option<Spanned<i64>>, least: u32, most: u32) -> Result<Option<u32>, Fault> {
        value.as_ref().map(|value| self.within(value, least, most)).transpose()
    }

    fn within(&self, value: &Spanned<i64>, least: u32, most: u32) -> Result<u32, Fault> {
        self.value(value, |number| {
            let read = u32::try_from(*number).ok().filter(|number| (least..=most).contains(number));
            read.ok_or_else(|| anyhow!("{number} is not a number from {least} to {most}"))
        })
    }

    fn configuration(&self, document: Document) -> Result<Configuration, Fault> {
        let timeouts = document.timeouts.map(|table| -> Result<_, Fault> {
            let seconds = |value: &_| Ok(self.number(value, 1, SECONDS)?.unwrap_or(0));
            Ok(Timeouts {
                tcp: seconds(&table.tcp)?,
                tcpfin: seconds(&table.tcpfin)?,
                udp: seconds(&table.udp)?,
            })
        });
        let pool = document.snat_pool.map(|pool| {
            let address = |text: &Spanned<String>| self.value(text, |text| parse_source(text));
            pool.iter().map(address).collect::<Result<Pool, _>>()
        });
        let marks = document.marks.as_deref().map(|marks| self.marks(marks));
        let sysctls = document.sysctls.iter().map(|(name, value)| -> Result<_, Fault> {
            let sysctl = self.value(name, |name| parse_sysctl(name))?;
            Ok((sysctl, self.within(value, 0, sysctl.most())?))
        });
        let sysctls = sysctls.collect::<Result<Sysctls, _>>()?;
        let mut seen = HashMap::new();
        let mut services = Vec::with_capacity(document.service.len());
        for table in &document.service {
            let service = self.service(table)?;
            if let Some(first) = seen.insert(service.name.key(), table.span()) {
                let first = Fault::at(self.text, Some(first), "").to_string();
                let line = first.split(':').next().unwrap_or("");
                return Err(self.fault(
                    table.span(),
                    anyhow!("service {} stands in line {line} already; remove one", service.name),
                ));
            }
            services.push(service);
        }
        Ok(Configuration {
            timeouts: timeouts.transpose()?,
            pool: pool.transpose()?,
            marks: marks.transpose()?,
            sysctls,
            services,
        })
    }

    fn marks(&self, tables: &[Spanned<MarkTable>]) -> Result<Vec<Rule>, Fault> {
        let (mut rules, mut seen) = (Vec::with_capacity(tables.len()), HashSet::new());
        for table in tables {
            let rule = self.mark(table.as_ref())?;
            mark::check_families(&rule).map_err(|error| self.fault(table.span(), error))?;
            if !seen.insert(mark::conditions(&rule)) {
                let again = anyhow!("a mark for the same packets stands here already; remove one");
                return Err(self.fault(table.span(), again));
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    fn mark(&self, table: &MarkTable) -> Result<Rule, Fault> {
        let prefix = |value: &_| {
            let prefix = self.option(value, |text: &String| mark::parse_prefix(text))?;
            Ok(prefix.unwrap_or((Address::UNSPECIFIED, 0)))
        };
        let (source, source_length) = prefix(&table.source)?;
        let (destination, destination_length) = prefix(&table.destination)?;
        let ports = self.option(&table.dport, |text| mark::parse_ports(text))?;
        let (first_port, last_port) = ports.unwrap_or((0, u16::MAX));
        Ok(Rule {
            mark: self.within(&table.mark, 1, u32::MAX)?,
            source,
            source_length,
            destination,
            destination_length,
            first_port,
            last_port,
            protocol: self.option(&table.protocol, |text| mark::parse_protocol(text))?.unwrap_or(0),
            name: self.option(&table.interface, |text| mark::parse_interface(text))?.unwrap_or_default(),
            ..mark::EVERYTHING
        })
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
