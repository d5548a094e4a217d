//! What of a client's address counts for persistence, as text.

use lb_common::address::Address;
use std::net::Ipv4Addr;

/// The mask of these IPv4 bits, which need not be a prefix.
pub fn ipv4_mask(bits: Ipv4Addr) -> Address {
    let mut octets = Address::ALL.octets();
    octets[12..].copy_from_slice(&bits.octets());
    octets.into()
}

/// The mask of an IPv6 prefix of this length, at most 128.
pub fn ipv6_mask(length: u8) -> Address {
    let bits = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    bits.to_be_bytes().into()
}

/// As ipvsadm writes it: bits for IPv4, a length for IPv6. `None` is every bit.
pub fn mask_text(mask: Address, ipv6: bool) -> Option<String> {
    if mask == Address::ALL {
        return None;
    }
    let octets = mask.octets();
    Some(if ipv6 {
        u128::from_be_bytes(octets).leading_ones().to_string()
    } else {
        let [.., a, b, c, d] = octets;
        Ipv4Addr::new(a, b, c, d).to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_survive_the_round_trip() {
        for text in ["255.255.255.0", "0.0.0.24", "0.0.0.0", "255.0.255.0"] {
            assert_eq!(mask_text(ipv4_mask(text.parse().unwrap()), false).as_deref(), Some(text));
        }
        for length in [0, 1, 64, 127] {
            assert_eq!(mask_text(ipv6_mask(length), true), Some(length.to_string()));
        }
        assert_eq!(mask_text(ipv6_mask(128), true), None);
        assert_eq!(mask_text(ipv4_mask(Ipv4Addr::BROADCAST), false), None);
    }

    #[test]
    fn an_ipv4_address_stays_one_under_any_mask() {
        let client = Address::from(std::net::IpAddr::from([192, 168, 2, 10]));
        assert!(client.masked(ipv4_mask(Ipv4Addr::UNSPECIFIED)).is_ipv4());
    }
}
