//! Puts what the real balancer had counted into the maps of ours.

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use lb_common::{
    address::Address,
    backend::{ACTIVE, Backend, INACTIVE, Member},
    protocol,
    service::{Service, ServiceKey},
    settings::{Settings, Table},
    traffic::{Rates, Traffic},
};
use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The maps of the balancer that is pinned below a BPF file system.
pub struct Figures {
    pins: PathBuf,
}

impl Figures {
    /// Of the only load there.
    pub fn of(file_system: &Path) -> Self {
        let pins = fs::read_dir(file_system.join("lb")).unwrap().next().unwrap().unwrap().path();
        Self { pins }
    }

    /// Takes a line of a recording: `KIND SERVICE SERVER NUMBERS`. Whether there is such a server.
    pub fn set(&self, line: &str) -> bool {
        let mut words: Vec<_> = line.split(' ').collect();
        // `mark 6 IPv6` has a word more.
        let has_family = words[3] == "IPv6";
        let family = has_family.then(|| words.remove(3));
        let [kind, selector, service, server, ..] = words[..] else { panic!("{line}") };
        let key = key(selector, service, family.is_some());
        let numbers: Vec<u64> = words[4..].iter().map(|word| word.parse().unwrap()).collect();
        if kind == "total" {
            return self.set_total(&key, traffic(&numbers)).is_some();
        }
        let Some(slot) = self.slot(&key, &endpoint(server)) else {
            return false;
        };
        match (kind, &numbers[..]) {
            ("connections", [active, inactive]) => {
                self.edit("BACKENDS", slot, |backend: &mut Backend| {
                    backend.connections = active * ACTIVE + inactive * INACTIVE;
                });
            }
            ("templates", [count]) => {
                self.edit("BACKENDS", slot, |backend: &mut Backend| backend.persistent = *count as u32);
            }
            ("traffic", numbers) => {
                // What is shown is what the packets counted less the baseline.
                let carried = self.carried(slot);
                let shown = traffic(numbers);
                self.edit("BASELINE", slot, |baseline: &mut Traffic| *baseline = less(carried, shown));
            }
            ("rates", numbers) => {
                let Traffic { connections, packets_in, packets_out, bytes_in, bytes_out } = traffic(numbers);
                self.edit("RATES", slot, |rates: &mut Rates| {
                    let last = rates.last;
                    *rates = Rates { last, connections, packets_in, packets_out, bytes_in, bytes_out };
                });
            }
            _ => panic!("{line}"),
        }
        true
    }

    /// What a service is shown to have carried: its backends, removed ones included, and the residue.
    fn set_total(&self, key: &ServiceKey, shown: Traffic) -> Option<()> {
        let id = self.record(key)?.id;
        let slots = self.get::<Table>("TABLE", 0).backends;
        let own = (0..slots).filter(|slot| self.get::<Backend>("BACKENDS", *slot).service == id);
        let carried = own.fold(Traffic::default(), |sum, slot| {
            let stats = less(self.carried(slot), self.get("BASELINE", slot));
            less(sum, less(Traffic::default(), stats))
        });
        self.edit("RESIDUE", id, |residue: &mut Traffic| *residue = less(shown, carried));
        Some(())
    }

    fn record(&self, key: &ServiceKey) -> Option<Service> {
        let services: HashMap<_, ServiceKey, u32> =
            HashMap::try_from(Map::HashMap(self.open("SERVICES"))).unwrap();
        let bank = self.get::<Settings>("SETTINGS", 0).bank as u8;
        Some(self.get("RECORDS", services.get(&ServiceKey { bank, ..*key }, 0).ok()?))
    }

    fn slot(&self, key: &ServiceKey, (address, port): &(Address, u16)) -> Option<u32> {
        let record = self.record(key)?;
        (record.first..record.first + record.count)
            .map(|position| self.get::<Member>("MEMBERS", position).backend)
            .find(|slot| {
                let backend: Backend = self.get("BACKENDS", *slot);
                (backend.address, backend.port) == (*address, *port)
            })
    }

    fn carried(&self, slot: u32) -> Traffic {
        let map = PerCpuArray::<_, Traffic>::try_from(Map::PerCpuArray(self.open("TRAFFIC"))).unwrap();
        let none = Traffic::default();
        map.get(&slot, 0).unwrap().iter().fold(none, |sum, one| less(sum, less(none, *one)))
    }

    fn open(&self, name: &str) -> MapData {
        MapData::from_pin(self.pins.join(name)).unwrap()
    }

    fn get<T: aya::Pod>(&self, name: &str, index: u32) -> T {
        Array::try_from(Map::Array(self.open(name))).unwrap().get(&index, 0).unwrap()
    }

    fn edit<T: aya::Pod>(&self, name: &str, index: u32, edit: impl FnOnce(&mut T)) {
        let mut value = self.get(name, index);
        edit(&mut value);
        Array::try_from(Map::Array(self.open(name))).unwrap().set(index, value, 0).unwrap();
    }
}

fn key(selector: &str, service: &str, ipv6: bool) -> ServiceKey {
    if selector == "mark" {
        let protocol = if ipv6 { 6 } else { 4 };
        return ServiceKey { mark: service.parse().unwrap(), protocol, ..ServiceKey::default() };
    }
    let (address, port) = endpoint(service);
    let protocol = match selector {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        _ => protocol::SCTP,
    };
    ServiceKey { address, port, protocol, ..ServiceKey::default() }
}

/// Address and port in network order.
fn endpoint(text: &str) -> (Address, u16) {
    let (address, port) = text.rsplit_once(':').unwrap();
    let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
    (address.into(), port.parse::<u16>().unwrap().to_be())
}

fn traffic(numbers: &[u64]) -> Traffic {
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = *numbers else { panic!("{numbers:?}") };
    Traffic { connections, packets_in, packets_out, bytes_in, bytes_out }
}

fn less(a: Traffic, b: Traffic) -> Traffic {
    Traffic {
        connections: a.connections.wrapping_sub(b.connections),
        packets_in: a.packets_in.wrapping_sub(b.packets_in),
        packets_out: a.packets_out.wrapping_sub(b.packets_out),
        bytes_in: a.bytes_in.wrapping_sub(b.bytes_in),
        bytes_out: a.bytes_out.wrapping_sub(b.bytes_out),
    }
}
