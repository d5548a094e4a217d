//! IPv6 (RFC 8200 §3) and its extension headers (§4).

use bytemuck::{Pod, Zeroable};
use lb_common::address::Address;

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv6 {
    /// Version (6), traffic class and flow label.
    pub version_flow: u32,
    /// Length of everything after this header in bytes.
    pub length: u16,
    /// Kind of the next header.
    pub next: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
}

impl Ipv6 {
    /// Source address.
    #[inline(always)]
    pub fn source_address(&self) -> Address {
        address(self.source)
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination_address(&self) -> Address {
        address(self.destination)
    }
}

/// Length of the header.
pub const LENGTH: usize = 40;
const _: () = assert!(size_of::<Ipv6>() == LENGTH);

/// Offsets of the fields that NAT rewrites.
pub mod offset {
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SOURCE: usize = 8;
    /// Destination address.
    pub const DESTINATION: usize = 24;
}

/// The common form of the extension headers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Extension {
    /// Kind of the next header.
    pub next: u8,
    /// Length in units of eight bytes, without the first eight.
    pub length: u8,
    /// For a fragment header: offset in units of eight bytes (13 bits), reserved, more fragments.
    pub fragment: u16,
    /// For a fragment header: identification.
    pub identification: u32,
}

/// The shortest extension header.
pub const EXTENSION_LENGTH: usize = 8;
const _: () = assert!(size_of::<Extension>() == EXTENSION_LENGTH);

/// Kinds of extension headers.
pub mod kind {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
}

/// The bits of a fragment header's offset.
pub const OFFSET: u16 = 0xfff8u16.to_be();
/// The bit of a fragment header that says that more follow.
pub const MORE_FRAGMENTS: u16 = 1u16.to_be();

#[inline(always)]
fn address(words: [u32; 4]) -> Address {
    #[cfg(target_endian = "little")]
    let join = |first: u32, second: u32| first as u64 | (second as u64) << 32;
    #[cfg(target_endian = "big")]
    let join = |first: u32, second: u32| (first as u64) << 32 | second as u64;
    Address { words: [join(words[0], words[1]), join(words[2], words[3])] }
}
