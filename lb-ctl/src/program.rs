//! The BPF program: loading, pinning, attaching, replacing.

pub mod namespace;
pub mod pins;
