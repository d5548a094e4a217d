//! The listings for programs.

use super::{connections, rate::shown};
use crate::{
    snapshot::{Backend, Service, Snapshot},
    spec::{Endpoint, Protocol, ServiceName, engine_name, flags_text, mask_text, protocol_name, tunnel_name},
    store::Timeouts,
};
use lb_common::{
    backend::method,
    connection::Connection,
    traffic::Traffic,
    tunnel::{self, Tunnel},
};
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use std::io::{self, Write};

#[derive(Serialize)]
struct Json {
    size: u32,
    timeouts: Timeouts,
    services: Vec<JsonService>,
}

#[derive(Serialize)]
struct JsonService {
    protocol: &'static str,
    #[serde(flatten)]
    selector: JsonSelector,
    scheduler: &'static str,
    flags: Vec<String>,
    persistence: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'static str>,
    one_packet: bool,
    full_nat: bool,
    toa: bool,
    stats: JsonStats,
    rates: JsonRates,
    backends: Vec<JsonBackend>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum JsonSelector {
    Address { address: std::net::IpAddr, port: u16 },
    Mark { mark: u32, ipv6: bool },
}

#[derive(Serialize)]
struct JsonBackend {
    address: std::net::IpAddr,
    port: u16,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<JsonTunnel>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    active_connections: u32,
    inactive_connections: u32,
    persistent_connections: u32,
    stats: JsonStats,
    rates: JsonRates,
}

#[derive(Serialize)]
struct JsonTunnel {
    r#type: &'static str,
    port: u16,
    checksum: bool,
    remote_checksum: bool,
}

#[derive(Serialize)]
struct JsonStats {
    connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Serialize)]
struct JsonRates {
    connections_per_second: u64,
    packets_in_per_second: u64,
    packets_out_per_second: u64,
    bytes_in_per_second: u64,
    bytes_out_per_second: u64,
}

#[derive(Serialize)]
struct JsonConnection<'a> {
    protocol: &'a str,
    state: &'a str,
    expires: u32,
    client: std::net::IpAddr,
    client_port: u16,
    service: std::net::IpAddr,
    service_port: u16,
    backend: std::net::IpAddr,
    backend_port: u16,
    /// What the backend sees as the client, by full NAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
}

impl From<&Service> for JsonService {
    fn from(of: &Service) -> Self {
        let flags = flags_text(of.scheduler, of.scheduler_flags);
        Self {
            protocol: of.name.protocol().map_or("mark", Protocol::name),
            selector: match of.name {
                ServiceName::Address { endpoint: Endpoint { address, port }, .. } => {
                    JsonSelector::Address { address, port }
                }
                ServiceName::Mark { mark, ipv6 } => JsonSelector::Mark { mark: mark.get(), ipv6 },
            },
            scheduler: of.scheduler.name(),
            flags: flags.split(',').filter(|flag| !flag.is_empty()).map(str::to_owned).collect(),
            persistence: of.persistence,
            mask: mask_text(of.mask, of.name.is_ipv6()),
            engine: engine_name(of.engine),
            one_packet: of.one_packet,
            full_nat: of.full_nat,
            toa: of.toa,
            stats: of.stats.into(),
            rates: JsonRates::of(of.rates),
            backends: of.backends.iter().map(JsonBackend::from).collect(),
        }
    }
}

impl From<&Backend> for JsonBackend {
    fn from(of: &Backend) -> Self {
        Self {
            address: of.endpoint.address,
            port: of.endpoint.port,
            method: match of.method {
                method::LOCAL => "local",
                method::TUNNEL => "tunnel",
                method::ROUTE => "route",
                _ => "masq",
            },
            tunnel: (of.method == method::TUNNEL).then(|| of.tunnel.into()),
            weight: of.weight,
            upper_threshold: of.upper,
            lower_threshold: of.lower,
            active_connections: of.active,
            inactive_connections: of.inactive,
            persistent_connections: of.persistent,
            stats: of.stats.into(),
            rates: JsonRates::of(of.rates),
        }
    }
}

impl From<Tunnel> for JsonTunnel {
    fn from(of: Tunnel) -> Self {
        Self {
            r#type: tunnel_name(of.kind),
            port: u16::from_be(of.port),
            checksum: of.flags & tunnel::flags::CSUM != 0,
            remote_checksum: of.flags & tunnel::flags::REMCSUM != 0,
        }
    }
}

impl From<Traffic> for JsonStats {
    fn from(of: Traffic) -> Self {
        let Traffic { connections, packets_in, packets_out, bytes_in, bytes_out } = of;
        Self { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

impl JsonRates {
    fn of(rates: Traffic) -> Self {
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = shown(rates);
        Self {
            connections_per_second: connections,
            packets_in_per_second: packets_in,
            packets_out_per_second: packets_out,
            bytes_in_per_second: bytes_in,
            bytes_out_per_second: bytes_out,
        }
    }
}

/// Services with everything that the tables show.
pub fn write(out: &mut impl Write, snapshot: &Snapshot, size: u32, timeouts: Timeouts) -> io::Result<()> {
    let services = snapshot.services.iter().map(JsonService::from).collect();
    serde_json::to_writer_pretty(&mut *out, &Json { size, timeouts, services })?;
    writeln!(out)
}

/// Connections, one after the other: an array that is never in memory as a whole. `source_of` says what the
/// backend sees, where that is not the client.
pub fn write_connections(
    out: &mut impl Write,
    now: u32,
    source_of: impl Fn(&Connection) -> Option<Endpoint>,
    each: impl FnOnce(&mut dyn FnMut(&Connection) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::new(&mut *out);
    let mut rows = serializer.serialize_seq(None)?;
    each(&mut |connection| {
        let [client, service, backend] = [
            (connection.client, connection.client_port),
            (connection.service, connection.service_port),
            (connection.backend, connection.backend_port),
        ]
        .map(|(address, port)| connections::endpoint(address, port));
        rows.serialize_element(&JsonConnection {
            protocol: protocol_name(connection.protocol),
            state: connections::word(connection),
            expires: connections::left(connection, now),
            client: client.address,
            client_port: client.port,
            service: service.address,
            service_port: service.port,
            backend: backend.address,
            backend_port: backend.port,
            source: source_of(connection).map(|source| source.address),
            source_port: source_of(connection).map(|source| source.port),
        })?;
        Ok(())
    })?;
    rows.end()?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{ten_requests, written};

    #[test]
    fn services_have_what_the_tables_show() {
        let timeouts = Timeouts { tcp: 900, tcpfin: 120, udp: 300 };
        let text = written(|out| write(out, &ten_requests(), 4096, timeouts));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["timeouts"]["tcpfin"], 120);
        let service = &value["services"][0];
        assert_eq!(service["address"], "192.168.2.200");
        assert_eq!(service["stats"]["bytes_in"], 3970);
        assert_eq!(service["flags"], serde_json::json!([]));
        assert_eq!(service["backends"][1]["rates"]["bytes_out_per_second"], 75);
        assert_eq!(service["backends"][1]["method"], "masq");
    }

    #[test]
    fn no_connection_is_an_empty_array() {
        assert_eq!(written(|out| write_connections(out, 0, |_| None, |_| Ok(()))), "[]\n");
    }
}
