//! TCP (RFC 9293 §3.1).

use bytemuck::{Pod, Zeroable};

/// The header without options.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Header length in words (upper half).
    pub length: u8,
    /// [`flags`].
    pub flags: u8,
    /// Window.
    pub window: u16,
    /// Checksum.
    pub checksum: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

/// Length of the header without options.
pub const LENGTH: usize = 20;
const _: () = assert!(size_of::<Tcp>() == LENGTH);

/// Offset of the checksum.
pub const CHECKSUM: usize = 16;

/// The flags that the state machine looks at.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 2;
    /// Reset the connection.
    pub const RST: u8 = 4;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 16;
}
