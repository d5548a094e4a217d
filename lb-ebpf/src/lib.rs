//! The packet path of the balancer, as pure code over two traits: [`Frame`] (the bytes) and
//! [`Tables`] (maps, clock, chance, routes). It names no kernel interface, so all of it runs under
//! plain `cargo test`; `main.rs` and `kernel/` wrap it for XDP.
#![no_std]
#![deny(unsafe_code)]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod frame;
#[cfg(not(target_arch = "bpf"))]
pub mod host;
#[cfg(not(target_arch = "bpf"))]
pub mod plan;
pub mod schedule;
pub mod tables;

pub use frame::Frame;
pub use lb_common::reason::Reason;
pub use tables::{Route, Tables};
