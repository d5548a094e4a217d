//! Builds the BPF object that lb-ctl carries inside it.

use anyhow::Context as _;
use aya_build::{Package, Toolchain, build_ebpf};
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

/// Which rustup toolchain builds the object: `bpf` or `nightly` unless this says otherwise.
const TOOLCHAIN: &str = "LB_BPF_TOOLCHAIN";
/// A stable toolchain with a prebuilt `core` for BPF: Debian's, as `cargo xtask setup` links it.
const DEBIAN: &str = "bpf";
/// The crates that use unstable features. Named one by one: with `1`, aya-build would build `core`
/// from source, which Debian's toolchain does not have.
const UNSTABLE: &str = "aya_ebpf,lb_ebpf,lb";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../lb-common/src");

    let toolchain = match env::var(TOOLCHAIN) {
        Ok(named) => named,
        Err(_) if works(DEBIAN) => DEBIAN.to_owned(),
        Err(_) => "nightly".to_owned(),
    };
    if toolchain == DEBIAN {
        // SAFETY: a build script has one thread.
        unsafe { env::set_var("RUSTC_BOOTSTRAP", UNSTABLE) };
    }

    let root_dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../lb-ebpf");
    // Checking lb-ctl alone needs no BPF toolchain: AYA_BUILD_SKIP=1 leaves this empty object.
    let object = Path::new(&env::var("OUT_DIR")?).join("lb");
    if !object.exists() {
        fs::write(&object, [])?;
    }
    let package = Package { name: "lb-ebpf", root_dir, ..Package::default() };
    build_ebpf([package], Toolchain::Custom(&toolchain)).with_context(|| {
        format!("the BPF object does not build with toolchain {toolchain}: cargo xtask setup")
    })
}

fn works(toolchain: &str) -> bool {
    Command::new("rustup")
        .args(["run", toolchain, "rustc", "-V"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
