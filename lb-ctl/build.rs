//! Builds the BPF objects that lb-ctl carries inside it.

use anyhow::{Context as _, ensure};
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

/// Which rustup toolchain builds the object: `bpf` or `nightly` unless this says otherwise.
const TOOLCHAIN: &str = "LB_BPF_TOOLCHAIN";
/// A toolchain that builds `core` for BPF itself, if it has the sources.
const NIGHTLY: &str = "nightly";
/// A stable toolchain with a prebuilt `core` for BPF: Debian's, as `cargo xtask setup` links it.
const DEBIAN: &str = "bpf";
/// The crates that use unstable features. Named one by one: with `1` every crate could.
const UNSTABLE: &str = "aya_ebpf,lb_ebpf,lb,lb_tc";
/// The balancer for XDP and for tc, what its benchmark measures with, and what a test of `--toa` reads with.
const OBJECTS: [&str; 4] = ["lb", "lb-tc", "bench", "reader"];
/// Leaves empty objects, so that lb-ctl can be checked without a BPF toolchain.
const SKIP: &str = "AYA_BUILD_SKIP";

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed={TOOLCHAIN}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../lb-common/src");

    let toolchain = match env::var(TOOLCHAIN) {
        Ok(named) => named,
        // Aya's usual way where it works, as `cargo xtask setup` chooses too.
        Err(_) if has_sources(NIGHTLY) || !works(DEBIAN) => NIGHTLY.to_owned(),
        Err(_) => DEBIAN.to_owned(),
    };
    let out = env::var("OUT_DIR")?;
    println!("cargo:rerun-if-env-changed={SKIP}");
    if env::var_os(SKIP).is_some() {
        return OBJECTS
            .iter()
            .try_for_each(|name| fs::write(Path::new(&out).join(name), []))
            .context("writing the empty objects");
    }
    build(&toolchain, Path::new(&out)).with_context(|| {
        format!("the BPF object does not build with toolchain {toolchain}: cargo xtask setup")
    })?;
    for name in OBJECTS {
        let built = Path::new(&out).join("bpf").join(TARGET).join("release").join(name);
        fs::copy(&built, Path::new(&out).join(name))
            .with_context(|| format!("copying {}", built.display()))?;
    }
    Ok(())
}

const TARGET: &str = if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };

/// What aya-build does, with one flag more, for which it has no place: version 3 of the instruction
/// set. The default has 32-bit registers but no 32-bit comparisons, and LLVM then compares a `u32`
/// with a constant above 2^31 wrongly. Version 3 also has the atomic operations.
fn build(toolchain: &str, out: &Path) -> anyhow::Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../lb-ebpf");
    println!("cargo:rerun-if-changed={root}/src");
    println!("cargo:rerun-if-changed={root}/Cargo.toml");
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
    ];
    let mut cargo = Command::new("rustup");
    cargo.args(["run", toolchain, "cargo", "build", "--package", "lb-ebpf", "--bins", "--release"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(out.join("bpf"));
    if toolchain == DEBIAN {
        cargo.env("RUSTC_BOOTSTRAP", UNSTABLE);
    } else {
        cargo.args(["-Z", "build-std=core"]);
    }
    // Those of the outer cargo are for the host.
    for name in ["RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO"] {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).current_dir(root).stdin(Stdio::null());
    let output = cargo.output().context("starting rustup")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(())
}

fn works(toolchain: &str) -> bool {
    sysroot(toolchain).is_some()
}

fn has_sources(toolchain: &str) -> bool {
    sysroot(toolchain)
        .is_some_and(|root| Path::new(root.trim()).join("lib/rustlib/src/rust/library/core").exists())
}

fn sysroot(toolchain: &str) -> Option<String> {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", toolchain, "rustc", "--print", "sysroot"]);
    // Asking whether a toolchain is there must not download it.
    let output = rustup.env("RUSTUP_AUTO_INSTALL", "0").stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
