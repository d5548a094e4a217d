//! Firewall marks in XDP, where no firewall has set any yet: rules, and the tables that are made of them.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// A rule of `lb-ctl mark`: packets that it matches carry its mark.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Rule {
    /// Prefix of the source address; its other bits are 0.
    pub source: Address,
    /// Prefix of the destination address; its other bits are 0.
    pub destination: Address,
    /// Interface index; 0 for every interface, [`NOWHERE`] for one that was not there when the rule was made.
    pub interface: u32,
    /// The mark; 0 in a slot that holds no rule.
    pub mark: u32,
    /// First destination port, host order.
    pub first_port: u16,
    /// Last destination port, host order.
    pub last_port: u16,
    /// Bits of `source` that count, 0 to 128: 96 more than in an IPv4 prefix.
    pub source_length: u8,
    /// Bits of `destination` that count.
    pub destination_length: u8,
    /// IP protocol number; 0 for every protocol.
    pub protocol: u8,
    /// Always 0.
    pub reserved: u8,
    /// The interface's name, filled up with 0; empty for every interface. The index is what packets are
    /// compared by; the name is what was meant.
    pub name: [u8; NAME],
}

/// The kernel's `IFNAMSIZ`, the final 0 included.
pub const NAME: usize = 16;
/// An interface that no packet comes in by.
pub const NOWHERE: u32 = u32::MAX;

const _: () = assert!(size_of::<Rule>() == 64);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Rule {}

/// Which packets share a table of destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct ClassKey {
    /// Number of the version of all rules.
    pub generation: u32,
    /// Interface index; 0 for all that no rule names.
    pub interface: u32,
    /// IP protocol number; 0 for all that no rule names.
    pub protocol: u32,
}

const _: () = assert!(size_of::<ClassKey>() == 12);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ClassKey {}

/// A prefix in a table of destinations or of sources.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Prefix {
    /// Number of the table.
    pub table: u32,
    /// The address, in words so that nothing has to be aligned.
    pub address: [u32; 4],
}

const _: () = assert!(size_of::<Prefix>() == 20);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Prefix {}

/// What a prefix leads to. Of a destination: `first` is the number of the table of sources. Of a source:
/// its ranges of ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Found {
    /// First entry.
    pub first: u32,
    /// How many.
    pub count: u32,
}

const _: () = assert!(size_of::<Found>() == 8);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Found {}

/// Destination ports with one mark. The ranges of a source are in order and do not overlap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Range {
    /// First port, host order.
    pub first: u16,
    /// Last port, host order.
    pub last: u16,
    /// The mark.
    pub mark: u32,
}

const _: () = assert!(size_of::<Range>() == 8);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Range {}

impl Prefix {
    /// Of an address.
    #[inline(always)]
    pub fn new(table: u32, address: Address) -> Self {
        Self { table, address: bytemuck::cast(address.words) }
    }

    /// Bits of the table's number, which come before the address.
    pub const TABLE_BITS: u32 = 32;
}
