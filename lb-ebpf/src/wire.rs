//! The headers that the packet path reads and writes, one file each.
//!
//! Fields hold the bytes as they lie on the wire (network order) in integers of their natural
//! width: BPF has no unaligned loads, and headers as byte arrays would be loaded byte by byte.

pub mod ethernet;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod sctp;
pub mod tcp;
pub mod toa;
pub mod udp;
