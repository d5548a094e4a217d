//! The kernel's side of the two traits, and the timer.

pub mod frame;
pub mod globals;
pub mod maps;
pub mod steps;
pub mod sweep;
pub mod tables;
pub mod trace;
