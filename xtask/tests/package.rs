//! The Debian package, installed, upgraded, removed and purged in a copy of this system. Needs root, and dpkg.

use std::process::Command;

use anyhow::{Result, ensure};
use xtask::dist;

#[test]
fn it_is_installed_upgraded_removed_and_purged() -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/package.sh");
    let output = Command::new("unshare").args(["--mount", "bash", script]).arg(dist::package()?).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
