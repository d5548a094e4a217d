#![cfg_attr(target_arch = "bpf", no_std, no_main)]
//! Placeholder until the kernel shell lands.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
