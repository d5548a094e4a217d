//! Generic routing encapsulation (RFC 2784 §2.1).

use bytemuck::{Pod, Zeroable};

/// The header, without checksum.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Gre {
    /// [`CHECKSUM_PRESENT`], and the version 0.
    pub flags: u16,
    /// EtherType of the payload.
    pub kind: u16,
}

/// Length of the header.
pub const LENGTH: usize = 4;
const _: () = assert!(size_of::<Gre>() == LENGTH);

/// Length of the checksum and the two bytes after it.
pub const CHECKSUM_LENGTH: usize = 4;

/// Flag: a checksum over header and payload, and two bytes of zero, follow.
pub const CHECKSUM_PRESENT: u16 = 0x8000u16.to_be();
