//! What `cargo xtask` does, one module a task. A library, so that the namespace tests in
//! `xtask/tests` raise the same lab as `cargo xtask run`.

pub mod bench;
pub mod build;
pub mod check;
pub mod dist;
pub mod elevate;
pub mod interrupt;
pub mod lab;
pub mod progress;
pub mod run;
pub mod setup;
pub mod test;
pub mod told;
pub mod vm;
