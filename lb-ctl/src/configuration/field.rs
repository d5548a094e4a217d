//! The names of settings and their text: the one place that the writer and the differences share.
//! [`super::document`] reads the same names.

use super::{Backend, Service};
use crate::{
    spec::{ServiceName, engine_name, flags_text, mark, mask_text, tunnel_name},
    store::{Pool, Sysctls, Timeouts},
};
use lb_common::{
    address::Address,
    backend::method,
    mark::Rule,
    scheduler::Scheduler,
    tunnel::{Tunnel, flags, kind},
};
use std::fmt::Write as _;

/// A setting: its name, its text as TOML, and whether it is what holds when it is not written.
pub struct Field {
    /// Its name in a file.
    pub name: &'static str,
    /// Its value in a file.
    pub text: String,
    /// Whether it need not be written.
    pub is_default: bool,
}

fn field(name: &'static str, text: impl ToString, is_default: bool) -> Field {
    Field { name, text: text.to_string(), is_default }
}

/// Text that holds neither quotes nor backslashes.
fn quoted(text: impl std::fmt::Display) -> String {
    format!("\"{text}\"")
}

/// The methods, by their names in a file.
pub const METHODS: [(u32, &str); 4] = [
    (method::NAT, "masquerading"),
    (method::ROUTE, "gatewaying"),
    (method::TUNNEL, "ipip"),
    (method::LOCAL, "local"),
];

/// Checksums of a tunnel, by their names in a file.
pub const CHECKSUMS: [(u8, &str); 3] = [(0, "none"), (flags::CSUM, "full"), (flags::REMCSUM, "remote")];

/// What selects a service, as fields.
pub fn name(name: ServiceName) -> Vec<Field> {
    match name {
        ServiceName::Address { protocol, endpoint } => vec![field(protocol.name(), quoted(endpoint), false)],
        ServiceName::Mark { mark, ipv6 } => vec![field("mark", mark, false), field("ipv6", ipv6, !ipv6)],
    }
}

/// All of a service but its name and its backends.
pub fn service(service: &Service) -> Vec<Field> {
    let schedule = service.schedule;
    let scheduler = schedule.scheduler.unwrap_or(Scheduler::Wlc);
    let flags = schedule.flags.unwrap_or(0);
    let persistence = schedule.persistence.unwrap_or(0);
    let mask = mask_text(schedule.mask.unwrap_or(Address::ALL), service.name.is_ipv6());
    let engine = schedule.engine.and_then(engine_name);
    let [one_packet, full_nat, toa] =
        [schedule.one_packet, schedule.full_nat, schedule.toa].map(|asked| asked.unwrap_or(false));
    vec![
        field("scheduler", quoted(scheduler.name()), false),
        field("flags", quoted(flags_text(scheduler, flags)), flags == 0),
        field("persistence", persistence, persistence == 0),
        field("netmask", quoted(mask.as_deref().unwrap_or("")), mask.is_none()),
        field("engine", quoted(engine.unwrap_or("")), engine.is_none()),
        field("one-packet", one_packet, !one_packet),
        field("fullnat", full_nat, !full_nat),
        field("toa", toa, !toa),
    ]
}

/// All of a backend but its address.
pub fn backend(backend: &Backend) -> Vec<Field> {
    let settings = backend.settings;
    let method = settings.method.unwrap_or(method::NAT);
    let method = METHODS.iter().find(|(number, _)| *number == method).map_or("", |(_, name)| name);
    let number = |value: Option<u32>| value.unwrap_or(0);
    let (upper, lower) = (number(settings.upper), number(settings.lower));
    let tunnel = settings.tunnel.unwrap_or_default();
    vec![
        field("method", quoted(method), false),
        field("weight", number(settings.weight), false),
        field("upper", upper, upper == 0),
        field("lower", lower, lower == 0),
        field("tunnel", tunnel_text(tunnel), tunnel == Tunnel::default()),
    ]
}

fn tunnel_text(tunnel: Tunnel) -> String {
    let mut text = format!("{{ type = \"{}\"", tunnel_name(tunnel.kind));
    if tunnel.kind == kind::GUE {
        let _ = write!(text, ", port = {}", u16::from_be(tunnel.port));
    }
    if let Some((_, name)) = CHECKSUMS[1..].iter().find(|(number, _)| *number == tunnel.flags) {
        let _ = write!(text, ", checksum = \"{name}\"");
    }
    text + " }"
}

/// The timeouts, in seconds.
pub fn timeouts(timeouts: Timeouts) -> Vec<Field> {
    vec![
        field("tcp", timeouts.tcp, false),
        field("tcpfin", timeouts.tcpfin, false),
        field("udp", timeouts.udp, false),
    ]
}

/// The pool of full NAT.
pub fn pool(pool: &Pool) -> Field {
    let addresses: Vec<_> = pool.iter().map(quoted).collect();
    field("snat-pool", format!("[{}]", addresses.join(", ")), false)
}

/// A rule of firewall marks, as an inline table.
pub fn mark(rule: &Rule) -> String {
    let mut text = format!("{{ mark = {}", rule.mark);
    for (name, value) in [
        ("source", mark::prefix_text(rule.source, rule.source_length)),
        ("destination", mark::prefix_text(rule.destination, rule.destination_length)),
        ("protocol", mark::protocol_text(rule)),
        ("dport", mark::ports_text(rule)),
        ("interface", mark::interface_text(rule)),
    ] {
        if let Some(value) = value {
            // An interface may have quotes in its name.
            let _ = write!(text, ", {name} = {}", toml::Value::String(value));
        }
    }
    text + " }"
}

/// The sysctls that are named.
pub fn sysctls(sysctls: &Sysctls) -> Vec<Field> {
    sysctls.iter().map(|(sysctl, value)| field(sysctl.name(), value, false)).collect()
}
