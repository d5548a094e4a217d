//! The TCP option that carries a client's address and port: kind 254 (RFC 4727 §3.4, for experiments), as the
//! kernel modules and libraries called TOA read it.

use bytemuck::{Pod, Zeroable};

/// The option for IPv4.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv4 {
    /// [`KIND`].
    pub kind: u8,
    /// Its length.
    pub length: u8,
    /// The client's port.
    pub port: u16,
    /// The client's address.
    pub address: u32,
}

/// The option for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv6 {
    /// [`KIND`].
    pub kind: u8,
    /// Its length.
    pub length: u8,
    /// The client's port.
    pub port: u16,
    /// The client's address.
    pub address: [u32; 4],
}

/// The kind of the option.
pub const KIND: u8 = 254;

/// Length for IPv4.
pub const IPV4_LENGTH: usize = 8;
const _: () = assert!(size_of::<Ipv4>() == IPV4_LENGTH);

/// Length for IPv6.
pub const IPV6_LENGTH: usize = 20;
const _: () = assert!(size_of::<Ipv6>() == IPV6_LENGTH);
