//! ICMP (RFC 792) and ICMPv6 (RFC 4443): the same first eight bytes.

use bytemuck::{Pod, Zeroable};

/// The header of an error message; the packet that caused it follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum; ICMPv6's covers a pseudo-header too.
    pub checksum: u16,
    /// Unused, or the MTU: the lower half for ICMP (RFC 1191 §4), the whole for ICMPv6.
    pub detail: u32,
}

/// Length of the header.
pub const LENGTH: usize = 8;
const _: () = assert!(size_of::<Icmp>() == LENGTH);

/// Offset of the checksum.
pub const CHECKSUM: usize = 2;

/// Types and codes of ICMP.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Code: host unreachable.
    pub const HOST: u8 = 1;
    /// Code: port unreachable.
    pub const PORT: u8 = 3;
    /// Code: fragmentation needed and "don't fragment" set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Source quench.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
}

/// Types and codes of ICMPv6.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Code: address unreachable.
    pub const ADDRESS: u8 = 3;
    /// Code: port unreachable.
    pub const PORT: u8 = 4;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem, the last of the errors.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
}
