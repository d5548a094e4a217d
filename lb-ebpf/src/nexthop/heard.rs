//! What the kernel has answered others.

use super::FRESH;
use crate::Tables;
use core::hint::black_box;
use lb_common::{address::Address, connection::NextHop};

/// The last answer of the kernel for a pair of addresses and an interface, for one CPU: the first packets of
/// connections to one backend, or from one client, need not all ask.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Heard {
    /// The service, on the way to a client; unspecified on the way to a backend, where the client does not
    /// count, as it does not for IPVS (`__ip_vs_dst_check`).
    pub source: Address,
    /// Where to.
    pub destination: Address,
    /// The interface that the packet came in by.
    pub interface: u32,
    /// Always 0.
    pub reserved: u32,
    /// The answer, and when it was given.
    pub hop: NextHop,
}

const _: () = assert!(size_of::<Heard>() == 64);

/// Answers that are remembered at the same time; a power of two.
pub const HEARD: u32 = 1 << HEARD_BITS;
const HEARD_BITS: u32 = 12;

/// The last answer for a pair of addresses and an interface, if it is recent.
#[inline(always)]
pub fn recent<T: Tables>(
    tables: &T,
    source: Address,
    destination: Address,
    interface: u32,
    now: u32,
) -> Option<&NextHop> {
    let heard = tables.heard(Heard::place(source, destination))?;
    if heard.is_for(source, destination, interface, now) { Some(&heard.hop) } else { None }
}

/// Copies a word at a time: for a plain assignment the compiler calls a `memmove` that goes byte by byte.
#[inline(always)]
pub fn copy(from: &NextHop, to: &mut NextHop) {
    let from: &[u64; size_of::<NextHop>() / 8] = bytemuck::cast_ref(from);
    let to: &mut [u64; size_of::<NextHop>() / 8] = bytemuck::cast_mut(to);
    to.iter_mut().zip(from).for_each(|(to, from)| *to = black_box(*from));
}

impl Heard {
    /// The place of a pair of addresses. By the golden ratio, so that the places of addresses in a row, as backends
    /// often have, lie apart.
    #[inline(always)]
    pub(super) fn place(source: Address, destination: Address) -> u32 {
        let mixed = source.words[1].wrapping_add(destination.words[1] ^ destination.words[0]);
        (u64::from_be(mixed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HEARD_BITS)) as u32
    }

    #[inline(always)]
    fn is_for(&self, source: Address, destination: Address, interface: u32, now: u32) -> bool {
        self.destination == destination
            && self.source == source
            && self.interface == interface
            && self.hop.age(now) < FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, net::Ipv4Addr};

    #[test]
    fn backends_in_a_row_share_no_place() {
        let places = |count: u32| {
            let address = |number| std::net::IpAddr::V4(Ipv4Addr::from_bits(0xac10_0000 + number)).into();
            let places = (0..count).map(|number| Heard::place(Address::UNSPECIFIED, address(number)));
            places.collect::<HashSet<_>>().len() as u32
        };
        assert_eq!(places(1_000), 1_000);
        assert!(places(HEARD) > HEARD * 3 / 4, "{}", places(HEARD));
    }
}
