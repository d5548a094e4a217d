//! Generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue-09 §3.1, `net/gue.h`).

use bytemuck::{Pod, Zeroable};

/// The header, without optional fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Gue {
    /// Variant (2 bits), control (1 bit), length of the optional fields in words (5 bits).
    pub length: u8,
    /// IP protocol of the payload.
    pub protocol: u8,
    /// [`PRIVATE`].
    pub flags: u16,
}

/// Length of the header.
pub const LENGTH: usize = 4;
const _: () = assert!(size_of::<Gue>() == LENGTH);

/// Flag: a word of private flags follows.
pub const PRIVATE: u16 = 1u16.to_be();

/// Private flags and the option of remote checksums (draft-herbert-remotecsumoffload-02 §3.1): the far
/// end takes the checksum from `start` on, and puts it at `place`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RemoteChecksum {
    /// [`REMOTE_CHECKSUM`].
    pub flags: u32,
    /// Offset of the first byte that is summed, from the end of this.
    pub start: u16,
    /// Offset of the checksum, from the end of this.
    pub place: u16,
}

/// Length of that.
pub const REMOTE_CHECKSUM_LENGTH: usize = 8;
const _: () = assert!(size_of::<RemoteChecksum>() == REMOTE_CHECKSUM_LENGTH);

/// Private flag: the option of remote checksums.
pub const REMOTE_CHECKSUM: u32 = (1u32 << 31).to_be();
