//! How packets are wrapped on their way to a tunnel backend (`-i`).

use bytemuck::{Pod, Zeroable};

/// The tunnel to a backend. Four aligned bytes, so that it is read and written as one word.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Tunnel {
    /// [`kind`].
    pub kind: u8,
    /// [`flags`].
    pub flags: u8,
    /// UDP port of GUE, network order; 0 for the other kinds.
    pub port: u16,
}

const _: () = assert!(size_of::<Tunnel>() == 4);

/// Kinds of tunnels, numbered as in `linux/ip_vs.h`.
pub mod kind {
    /// The packet follows the outer IP header at once (RFC 2003, RFC 2473, RFC 4213).
    pub const IPIP: u8 = 0;
    /// Generic UDP encapsulation (draft-ietf-intarea-gue).
    pub const GUE: u8 = 1;
    /// Generic routing encapsulation (RFC 2784).
    pub const GRE: u8 = 2;
}

/// Flags of a tunnel, as in `linux/ip_vs.h`.
pub mod flags {
    /// The outer header carries a checksum over the packet.
    pub const CSUM: u8 = 1;
    /// GUE: a checksum that the sender left open is left to the far end.
    pub const REMCSUM: u8 = 2;
}
