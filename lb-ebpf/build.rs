//! Asks for version 3 of the BPF instruction set: atomic compare-and-exchange, 32-bit registers.
//! Every kernel since 5.12 has it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("bpf") {
        println!("cargo:rustc-link-arg-bins=--cpu-features=+alu32");
    }
}
