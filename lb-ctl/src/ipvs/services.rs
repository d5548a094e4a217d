//! Services, backends, timeouts and sysctls, by generic netlink (`net/netfilter/ipvs/ip_vs_ctl.c`,
//! `include/uapi/linux/ip_vs.h`).

use crate::{
    configuration::{Backend, Configuration, Service},
    program::netlink::{self, attribute, attributes, bytes, text},
    spec::{Endpoint, ServiceName, ipv4_mask, ipv6_mask},
    store::{MemberSettings, Schedule, Sysctls, Timeouts},
};
use anyhow::{Context as _, Result, bail};
use lb_common::{
    address::Address,
    backend::method,
    limits::WEIGHT,
    scheduler::Scheduler,
    service::{ServiceKey, engine},
    sysctl::Sysctl,
    tunnel::Tunnel,
};
use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// `IPVS_CMD_*`.
mod command {
    pub const GET_SERVICE: u8 = 4;
    pub const GET_DEST: u8 = 8;
    pub const GET_CONFIG: u8 = 13;
}

/// `IPVS_CMD_ATTR_*`.
mod top {
    pub const SERVICE: u16 = 1;
    pub const DEST: u16 = 2;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`.
mod service {
    pub const FAMILY: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const ADDRESS: u16 = 3;
    pub const PORT: u16 = 4;
    pub const MARK: u16 = 5;
    pub const SCHEDULER: u16 = 6;
    pub const FLAGS: u16 = 7;
    pub const TIMEOUT: u16 = 8;
    pub const NETMASK: u16 = 9;
    pub const ENGINE: u16 = 11;
}

/// `IPVS_DEST_ATTR_*`.
mod dest {
    pub const ADDRESS: u16 = 1;
    pub const PORT: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const WEIGHT: u16 = 4;
    pub const UPPER: u16 = 5;
    pub const LOWER: u16 = 6;
    pub const FAMILY: u16 = 11;
    pub const TUNNEL_KIND: u16 = 13;
    pub const TUNNEL_PORT: u16 = 14;
    pub const TUNNEL_FLAGS: u16 = 15;
}

/// `IP_VS_SVC_F_*`; the three scheduler flags follow one another.
mod flags {
    pub const PERSISTENT: u32 = 1;
    pub const ONE_PACKET: u32 = 4;
    pub const SCHEDULER_SHIFT: u32 = 3;
    pub const SCHEDULER_MASK: u32 = 7;
}

/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;

type Attributes<'a> = HashMap<u16, &'a [u8]>;

/// All that IPVS is configured to do in this network namespace.
pub fn configuration() -> Result<Configuration> {
    let Some(family) = netlink::generic_family("IPVS") else {
        bail!("this kernel runs no IPVS, so there is nothing to import (modprobe ip_vs, if it should)");
    };
    let mut services = Vec::new();
    for answer in netlink::generic_dump(family, command::GET_SERVICE, vec![])? {
        let answer = attributes(&answer);
        let about = attributes(answer.get(&top::SERVICE).context("IPVS told of a service without one")?);
        let (name, schedule) = read_service(&about)?;
        let question = attribute(top::SERVICE | NESTED, &selector(&about));
        let mut backends = Vec::new();
        for answer in netlink::generic_dump(family, command::GET_DEST, question)? {
            let answer = attributes(&answer);
            let about = answer.get(&top::DEST).context("IPVS told of a backend without one")?;
            let backend = read_backend(&attributes(about));
            backends.push(backend.with_context(|| format!("a backend of {name}"))?);
        }
        // The kernel's list is newest first.
        backends.reverse();
        services.push(Service { name, schedule, backends });
    }
    Ok(Configuration {
        marks: None,
        timeouts: Some(read_timeouts(family)?),
        pool: None,
        sysctls: read_sysctls(),
        services,
    })
}

/// The attributes that select a service in a question, as they came.
fn selector(about: &Attributes) -> Vec<u8> {
    let kinds = if about.contains_key(&service::MARK) {
        &[service::FAMILY, service::MARK][..]
    } else {
        &[service::FAMILY, service::PROTOCOL, service::ADDRESS, service::PORT]
    };
    kinds.iter().flat_map(|kind| about.get(kind).map(|value| attribute(*kind, value))).flatten().collect()
}

fn number(about: &Attributes, kind: u16) -> Option<u32> {
    about.get(&kind).and_then(|value| bytes(value)).map(u32::from_ne_bytes)
}

/// A 16-bit number; ports are in network order.
fn short(about: &Attributes, kind: u16) -> Option<u16> {
    about.get(&kind).and_then(|value| bytes(value)).map(u16::from_ne_bytes)
}

fn address(value: &[u8], family: u16) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(Ipv4Addr::from(bytes::<4>(value)?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(bytes::<16>(value)?).into()),
        _ => None,
    }
}

fn read_service(about: &Attributes) -> Result<(ServiceName, Schedule)> {
    let family = short(about, service::FAMILY).context("IPVS told of a service without a family")?;
    let ipv6 = i32::from(family) == libc::AF_INET6;
    let key = match number(about, service::MARK).filter(|mark| *mark != 0) {
        Some(mark) => ServiceKey { mark, protocol: if ipv6 { 6 } else { 4 }, ..ServiceKey::default() },
        None => ServiceKey {
            address: about
                .get(&service::ADDRESS)
                .and_then(|value| address(value, family))
                .context("IPVS told of a service without an address")?
                .into(),
            port: short(about, service::PORT).unwrap_or_default(),
            protocol: short(about, service::PROTOCOL).unwrap_or_default() as u8,
            ..ServiceKey::default()
        },
    };
    let name = ServiceName::from(key);
    let scheduler = about.get(&service::SCHEDULER).map(|name| text(name)).unwrap_or_default();
    let Some(scheduler) = Scheduler::from_name(&scheduler) else {
        bail!("service {name}: there is no scheduler '{scheduler}' here");
    };
    let engine = match about.get(&service::ENGINE).map(|name| text(name)).unwrap_or_default().as_str() {
        "" => engine::NONE,
        "sip" => engine::SIP,
        other => bail!("service {name}: there is no persistence engine '{other}' here"),
    };
    let set = number(about, service::FLAGS).unwrap_or_default();
    let timeout = number(about, service::TIMEOUT).unwrap_or_default();
    let persistence = if set & flags::PERSISTENT != 0 { timeout } else { 0 };
    let schedule = Schedule {
        scheduler: Some(scheduler),
        flags: Some((set >> flags::SCHEDULER_SHIFT & flags::SCHEDULER_MASK) as u8),
        persistence: Some(persistence),
        mask: Some(mask(about, ipv6)),
        engine: Some(engine),
        one_packet: Some(set & flags::ONE_PACKET != 0),
        full_nat: Some(false),
        toa: Some(false),
    };
    Ok((name, schedule))
}

/// Bits in network order for IPv4, a prefix length in host order for IPv6.
fn mask(about: &Attributes, ipv6: bool) -> Address {
    let Some(value) = about.get(&service::NETMASK).and_then(|value| bytes::<4>(value)) else {
        return Address::ALL;
    };
    match ipv6 {
        true => ipv6_mask(u32::from_ne_bytes(value).min(128) as u8),
        false => ipv4_mask(value.into()),
    }
}

fn read_backend(about: &Attributes) -> Result<Backend> {
    // Kernels before 3.18 had no family of its own here.
    let value = about.get(&dest::ADDRESS).context("IPVS told of a backend without an address")?;
    let family = short(about, dest::FAMILY).unwrap_or(libc::AF_INET as u16);
    let method = number(about, dest::METHOD).unwrap_or_default();
    if method > method::ROUTE {
        bail!("forwarding method {method} is not one of IPVS's four");
    }
    let weight = number(about, dest::WEIGHT).unwrap_or_default();
    if weight > WEIGHT {
        bail!("weight {weight} is more than {WEIGHT}, the most there is here: ipvsadm -e with a smaller one");
    }
    let tunnel = Tunnel {
        kind: about.get(&dest::TUNNEL_KIND).and_then(|value| value.first()).copied().unwrap_or_default(),
        flags: short(about, dest::TUNNEL_FLAGS).unwrap_or_default() as u8,
        port: short(about, dest::TUNNEL_PORT).unwrap_or_default(),
    };
    Ok(Backend {
        endpoint: Endpoint {
            address: address(value, family).context("an address of no known family")?,
            port: u16::from_be(short(about, dest::PORT).unwrap_or_default()),
        },
        settings: MemberSettings {
            weight: Some(weight),
            upper: number(about, dest::UPPER),
            lower: number(about, dest::LOWER),
            method: Some(method),
            tunnel: Some(tunnel),
        },
    })
}

fn read_timeouts(family: u16) -> Result<Timeouts> {
    let answers = netlink::generic_get(family, command::GET_CONFIG, vec![])?;
    let answer = answers.first().context("IPVS did not tell its timeouts")?;
    let about = attributes(answer);
    let of = |kind| number(&about, kind).unwrap_or_default();
    Ok(Timeouts { tcp: of(top::TIMEOUT_TCP), tcpfin: of(top::TIMEOUT_TCP_FIN), udp: of(top::TIMEOUT_UDP) })
}

/// Those that this kernel has. Where it takes more than is possible here, the most that is.
fn read_sysctls() -> Sysctls {
    let value = |sysctl: &Sysctl| -> Option<u32> {
        fs::read_to_string(format!("/proc/sys/net/ipv4/vs/{}", sysctl.name())).ok()?.trim().parse().ok()
    };
    let values = Sysctl::ALL.iter().map(|sysctl| Some((*sysctl, value(sysctl)?.min(sysctl.most()))));
    values.flatten().collect()
}
