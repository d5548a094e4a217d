//! The BPF program: loading, pinning, attaching, replacing.

pub mod attachment;
mod clsact;
pub mod device;
mod driver;
mod hook;
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
