//! The BPF program: loading, pinning, attaching, replacing.

pub mod attachment;
pub mod device;
mod driver;
pub mod interface;
pub mod kernel;
mod link;
mod mode;
pub mod namespace;
pub mod netlink;
pub mod object;
pub mod pins;
pub mod replacement;
pub mod sysctl;

pub use mode::Mode;
