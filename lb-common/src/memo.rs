//! What a CPU remembers of the map of services: where the last keys led that it has looked up, services or not.

use crate::service::ServiceKey;
use bytemuck::{Pod, Zeroable};

/// Keys that a CPU remembers at the same time; a power of two.
pub const MEMOS: u32 = 1 << MEMO_BITS;
const MEMO_BITS: u32 = 8;

/// Where a key led. All zero is no key's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Memo {
    /// The key.
    pub key: ServiceKey,
    /// Place of the service's record, from 1; 0 for no service.
    pub record: u32,
    /// [`crate::settings::Settings::version`] of the map of services.
    pub version: u32,
}

const _: () = assert!(size_of::<Memo>() == 32);

/// The place of a key's memo. By the golden ratio, so that addresses in a row and their ports lie apart.
#[inline(always)]
pub const fn place(key: &ServiceKey) -> u32 {
    let mixed = key.address.words[1] ^ key.address.words[0] ^ key.port as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - MEMO_BITS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, net::IpAddr};

    #[test]
    fn services_of_neighbouring_addresses_have_places_of_their_own() {
        let of = |address: IpAddr, port: u16| ServiceKey {
            address: address.into(),
            port: port.to_be(),
            protocol: 6,
            ..ServiceKey::default()
        };
        for first in ["192.168.2.0", "2001:db8::"] {
            let first: IpAddr = first.parse().unwrap();
            let addresses = (0..16).map(|number| match first {
                IpAddr::V4(first) => IpAddr::V4((first.to_bits() + number).into()),
                IpAddr::V6(first) => IpAddr::V6((first.to_bits() + u128::from(number)).into()),
            });
            let places: HashSet<_> =
                addresses.flat_map(|address| [80, 443].map(|port| place(&of(address, port)))).collect();
            assert!(places.len() >= 28, "{}", places.len());
        }
    }
}
