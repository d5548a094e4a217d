//! What `load` found out about a network interface.

use crate::address::Address;
use bytemuck::{Pod, Zeroable};

/// Capabilities of an interface, by interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Device {
    /// [`flags`].
    pub flags: u32,
    /// [`choice`]. For `lb-ctl status` alone.
    pub choice: u32,
    /// Address of this host on it, IPv4, then IPv6; unspecified where there is none.
    pub addresses: [Address; 2],
}

impl Device {
    /// Its address of a family.
    #[inline(always)]
    pub const fn source(&self, is_ipv4: bool) -> Address {
        if is_ipv4 { self.addresses[0] } else { self.addresses[1] }
    }
}

const _: () = assert!(size_of::<Device>() == 40);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Device {}

/// The number of the loopback in every network namespace (`LOOPBACK_IFINDEX`, `net/flow.h`).
pub const LOOPBACK: u32 = 1;

/// Why the balancer is attached to an interface as it is.
pub mod choice {
    /// It is not attached, or nothing is known.
    pub const NONE: u32 = 0;
    /// The admin has named the hook.
    pub const NAMED: u32 = 1;
    /// The driver takes XDP programs.
    pub const DRIVER: u32 = 2;
    /// The driver takes none, or not with its present settings.
    pub const REFUSED: u32 = 3;
    /// XDP needs Ethernet headers, and there are none.
    pub const BARE: u32 = 4;
}

/// Flags of a device.
pub mod flags {
    /// A redirect from native XDP to it arrives (its driver implements `ndo_xdp_xmit`, and, for a
    /// veth, its peer polls).
    pub const REDIRECT: u32 = 1;
    /// `XDP_TX` on it arrives. Never set for a veth: its peer would need a program of its own.
    pub const TRANSMIT: u32 = 2;
    /// The program is attached here.
    pub const ATTACHED: u32 = 4;
    /// VLANs are carried by it: tags may be taken off, and kept apart, before XDP sees the frame.
    pub const VLANS: u32 = 8;
    /// Its packets have no Ethernet header, as those of a tunnel.
    pub const BARE: u32 = 16;
}
