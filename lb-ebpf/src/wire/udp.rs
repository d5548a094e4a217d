//! UDP (RFC 768).

use bytemuck::{Pod, Zeroable};

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Udp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Length of header and data in bytes.
    pub length: u16,
    /// Checksum; 0 when the sender made none (IPv4 only).
    pub checksum: u16,
}

/// Length of the header.
pub const LENGTH: usize = 8;
const _: () = assert!(size_of::<Udp>() == LENGTH);

/// Offset of the checksum.
pub const CHECKSUM: usize = 6;
