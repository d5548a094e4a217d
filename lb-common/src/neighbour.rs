//! Neighbours: the machines that packets leave to.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// A neighbour, by the interface that leads to it and its MAC address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Neighbour {
    /// Interface index.
    pub interface: u32,
    /// MAC address.
    pub mac: [u16; 3],
    /// Always 0.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Neighbour>() == 12);

/// What one connection heard of a neighbour, for all others that send by it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Vouch {
    /// The neighbour; several share a place, and the busiest has it.
    pub neighbour: Neighbour,
    /// Tick at which the kernel last named it as a next hop.
    pub checked: u32,
    /// Raised when the place is another neighbour's, and when the kernel named another one to a
    /// connection that sent by this: from then on each of the others has to ask for itself. A
    /// connection remembers the lowest 8 bits, which are never [`vouch::NONE`].
    pub generation: u32,
}

const _: () = assert!(size_of::<Vouch>() == 20);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Vouch {}

impl Vouch {
    /// The next generation.
    #[inline(always)]
    pub const fn next(&self) -> u32 {
        let next = self.generation.wrapping_add(1);
        if next as u8 == vouch::NONE { next + 1 } else { next }
    }
}

/// What a connection remembers of a [`Vouch`].
pub mod vouch {
    /// Nobody vouches for its next hop.
    pub const NONE: u8 = 0;
}

/// Places for vouches; a power of two.
pub const VOUCHES: u32 = 8192;

impl Neighbour {
    /// Where its [`Vouch`] lies.
    #[inline(always)]
    pub const fn place(self) -> u32 {
        let low = self.mac[1] as u32 | (self.mac[2] as u32) << 16;
        let high = self.mac[0] as u32 ^ self.interface << 16;
        // The upper bits of a product depend on all bits of its factor.
        (low ^ high).wrapping_mul(0x9e37_79b1) >> (32 - VOUCHES.ilog2())
    }
}

/// A destination whose next hop does not tell its MAC address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Silence {
    /// The destination; several share a place, and who has it keeps it while it is asked for.
    pub destination: Address,
    /// Tick at which the kernel did not know the address for the first time.
    pub since: u32,
    /// Tick at which it last did not.
    pub last: u32,
    /// Tick at which a packet was last left to the kernel, so that it asks for the address.
    pub asked: u32,
    /// How many packets have been answered since then.
    pub answered: u32,
}

const _: () = assert!(size_of::<Silence>() == 32);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Silence {}

/// Places for silences; a power of two.
pub const SILENCES: u32 = 1024;

impl Silence {
    /// Where a destination's silence lies.
    #[inline(always)]
    pub const fn place(destination: Address) -> u32 {
        let mixed = destination.words[0] ^ destination.words[1];
        (mixed.wrapping_mul(0x9fb2_1c65_1e98_df25) >> (64 - SILENCES.ilog2())) as u32
    }
}
