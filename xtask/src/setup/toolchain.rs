//! The compiler for the BPF target.
//!
//! Where rustup has a nightly with `rust-src`, aya's usual way works and is used. Debian 12 offers
//! another: its Rust for browsers comes with a prebuilt `core` for BPF, so no nightly is needed.

use std::{env, ffi::OsString, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use super::{debian, distribution::Distribution};

const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Nightly,
    Debian,
}

/// The compiler that was found or installed.
pub struct Toolchain {
    kind: Kind,
    has_rustup: bool,
}

impl Toolchain {
    pub(super) fn ensure(distribution: Distribution) -> Result<Self> {
        let has_rustup = which::which("rustup").is_ok();
        let kind = if has_rustup && nightly_has_sources() {
            Kind::Nightly
        } else if distribution == Distribution::Bookworm {
            Kind::Debian
        } else if has_rustup {
            bail!(
                "missing: a nightly Rust with its sources (compiles for BPF); \
                 install it with: rustup toolchain install nightly --component rust-src"
            );
        } else {
            bail!(
                "missing: rustup (keeps a nightly Rust beside the stable one, which compiles for BPF); install it \
                 from https://rustup.rs, then: rustup toolchain install nightly --component rust-src"
            );
        };
        let toolchain = Self { kind, has_rustup };
        if kind == Kind::Debian {
            toolchain.ensure_debian()?;
        }
        Ok(toolchain)
    }

    /// Tells a cargo that builds `lb-ctl` which compiler makes the BPF part.
    pub fn apply(&self, cargo: &mut Command) {
        cargo.env("LB_BPF_TOOLCHAIN", self.name());
        // An error names what failed; the stack of the build script or test below it helps nobody.
        cargo.env("RUST_LIB_BACKTRACE", "0");
        let mut path = OsString::new();
        if !self.has_rustup {
            // Without rustup to choose, one cargo compiles both parts: Debian's, the one that knows BPF.
            path.push("/usr/bin:");
        }
        path.push(env::var_os("PATH").unwrap_or_default());
        // `cargo install` puts the linker here, and a cargo that is not rustup's may not be found there.
        path.push(":");
        path.push(super::linker::directory());
        cargo.env("PATH", path);
    }

    /// rustup's name for it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Nightly => "nightly",
            Kind::Debian => "bpf",
        }
    }

    /// LLVM's major version in the compiler; the linker reads its output and must be of the same.
    pub(super) fn llvm_version(&self) -> Result<u32> {
        let mut rustc = match self.kind {
            Kind::Nightly => rustup(&["run", "nightly", "rustc"]),
            Kind::Debian => Command::new("/usr/bin/rustc"),
        };
        let output = rustc.arg("-vV").output().context("cannot start the BPF toolchain's rustc")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let major = version.and_then(|version| version.split('.').next()?.parse().ok());
        major.with_context(|| format!("rustc does not name its LLVM version:\n{text}"))
    }

    fn ensure_debian(&self) -> Result<()> {
        let missing = debian::missing(&PACKAGES);
        if !missing.is_empty() {
            eprintln!("missing: a Rust that compiles for BPF (the XDP program's target)");
            debian::install(&missing)?;
        }
        if self.has_rustup && sysroot("bpf").as_deref() != Some("/usr") {
            eprintln!("naming Debian's Rust `bpf` for rustup, so that it can be chosen beside yours");
            let status = rustup(&["toolchain", "link", "bpf", "/usr"]).status()?;
            ensure!(status.success(), "rustup toolchain link bpf /usr ended with {status}");
        }
        Ok(())
    }
}

fn nightly_has_sources() -> bool {
    sysroot("nightly").is_some_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library/core").exists())
}

fn sysroot(toolchain: &str) -> Option<String> {
    let output = rustup(&["run", toolchain, "rustc", "--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn rustup(arguments: &[&str]) -> Command {
    let mut rustup = Command::new("rustup");
    // Asking whether a toolchain is there must not download it.
    rustup.args(arguments).env("RUSTUP_AUTO_INSTALL", "0");
    rustup
}
