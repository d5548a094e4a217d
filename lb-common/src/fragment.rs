//! What is remembered of a fragmented packet.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// What the fragments of one packet share (RFC 791 §3.2, RFC 8200 §4.5).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification: 16 bits for IPv4, 32 for IPv6, network order.
    pub identification: u32,
    /// IP protocol number.
    pub protocol: u32,
}

const _: () = assert!(size_of::<FragmentKey>() == 40);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FragmentKey {}

/// The ports that only the first fragment carries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct FragmentPorts {
    /// Source port, network order.
    pub source: u16,
    /// Destination port, network order.
    pub destination: u16,
    /// Tick at which the first fragment was seen.
    pub seen: u32,
}

const _: () = assert!(size_of::<FragmentPorts>() == 8);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FragmentPorts {}
