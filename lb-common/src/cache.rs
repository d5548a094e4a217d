//! What `lblc` and `lblcr` remember of a destination.

use crate::{address::Address, limits::BACKENDS_PER_SERVICE};
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

/// The backend (`lblc`) or set of backends (`lblcr`) of a destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Cache {
    /// `lblc`: index of the backend.
    pub backend: u32,
    /// Tick of the last use.
    pub used: u32,
    /// Tick of the last change of the set.
    pub changed: u32,
    /// Backends in the set.
    pub size: u32,
    /// The generation of the service that the positions in `set` belong to.
    pub generation: u32,
    /// Always 0.
    pub reserved: u32,
    /// `lblcr`: a bit for each position of the service's member list.
    pub set: [u64; BACKENDS_PER_SERVICE as usize / 64],
}

const _: () = assert!(size_of::<Cache>() == 24 + 512);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Cache {}
