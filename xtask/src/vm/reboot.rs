//! A director as its users have one: the Debian package, systemd as the first process, and a disk that outlives a
//! boot. After the second boot everything has to be what it was.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::{
    machine::Machine,
    packages::{SYSTEMD, unpacked},
    ram_disk::RamDisk,
};
use crate::dist;

/// The name of the step.
pub const STEP: &str = "a reboot";

/// The disk's size.
const DISK: u64 = 64 << 20;

/// Mounts the disk where the package keeps what is saved, and leaves the machine to systemd.
const INIT: &str = "#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
until test -b /dev/nvme0n1; do sleep 0.1; done
mkdir -p /var/lib/lb-ctl; mount /dev/nvme0n1 /var/lib/lb-ctl
systemctl --quiet enable lb-ctl late announced reboot-test
exec /lib/systemd/systemd --unit=multi-user.target --show-status=no
";

/// What the units of the test run.
const SCRIPT: &str = include_str!("reboot.sh");

/// Files of the machine. No unit of the test is ordered against lb-ctl.service, nor is that against them.
const FILES: [(&str, &str); 6] = [
    ("etc/machine-id", "00000000000000000000000000000001\n"),
    ("etc/lb-ctl/lb-ctl.conf", "LB_INTERFACES=\"outside inside\"\nLB_SAVED=/var/lib/lb-ctl/saved.toml\n"),
    (
        "etc/systemd/system/late.service",
        "[Unit]
After=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash /vm/command late
[Install]
WantedBy=multi-user.target
",
    ),
    (
        "etc/systemd/system/announced.service",
        "[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash /vm/command announced
[Install]
WantedBy=multi-user.target
",
    ),
    (
        "etc/systemd/system/reboot-test.service",
        "[Unit]
After=late.service announced.service
[Service]
ExecStart=/bin/bash /vm/command test
[Install]
WantedBy=multi-user.target
",
    ),
    ("vm/www/index.html", "Web1 called.\n"),
];

/// What the machine boots with besides its own: systemd's packages, unpacked, and ours, to be unpacked.
pub struct Packages {
    systemd: PathBuf,
    ours: PathBuf,
}

impl Packages {
    /// Downloads and builds what is missing of it.
    pub fn prepare() -> Result<Self> {
        let systemd = unpacked("systemd", &SYSTEMD.lines().collect::<Vec<_>>())?;
        Ok(Self { systemd, ours: dist::package()? })
    }
}

/// Boots twice.
pub fn run(machine: &Machine, packages: &Packages) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (installed, files) = (directory.path().join("installed"), directory.path().join("files"));
    command("dpkg-deb", &["--extract".as_ref(), &packages.ours, &installed])?;
    for (path, text) in FILES {
        let path = files.join(path);
        fs::create_dir_all(path.parent().context("a file in no directory")?)?;
        fs::write(path, text)?;
    }
    let disk = directory.path().join("disk");
    File::create(&disk)?.set_len(DISK)?;
    command("mkfs.ext4", &["-q".as_ref(), &disk])?;
    // What this boot changes is gone with the next, but for the disk.
    let trees = [&machine.guest, &packages.systemd, &installed, &files].map(AsRef::as_ref);
    let ram_disk = RamDisk::new(&trees, &machine.kernel, INIT, SCRIPT, &[])?;
    for boot in ["first", "second"] {
        let started = Instant::now();
        let status = machine.boot(&ram_disk, Some(&disk), |line| {
            eprintln!("[{} {boot} boot {:4.0} s] {line}", machine.version, started.elapsed().as_secs_f64());
        })?;
        ensure!(status == 0, "the {boot} boot: exit status {status}");
    }
    Ok(())
}

fn command(program: &str, arguments: &[&Path]) -> Result<()> {
    let status =
        Command::new(program).args(arguments).status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
