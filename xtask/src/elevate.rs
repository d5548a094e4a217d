//! Root rights: needed for packages, network namespaces and XDP, and for nothing else.

use std::{ffi::OsStr, process::Command};

/// Whether we are root already.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command that runs as root: as it is when we are root already, through `sudo` otherwise.
pub fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--preserve-env").arg(program);
    sudo
}
