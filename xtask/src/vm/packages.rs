//! The Debian packages a machine is made of: downloaded as files and unpacked, never installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::progress::{Sign, watched};

/// What runs the machine.
pub const QEMU: &str = include_str!("qemu.txt");
/// What it finds in its file system.
pub const GUEST: &str = include_str!("guest.txt");

/// What a guest finds in it besides whose first process is systemd.
pub const SYSTEMD: &str = include_str!("systemd.txt");

/// Where downloads and unpacked packages lie: outside the target directory, because they outlive a
/// `cargo clean`.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("lb-vm"))
}

/// The directory with these packages unpacked, made anew unless it was completed before.
pub fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let directory = cache()?.join(name);
    let complete = directory.join(".complete");
    let wanted = packages.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|done| done == wanted) {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let archives = cache()?.join(format!("{name}-packages"));
    fs::create_dir_all(&archives)?;
    fs::create_dir_all(&directory)?;
    let mut apt = Command::new("apt-get");
    apt.arg("download").args(packages).current_dir(&archives);
    watched(&format!("downloading {} packages for {name}", packages.len()), &mut apt, sign)
        .context("apt-get update may help; it takes Debian 12")?;
    for archive in fs::read_dir(&archives)? {
        let path = archive?.path();
        let status = Command::new("dpkg-deb").arg("--extract").args([&path, &directory]).status()?;
        ensure!(status.success(), "dpkg-deb --extract {} ended with {status}", path.display());
    }
    fs::remove_dir_all(&archives)?;
    fs::write(complete, wanted)?;
    Ok(directory)
}

/// The package that a package for "the newest of its kind" depends on.
pub fn newest(package: &str) -> Result<String> {
    let output = Command::new("apt-cache").args(["depends", package]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let depends = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    depends.map(str::to_owned).with_context(|| format!("apt knows no package {package}: apt-get update"))
}

/// The only directory in a directory.
pub fn only(directory: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(directory)?.next().with_context(|| format!("{} is empty", directory.display()));
    Ok(entry??.path())
}

fn sign(line: &str) -> Sign {
    if line.starts_with("Get:") { Sign::Doing(line.to_owned()) } else { Sign::Nothing }
}
