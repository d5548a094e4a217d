//! IP addresses as data: one 16-byte form for both families.

use bytemuck::{Pod, Zeroable};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv6 address, or an IPv4 address in its v4-mapped form (RFC 4291 §2.5.5.2), network order.
///
/// Two machine words rather than bytes, because BPF has no unaligned loads: as bytes, comparing two
/// addresses would cost thirty-two loads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Address {
    /// Bytes 0..8 and 8..16, as they lie in memory.
    pub words: [u64; 2],
}

const _: () = assert!(size_of::<Address>() == 16);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Address {}

/// `00 00 ff ff` in front of an IPv4 address, as the four bytes lie in memory.
const MAPPED: u64 = u32::from_ne_bytes([0, 0, 0xff, 0xff]) as u64;

impl Address {
    /// `::`, which no packet of a connection carries.
    pub const UNSPECIFIED: Self = Self { words: [0, 0] };

    /// The mask that keeps every bit.
    pub const ALL: Self = Self { words: [u64::MAX; 2] };

    /// The bits that a mask keeps.
    #[inline(always)]
    pub const fn masked(self, mask: Self) -> Self {
        Self { words: [self.words[0] & mask.words[0], self.words[1] & mask.words[1]] }
    }

    /// From the four bytes of an IPv4 address as loaded from a packet.
    #[inline(always)]
    pub const fn from_ipv4(raw: u32) -> Self {
        #[cfg(target_endian = "little")]
        let low = MAPPED | (raw as u64) << 32;
        #[cfg(target_endian = "big")]
        let low = MAPPED << 32 | raw as u64;
        Self { words: [0, low] }
    }

    /// From the first four bytes, the rest being zero.
    #[inline(always)]
    pub const fn from_first(raw: u32) -> Self {
        #[cfg(target_endian = "little")]
        let high = raw as u64;
        #[cfg(target_endian = "big")]
        let high = (raw as u64) << 32;
        Self { words: [high, 0] }
    }

    /// The four bytes of an IPv4 address as they go into a packet. Meaningless for IPv6.
    #[inline(always)]
    pub const fn ipv4(self) -> u32 {
        #[cfg(target_endian = "little")]
        return (self.words[1] >> 32) as u32;
        #[cfg(target_endian = "big")]
        return self.words[1] as u32;
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_ipv4(self) -> bool {
        self.words[0] == 0 && self.ipv4_prefix() == MAPPED
    }

    const fn ipv4_prefix(self) -> u64 {
        #[cfg(target_endian = "little")]
        return self.words[1] & 0xffff_ffff;
        #[cfg(target_endian = "big")]
        return self.words[1] >> 32;
    }

    /// The sixteen bytes in network order.
    pub fn octets(self) -> [u8; 16] {
        bytemuck::cast(self.words)
    }
}

impl From<[u8; 16]> for Address {
    fn from(octets: [u8; 16]) -> Self {
        Self { words: bytemuck::cast(octets) }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from_ipv4(u32::from_ne_bytes(v4.octets())),
            IpAddr::V6(v6) => v6.octets().into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_ipv4() {
            Ipv4Addr::from(address.ipv4().to_ne_bytes()).into()
        } else {
            Ipv6Addr::from(address.octets()).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["192.168.2.200", "0.0.0.0", "255.255.255.255", "2001:db8::80", "::", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
            assert_eq!(Address::from(ip).is_ipv4(), ip.is_ipv4());
        }
    }

    #[test]
    fn a_mask_keeps_its_bits() {
        let address = Address::from(IpAddr::from([192, 168, 2, 200]));
        assert_eq!(address.masked(Address::ALL), address);
        let mut mask = Address::ALL.octets();
        mask[15] = 0;
        assert_eq!(address.masked(mask.into()), Address::from(IpAddr::from([192, 168, 2, 0])));
    }

    #[test]
    fn octets_are_in_network_order() {
        let address = Address::from(IpAddr::from([192, 168, 2, 200]));
        assert_eq!(address.octets()[10..], [0xff, 0xff, 192, 168, 2, 200]);
    }
}
