//! IPv4 (RFC 791 §3.1).

use crate::checksum::fold;
use bytemuck::{Pod, Zeroable};
use lb_common::address::Address;

/// The header without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv4 {
    /// Version (4) and header length in words.
    pub version_length: u8,
    /// DSCP and ECN.
    pub service: u8,
    /// Length of the packet in bytes.
    pub length: u16,
    /// Identification of a fragmented packet.
    pub identification: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: u16,
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
}

/// Length of the header without options.
pub const LENGTH: usize = 20;
const _: () = assert!(size_of::<Ipv4>() == LENGTH);

/// Offsets of the fields that NAT rewrites.
pub mod offset {
    /// Time to live and protocol, one 16-bit word.
    pub const TTL: usize = 8;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SOURCE: usize = 12;
    /// Destination address.
    pub const DESTINATION: usize = 16;
}

/// The "don't fragment" flag.
pub const DONT_FRAGMENT: u16 = 0x4000u16.to_be();
/// The "more fragments" flag.
pub const MORE_FRAGMENTS: u16 = 0x2000u16.to_be();
/// The bits of the fragment offset.
pub const OFFSET: u16 = 0x1fffu16.to_be();

impl Ipv4 {
    /// Source address.
    #[inline(always)]
    pub fn source_address(&self) -> Address {
        Address::from_ipv4(self.source)
    }

    /// Destination address.
    #[inline(always)]
    pub fn destination_address(&self) -> Address {
        Address::from_ipv4(self.destination)
    }

    /// The header with its checksum.
    #[inline(always)]
    pub fn summed(mut self) -> Self {
        self.checksum = 0;
        let words: [u16; LENGTH / 2] = bytemuck::cast(self);
        let mut sum = 0;
        for word in words {
            sum += word as u64;
        }
        self.checksum = !fold(sum);
        self
    }

    /// Length of the header in bytes, options included; `None` when the header is no IPv4 header.
    #[inline(always)]
    pub fn header_length(&self) -> Option<usize> {
        let words = (self.version_length & 0xf) as usize;
        (self.version_length >> 4 == 4 && words >= 5).then_some(words * 4)
    }
}
