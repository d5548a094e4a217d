//! SCTP (RFC 9260 §3).

use bytemuck::{Pod, Zeroable};

/// The header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Sctp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Verification tag.
    pub tag: u32,
    /// CRC32c of the packet, least significant byte first.
    pub checksum: u32,
}

/// Length of the header.
pub const LENGTH: usize = 12;
const _: () = assert!(size_of::<Sctp>() == LENGTH);

/// Offset of the checksum.
pub const CHECKSUM: usize = 8;

/// What every chunk begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Chunk {
    /// [`kind`].
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Length in bytes, this header included, padding not.
    pub length: u16,
}

/// Length of that.
pub const CHUNK_LENGTH: usize = 4;
const _: () = assert!(size_of::<Chunk>() == CHUNK_LENGTH);

/// Kinds of chunks (RFC 9260 §3.2).
pub mod kind {
    /// User data.
    pub const DATA: u8 = 0;
    /// Initiation.
    pub const INIT: u8 = 1;
    /// Initiation acknowledgement.
    pub const INIT_ACK: u8 = 2;
    /// Abort.
    pub const ABORT: u8 = 6;
    /// Shutdown.
    pub const SHUTDOWN: u8 = 7;
    /// Shutdown acknowledgement.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// Operation error.
    pub const ERROR: u8 = 9;
    /// State cookie.
    pub const COOKIE_ECHO: u8 = 10;
    /// Cookie acknowledgement.
    pub const COOKIE_ACK: u8 = 11;
    /// Shutdown complete.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}
