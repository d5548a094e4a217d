//! bpf-linker, which turns LLVM bitcode into the object that the kernel loads.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};

use super::{debian, distribution::Distribution, toolchain::Toolchain, typed_as_root};
use crate::progress::{self, Sign};

/// The version that this project was built with.
const VERSION: &str = "0.13.0";

pub fn ensure(distribution: Distribution, toolchain: &Toolchain) -> Result<()> {
    if works() {
        return Ok(());
    }
    eprintln!("missing: bpf-linker (links the XDP program)");
    let llvm = toolchain.llvm_version()?;
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    let packages = packages.each_ref().map(String::as_str);
    if distribution.has_apt() {
        let missing = debian::missing(&packages);
        if !missing.is_empty() {
            eprintln!("missing: LLVM {llvm}'s libraries (bpf-linker is made of them)");
            debian::install(&missing)?;
        }
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--no-default-features"])
        .arg(format!("--features=llvm-{llvm}"))
        // That one is this project's.
        .env_remove("CARGO_TARGET_DIR");
    if prefix.exists() {
        cargo.env("LLVM_PREFIX", &prefix);
    } else {
        let remedy = llvm_command(distribution).map_or_else(String::new, |command| format!(": {command}"));
        ensure!(
            which::which("llvm-config").is_ok(),
            "missing: LLVM {llvm} with its headers; install it{remedy}"
        );
    }
    progress::watched("building bpf-linker (a minute or two, once)", &mut cargo, sign)?;
    Ok(())
}

fn llvm_command(distribution: Distribution) -> Option<String> {
    let package = match distribution {
        Distribution::Pacman => "llvm",
        Distribution::Dnf | Distribution::Zypper => "llvm-devel",
        Distribution::Bookworm | Distribution::Apt | Distribution::Unknown => return None,
    };
    Some(typed_as_root(&format!("{} {package}", distribution.install_command()?)))
}

/// Where `cargo install` puts it.
pub fn directory() -> PathBuf {
    let root = env::var_os("CARGO_INSTALL_ROOT").or_else(|| env::var_os("CARGO_HOME")).map(PathBuf::from);
    root.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo"))).unwrap_or_default().join("bin")
}

/// Started, not only found: it is linked with LLVM's library, which an upgrade may have taken away.
fn works() -> bool {
    let found = which::which("bpf-linker").unwrap_or_else(|_| directory().join("bpf-linker"));
    let mut linker = Command::new(found);
    linker.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    linker.status().is_ok_and(|status| status.success())
}

fn sign(line: &str) -> Sign {
    match line.trim_start() {
        line if line.starts_with("Compiling") || line.starts_with("Downloaded") => {
            Sign::Doing(line.to_owned())
        }
        _ => Sign::Nothing,
    }
}
