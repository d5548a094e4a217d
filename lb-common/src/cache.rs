//! What `lblc` and `lblcr` remember of a destination.

use crate::{
    address::Address,
    limits::{BACKENDS, BACKENDS_PER_SERVICE},
};
use bytemuck::{Pod, Zeroable};

/// A destination of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct CacheKey {
    /// The destination address of the packets.
    pub address: Address,
    /// Id of the service.
    pub service: u32,
    /// Always 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<CacheKey>() == 24);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for CacheKey {}

/// Backends that the set of a destination can hold. IPVS has no limit; a destination that is spread
/// over more backends is balanced over these, and over all where these are busy.
pub const SET: usize = 128;

/// The backend (`lblc`) or the set of backends (`lblcr`) of a destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Cache {
    /// Tick of the last use.
    pub used: u32,
    /// Tick of the last change of the set.
    pub changed: u32,
    /// Backends in the set.
    pub size: u32,
    /// The generation of the service that the positions in `set` belong to.
    pub generation: u32,
    /// The backends, packed by [`entry`], in the order in which they joined: of equals IPVS takes
    /// the one that joined last.
    pub set: [u32; SET],
}

const _: () = assert!(size_of::<Cache>() == 16 + 512);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Cache {}

// Both halves of an entry have 16 bits.
const _: () = assert!(BACKENDS <= 1 << 16 && BACKENDS_PER_SERVICE <= 1 << 16);

/// Packs an entry of a set: the index of a backend and its position in the member list.
#[inline(always)]
pub const fn entry(backend: u32, position: u32) -> u32 {
    position << 16 | backend & 0xffff
}

/// The index of an entry's backend.
#[inline(always)]
pub const fn backend(entry: u32) -> u32 {
    entry & 0xffff
}

/// The position of an entry's backend in the member list.
#[inline(always)]
pub const fn position(entry: u32) -> u32 {
    entry >> 16
}
