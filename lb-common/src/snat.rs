//! Full NAT: the addresses of the balancer that backends see, and which of their ports are taken.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// Addresses of one family in the pool: a bit each in [`crate::settings::Settings::pool`].
pub const ADDRESSES: u32 = u64::BITS;

/// Places of addresses in the pool: those of IPv4, then those of IPv6.
pub const PLACES: u32 = 2 * ADDRESSES;

/// The lowest port that is given out: those below are the host's own services'.
pub const FIRST_PORT: u32 = 1024;

/// Ports of a page.
pub const PAGE: u32 = 4096;

/// Pages of an address's ports towards one backend.
pub const PAGES: u32 = 16;

/// Rows of a page.
pub const ROWS: u32 = PAGE / u64::BITS;

/// Rows of a page that stand for ports: the last page ends with port 65,535.
#[inline(always)]
pub const fn rows(page: u32) -> u32 {
    if page == PAGES - 1 { ROWS - FIRST_PORT / u64::BITS } else { ROWS }
}

/// What selects a page. Two connections may have the same port where any of it differs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct PortsKey {
    /// The backend's address.
    pub backend: Address,
    /// The backend's port, network order; 0 for all connections of services for more ports than one.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Place of the address in the pool, below [`PLACES`].
    pub place: u8,
    /// Number of the page, below [`PAGES`].
    pub page: u8,
    /// Always 0.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<PortsKey>() == 24);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for PortsKey {}

/// A page of ports.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ports {
    /// How many are taken, or about to be; atomic addition. Raised before a bit is set and lowered
    /// after it is cleared, so that who has raised it finds a bit.
    pub taken: u64,
    /// A bit for each port, set while it is taken. Set by compare-and-exchange.
    pub rows: [u64; ROWS as usize],
}

const _: () = assert!(size_of::<Ports>() == 520);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Ports {}
