//! The ABI between the packet path and `lb-ctl`: every type that lies in a BPF map.
//!
//! Each type is plain old data (`bytemuck::Pod`, which refuses hidden padding), has its size
//! asserted, and states unit and byte order per field. "Network order" means that the bytes in
//! memory are those on the wire. A change of any layout here must raise [`LAYOUT_VERSION`].
#![no_std]

#[cfg(test)]
extern crate std;

pub mod address;
pub mod adoption;
pub mod backend;
pub mod block;
pub mod bucket;
pub mod cache;
pub mod connection;
pub mod device;
pub mod fragment;
pub mod hint;
pub mod limits;
pub mod mark;
pub mod memo;
pub mod neighbour;
pub mod reason;
pub mod scheduler;
pub mod service;
pub mod settings;
pub mod snat;
pub mod spare;
pub mod stage;
pub mod sysctl;
pub mod time;
pub mod traffic;
pub mod tunnel;

/// Raised whenever a type in a pinned map changes, or what it means; `lb-ctl upgrade` refuses maps of another one.
pub const LAYOUT_VERSION: u32 = 5;

/// IP protocol numbers that services know (IANA).
pub mod protocol {
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
    /// An IPv4 packet in a packet (RFC 2003).
    pub const IPIP: u8 = 4;
    /// An IPv6 packet in a packet (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Generic routing encapsulation.
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication Header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}
