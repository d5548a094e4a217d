//! A virtual service.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// What selects a service: the key of the map from packets to services.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct ServiceKey {
    /// The virtual address. For a firewall-mark service: unspecified.
    pub address: Address,
    /// The firewall mark, host order; 0 for an address service.
    pub mark: u32,
    /// The virtual port, network order; 0 for every port.
    pub port: u16,
    /// IP protocol number; for a firewall-mark service 4 or 6, its address family.
    pub protocol: u8,
    /// In the map's own keys: which of its two sets of services the entry belongs to, 0 or 1
    /// ([`crate::settings::Settings::bank`]). 0 elsewhere.
    pub bank: u8,
}

impl ServiceKey {
    /// The key of the service for packets with a firewall mark.
    #[inline(always)]
    pub const fn of_mark(mark: u32, is_ipv4: bool) -> Self {
        let protocol = if is_ipv4 { 4 } else { 6 };
        Self { address: Address::UNSPECIFIED, mark, port: 0, protocol, bank: 0 }
    }
}

const _: () = assert!(size_of::<ServiceKey>() == 24);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for ServiceKey {}

/// One published version of a service. Never changed once packets can see it: an edit writes a new
/// record in a free slot and then swings the key's entry over, so a packet sees all of the old
/// service or all of the new one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Service {
    /// What selects it.
    pub key: ServiceKey,
    /// Stable number of the service over its versions, below [`crate::limits::SERVICE_SLOTS`]: the
    /// index of its [`crate::scheduler::Turn`].
    pub id: u32,
    /// Number of the version, host order.
    pub generation: u32,
    /// First entry of its backends in the member list map; the list is ordered newest first, as IPVS's.
    pub first: u32,
    /// Length of that list.
    pub count: u32,
    /// First entry of its lookup table (`dh`, `sh`, `mh`).
    pub table: u32,
    /// The greatest common divisor of the weights above 0; at least 1 (`wrr`).
    pub divisor: u32,
    /// The greatest weight (`wrr`: the highest level is this less `divisor - 1`).
    pub greatest: u32,
    /// Where the scheduler goes on when this version is published. `rr`: position, from 1, of the
    /// member last used; 0 is before the head. `wrr`: the level; 0 is the highest.
    pub start: u32,
    /// Persistence timeout in seconds; 0 when not persistent.
    pub persistence: u32,
    /// Number of its [`crate::scheduler::Scheduler`].
    pub scheduler: u8,
    /// [`crate::scheduler::flags`].
    pub scheduler_flags: u8,
    /// [`flags`].
    pub flags: u8,
    /// [`engine`]: the persistence engine.
    pub engine: u8,
    /// [`crate::service::in_use`]: whether this slot of the map holds a published record.
    pub state: u32,
    /// The generation of the version that the service began with: of two services, the newer has
    /// the higher.
    pub born: u32,
    /// What of a client's address counts for persistence; [`Address::ALL`] is every bit.
    pub mask: Address,
}

const _: () = assert!(size_of::<Service>() == 88);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Service {}

/// Flags of a service.
pub mod flags {
    /// `-o`: every datagram is scheduled by itself.
    pub const ONE_PACKET: u8 = 1;
    /// `--fullnat`: backends see an address of the balancer as the client.
    pub const FULL_NAT: u8 = 2;
    /// `--toa`: they are told the client's by an option of TCP.
    pub const TOA: u8 = 4;
}

/// Persistence engines (`--pe`).
pub mod engine {
    /// A client is who sends from the same address.
    pub const NONE: u8 = 0;
    /// `sip`: who sends the same Call-ID.
    pub const SIP: u8 = 1;
}

/// Values of [`Service::state`].
pub mod in_use {
    /// The slot holds no record, or an old one.
    pub const FREE: u32 = 0;
    /// The slot holds the record that packets see.
    pub const PUBLISHED: u32 = 1;
}
