//! Services for the tests of the listings.

use crate::{
    snapshot::{Backend, Service, Snapshot},
    spec::{Endpoint, Protocol, ServiceName},
};
use lb_common::{
    address::Address, backend::method, scheduler::Scheduler, service::engine, traffic::Traffic,
    tunnel::Tunnel,
};

pub fn backend(text: &str) -> Backend {
    let (address, port) = Endpoint::parse(text, Protocol::Tcp).unwrap();
    Backend {
        endpoint: Endpoint { address, port: port.unwrap() },
        method: method::NAT,
        tunnel: Tunnel::default(),
        weight: 1,
        upper: 0,
        lower: 0,
        active: 0,
        inactive: 5,
        persistent: 0,
        stats: traffic([0; 5]),
        rates: traffic([0; 5]),
    }
}

pub fn traffic([connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) -> Traffic {
    Traffic { connections, packets_in, packets_out, bytes_in, bytes_out }
}

pub fn service(name: &str, scheduler: Scheduler, backends: &[&str]) -> Service {
    Service {
        name: name.parse::<ServiceName>().unwrap(),
        scheduler,
        scheduler_flags: 0,
        persistence: 0,
        mask: Address::ALL,
        engine: engine::NONE,
        one_packet: false,
        full_nat: false,
        toa: false,
        born: 1,
        stats: traffic([0; 5]),
        rates: traffic([0; 5]),
        backends: backends.iter().map(|text| backend(text)).collect(),
    }
}

/// The services of the recorded session "ten requests", with their counters and rates.
pub fn ten_requests() -> Snapshot {
    let mut http =
        service("tcp 192.168.2.200:80", Scheduler::Wlc, &["192.168.33.111:80", "192.168.33.112:80"]);
    http.stats = traffic([10, 60, 40, 3970, 3770]);
    http.rates = traffic([0, 2 << 10, 2 << 10, 157 << 5, 149 << 5]);
    for backend in &mut http.backends {
        backend.stats = traffic([5, 30, 20, 1985, 1885]);
        backend.rates = traffic([0, 1 << 10, (1 << 10) - 0x1ff, 78 << 5, (75 << 5) - 0xf]);
    }
    Snapshot { services: vec![http] }
}

/// What a listing writes.
pub fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = vec![];
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}
