//! Ethernet II (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).

use bytemuck::{Pod, Zeroable};

/// The header in front of every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ethernet {
    /// Receiver.
    pub destination: [u16; 3],
    /// Sender.
    pub source: [u16; 3],
    /// EtherType of what follows.
    pub kind: u16,
}

/// Length of the header in bytes.
pub const LENGTH: usize = 14;
const _: () = assert!(size_of::<Ethernet>() == LENGTH);

/// What follows an EtherType that announces a tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Tag {
    /// Priority and VLAN number.
    pub control: u16,
    /// EtherType of what follows.
    pub kind: u16,
}

/// Length of a tag in bytes.
pub const TAG_LENGTH: usize = 4;
const _: () = assert!(size_of::<Tag>() == TAG_LENGTH);

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800u16.to_be();
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86ddu16.to_be();
/// EtherType of a customer tag.
pub const VLAN: u16 = 0x8100u16.to_be();
/// EtherType of a service tag (QinQ).
pub const SERVICE_VLAN: u16 = 0x88a8u16.to_be();

impl Ethernet {
    /// Whether the receiver is a group (broadcast or multicast).
    #[inline(always)]
    pub fn is_group(&self) -> bool {
        self.destination[0].to_ne_bytes()[0] & 1 != 0
    }
}
