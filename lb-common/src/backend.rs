//! A backend: IPVS's real server (destination).

use crate::{address::Address, tunnel::Tunnel};
use bytemuck::{Pod, Zeroable};

/// A backend of one service: who it is, and what the packet path keeps of it. One cache line.
///
/// `lb-ctl` writes identity and `state`; the rest belongs to the packet path, so a record in use is
/// written field by field, never as a whole. What an admin can edit is in [`Member`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Backend {
    /// Its address.
    pub address: Address,
    /// Its port, network order.
    pub port: u16,
    /// [`state`]: whether this slot of the map is in use.
    pub state: u8,
    /// IP protocol number of its service.
    pub protocol: u8,
    /// Id of its service.
    pub service: u32,
    /// Bits 0..32 active connections, 32..64 inactive ones; changed by one atomic addition.
    pub connections: u64,
    /// [`flags`], kept by the packet path.
    pub flags: u16,
    /// Number, from 1, of the [`crate::block::Block`] that its member belongs to; 0 is none. Written by
    /// `lb-ctl`.
    pub block: u16,
    /// Persistence templates that point here; changed by atomic addition.
    pub persistent: u32,
    /// Tick at which it was removed; meaningful while `state` is [`state::REMOVED`].
    pub removed: u32,
    /// What its member says, for connections that are there already. Written by `lb-ctl`.
    pub tunnel: Tunnel,
    /// Source address of the packets that are wrapped for it, as the route there says; unspecified
    /// until the first of them.
    pub source: Address,
}

const _: () = assert!(size_of::<Backend>() == 64);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Backend {}

/// Where a server answers, for `nat_icmp_send`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct ServerKey {
    /// Its address.
    pub address: Address,
    /// Its port, network order.
    pub port: u16,
    /// IP protocol number; 0 for a server of a firewall mark, which has all.
    pub protocol: u8,
    /// Always 0.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<ServerKey>() == 24);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ServerKey {}

/// A backend's place in one version of its service: everything about it that can be edited.
///
/// Member lists are immutable once published, like the [`crate::service::Service`] that points at
/// them, so an edit is seen as a whole or not at all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Member {
    /// Index of the backend.
    pub backend: u32,
    /// Weight; 0 is quiesced: no new connections.
    pub weight: u32,
    /// Upper threshold of connections (`-x`); 0 is none.
    pub upper: u32,
    /// Lower threshold of connections (`-y`); 0 is none, which means three quarters of `upper`.
    pub lower: u32,
    /// The last weight above 0, which `mh` builds its table with.
    pub last_weight: u32,
    /// [`method`]: how packets reach it.
    pub method: u32,
    /// For [`method::TUNNEL`].
    pub tunnel: Tunnel,
}

const _: () = assert!(size_of::<Member>() == 28);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Member {}

/// Added to [`Backend::connections`] for an active connection.
pub const ACTIVE: u64 = 1;
/// Added to [`Backend::connections`] for an inactive connection.
pub const INACTIVE: u64 = 1 << 32;

impl Backend {
    /// Where it answers, in a service of a protocol.
    pub const fn server(&self) -> ServerKey {
        ServerKey { address: self.address, port: self.port, protocol: self.protocol, reserved: [0; 5] }
    }

    /// Connections in a state that counts as active (`ActiveConn`).
    #[inline(always)]
    pub const fn active(&self) -> u32 {
        self.connections as u32
    }

    /// All other connections (`InActConn`).
    #[inline(always)]
    pub const fn inactive(&self) -> u32 {
        (self.connections >> 32) as u32
    }
}

/// How packets are forwarded (`IP_VS_CONN_F_FWD_MASK`).
pub mod method {
    /// `-m`: the destination is rewritten.
    pub const NAT: u32 = 0;
    /// A server on the balancer itself.
    pub const LOCAL: u32 = 1;
    /// `-i`: encapsulated.
    pub const TUNNEL: u32 = 2;
    /// `-g`: direct routing.
    pub const ROUTE: u32 = 3;
}

/// Life of a backend slot.
pub mod state {
    /// Holds nothing.
    pub const FREE: u8 = 0;
    /// In its service.
    pub const AVAILABLE: u8 = 1;
    /// Removed from its service; its connections' packets are dropped until they expire.
    pub const REMOVED: u8 = 2;
}

/// Flags of a backend.
pub mod flags {
    /// `IP_VS_DEST_F_OVERLOAD`: set when the connections reach the upper threshold.
    pub const OVERLOAD: u16 = 1;
}
