//! The order of rows: ipvsadm's, or by a figure.

use crate::{
    snapshot::{Backend, Service, Snapshot},
    spec::{Protocol, ServiceName},
};
use clap::ValueEnum;
use std::net::IpAddr;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Key {
    /// Address and port, as ipvsadm does.
    #[default]
    Address,
    /// Newest first: the order in which the schedulers see backends.
    None,
    /// Highest weight first.
    Weight,
    /// Most active connections first.
    Active,
    /// Most inactive connections first.
    Inactive,
    /// Most connections ever first.
    Conns,
    /// Most packets in first.
    Inpkts,
    /// Most packets out first.
    Outpkts,
    /// Most bytes in first.
    Inbytes,
    /// Most bytes out first.
    Outbytes,
}

impl Key {
    /// Sorts services, and the backends within each.
    pub fn sort(self, snapshot: &mut Snapshot) {
        match self {
            // Backends are read in this order.
            Self::None => snapshot.services.sort_by_key(|service| std::cmp::Reverse(service.born)),
            Self::Address => {
                sort(&mut snapshot.services, service_order);
                for service in &mut snapshot.services {
                    sort(&mut service.backends, backend_order);
                }
            }
            _ => {
                for service in &mut snapshot.services {
                    service.backends.sort_by_key(|backend| std::cmp::Reverse(self.of(backend)));
                }
                snapshot.services.sort_by_key(|service| std::cmp::Reverse(self.of_service(service)));
            }
        }
    }

    fn of(self, backend: &Backend) -> u64 {
        match self {
            Self::Address | Self::None => 0,
            Self::Weight => backend.weight.into(),
            Self::Active => backend.active.into(),
            Self::Inactive => backend.inactive.into(),
            Self::Conns => backend.stats.connections,
            Self::Inpkts => backend.stats.packets_in,
            Self::Outpkts => backend.stats.packets_out,
            Self::Inbytes => backend.stats.bytes_in,
            Self::Outbytes => backend.stats.bytes_out,
        }
    }

    fn of_service(self, service: &Service) -> u64 {
        match self {
            Self::Conns => service.stats.connections,
            Self::Inpkts => service.stats.packets_in,
            Self::Outpkts => service.stats.packets_out,
            Self::Inbytes => service.stats.bytes_in,
            Self::Outbytes => service.stats.bytes_out,
            _ => service.backends.iter().map(|backend| self.of(backend)).sum(),
        }
    }
}

/// The sign of a comparison as ipvsadm computes it: differences in 32 bits, which wrap, so that
/// 192.168.0.1 comes before 10.0.0.1. That is no order, hence [`sort`].
fn address_order(a: IpAddr, b: IpAddr) -> i32 {
    let words = |address: IpAddr| match address {
        IpAddr::V4(v4) => [v4.to_bits(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32]
        }
    };
    let length = if a.is_ipv4() { 1 } else { 4 };
    let differences = words(a).into_iter().zip(words(b)).take(length);
    differences.map(|(a, b)| a.wrapping_sub(b) as i32).find(|difference| *difference != 0).unwrap_or(0)
}

fn backend_order(a: &Backend, b: &Backend) -> i32 {
    match address_order(a.endpoint.address, b.endpoint.address) {
        0 => i32::from(a.endpoint.port) - i32::from(b.endpoint.port),
        different => different,
    }
}

fn service_order(a: &Service, b: &Service) -> i32 {
    let (a, b) = (a.name, b.name);
    // Of two marks one may look negative: what ipvsadm subtracts wraps as well.
    let mark = |name: ServiceName| name.key().mark;
    let family = |name: ServiceName| i32::from(name.is_ipv6());
    let protocol = |name: ServiceName| i32::from(name.protocol().map_or(0, Protocol::number));
    let address = |name: ServiceName| name.key().address.into();
    [
        mark(a).wrapping_sub(mark(b)) as i32,
        family(a) - family(b),
        protocol(a) - protocol(b),
        address_order(address(a), address(b)),
        i32::from(a.port()) - i32::from(b.port()),
    ]
    .into_iter()
    .find(|difference| *difference != 0)
    .unwrap_or(0)
}

/// Merge sort as glibc's `qsort` does it. With a comparison that is not transitive the result
/// depends on the algorithm, and the standard library's may panic.
fn sort<T: Clone>(rows: &mut [T], order: fn(&T, &T) -> i32) {
    if rows.len() < 2 {
        return;
    }
    let (left, right) = rows.split_at_mut(rows.len() / 2);
    sort(left, order);
    sort(right, order);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    for row in rows {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if order(a, b) <= 0 => left.next(),
            (Some(_), None) => left.next(),
            _ => right.next(),
        };
        if let Some(next) = next {
            *row = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::backend;

    fn sorted(input: &[&str]) -> Vec<String> {
        let mut rows: Vec<_> = input.iter().map(|text| backend(text)).collect();
        sort(&mut rows, backend_order);
        rows.iter().map(|row| row.endpoint.to_string()).collect()
    }

    #[test]
    fn ipvsadm_s_own_order() {
        // Recorded from ipvsadm 1.31: in is the kernel's order, out what it printed.
        let added = [
            "192.168.33.111:80",
            "192.168.33.113:80",
            "192.168.33.116:80",
            "192.168.33.117:80",
            "192.168.33.118:80",
            "192.168.33.119:8080",
            "192.168.33.120:80",
            "192.168.33.121:80",
            "192.168.33.122:80",
            "[fd00:33::111]:80",
            "192.168.33.100:80",
            "127.0.0.1:80",
            "10.99.99.99:80",
        ];
        let newest_first: Vec<_> = added.into_iter().rev().collect();
        assert_eq!(
            sorted(&newest_first),
            [
                "192.168.33.111:80",
                "192.168.33.113:80",
                "192.168.33.116:80",
                "192.168.33.117:80",
                "192.168.33.118:80",
                "192.168.33.119:8080",
                "192.168.33.120:80",
                "192.168.33.121:80",
                "192.168.33.122:80",
                "[fd00:33::111]:80",
                "10.99.99.99:80",
                "127.0.0.1:80",
                "192.168.33.100:80",
            ]
        );
    }

    #[test]
    fn ports_come_after_addresses() {
        assert_eq!(
            sorted(&["10.0.0.2:80", "10.0.0.1:443", "10.0.0.1:80"]),
            ["10.0.0.1:80", "10.0.0.1:443", "10.0.0.2:80"]
        );
        assert_eq!(sorted(&["10.0.0.1:80", "192.168.0.1:80"]), ["192.168.0.1:80", "10.0.0.1:80"], "it wraps");
    }
}
