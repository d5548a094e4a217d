//! A connection that another balancer has held: what the program `adopt` is given in place of a packet.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// The connection, and where it stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Adoption {
    /// The client's address.
    pub client: Address,
    /// The service's address.
    pub service: Address,
    /// The client's port, network order.
    pub client_port: u16,
    /// The service's port, network order.
    pub service_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::connection::state`].
    pub state: u8,
    /// Always 0.
    pub reserved: u16,
    /// Place of its backend in the map of member lists.
    pub member: u32,
    /// Ticks until it ends.
    pub ticks: u32,
}

const _: () = assert!(size_of::<Adoption>() == 48);
