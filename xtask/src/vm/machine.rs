//! One boot: kernel and RAM disk, the command, and what it says over the serial port.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    cpio::Archive,
    packages::{self, newest, only, unpacked},
};
use crate::interrupt;

/// What the lab needs; the rest of a kernel's modules would triple the time to boot.
const MODULES: [&str; 9] = [
    "net/netfilter",
    "net/ipv4",
    "net/ipv6",
    "net/802",
    "net/8021q",
    "net/bridge",
    "net/llc",
    "lib",
    "crypto",
];
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
/// How long a machine may run.
const SECONDS: &str = "1800";
/// Before the exit status, in the last line that the guest prints.
const STATUS: &str = "vm-exit-status ";

const INIT: &str = r#"#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs run /run; mkdir -p /run/netns; mount -t bpf bpf /sys/fs/bpf
ln -sf /proc/self/fd /dev/fd
ip link set lo up; dmesg --console-level 1
modprobe -a veth bridge ip_vs
cd /vm
bash /vm/command </dev/null >/dev/ttyS0 2>&1
echo "vm-exit-status $?" >/dev/ttyS0
echo o >/proc/sysrq-trigger; sleep 10
"#;

/// A machine with one of Debian's kernels.
pub struct Machine {
    qemu: PathBuf,
    guest: PathBuf,
    kernel: PathBuf,
}

impl Machine {
    /// Downloads and unpacks what is missing of it.
    pub fn prepare(version: &str, package: &str) -> Result<Self> {
        let list = |text: &'static str| text.lines().collect::<Vec<_>>();
        let qemu = unpacked("qemu", &list(packages::QEMU))?;
        let guest = unpacked("guest", &list(packages::GUEST))?;
        let kernel = unpacked(&format!("linux-{version}"), &[newest(package)?.as_str()])?;
        let machine = Self { qemu, guest, kernel };
        machine.depmod()?;
        Ok(machine)
    }

    /// Boots it, runs a command of bash with files beside it, and returns the command's exit status.
    pub fn run(&self, command: &str, carried: &[(&str, PathBuf)]) -> Result<i32> {
        interrupt::watch();
        let ram_disk = packages::cache()?.join(format!("initrd-{}", std::process::id()));
        let written = self.write(&ram_disk, command, carried);
        let status = written.and_then(|()| self.boot(&ram_disk));
        fs::remove_file(&ram_disk)?;
        status
    }

    fn write(&self, path: &Path, command: &str, carried: &[(&str, PathBuf)]) -> Result<()> {
        let mut archive = Archive::new(BufWriter::new(File::create(path)?));
        archive.tree(&self.guest, Path::new(""))?;
        for name in ["vm", "root", "var/log/nginx", "var/lib/nginx"] {
            archive.directory(name)?;
        }
        let modules = only(&self.kernel.join("lib/modules"))?;
        let release = modules.strip_prefix(&self.kernel)?;
        archive.directory("lib/modules")?;
        archive.directory(&release.to_string_lossy())?;
        for entry in fs::read_dir(&modules)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = release.join(entry.file_name());
                archive.executable(&name.to_string_lossy(), &fs::read(entry.path())?)?;
            }
        }
        for part in ["", "net", "drivers", "drivers/net"] {
            archive.directory(&release.join("kernel").join(part).to_string_lossy())?;
        }
        for part in MODULES {
            let part = release.join("kernel").join(part);
            archive.directory(&part.to_string_lossy())?;
            archive.tree(&self.kernel, &part)?;
        }
        for name in ["veth.ko", "veth.ko.xz"] {
            let module = modules.join("kernel/drivers/net").join(name);
            if module.exists() {
                let name = release.join("kernel/drivers/net").join(name);
                archive.executable(&name.to_string_lossy(), &fs::read(module)?)?;
            }
        }
        archive.executable("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")?;
        archive.executable("etc/group", b"root:x:0:\n")?;
        archive.executable("init", INIT.as_bytes())?;
        archive.executable("vm/command", command.as_bytes())?;
        for (name, file) in carried {
            archive.executable(name, &fs::read(file).with_context(|| file.display().to_string())?)?;
        }
        Ok(archive.finish()?)
    }

    fn boot(&self, ram_disk: &Path) -> Result<i32> {
        let images = only_file(&self.kernel.join("boot"), "vmlinuz-")?;
        // In a group of its own, with an end: nothing that we start outlives us for long.
        let mut qemu = Command::new("timeout");
        qemu.arg(SECONDS).arg(self.qemu.join("usr/bin/qemu-system-x86_64"));
        for share in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(self.qemu.join(share));
        }
        qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"]);
        qemu.args(["-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot"]);
        qemu.args(["-monitor", "none", "-serial", "stdio", "-append"]);
        qemu.arg("console=ttyS0 quiet panic=-1 mitigations=off nowatchdog tsc=reliable");
        qemu.arg("-kernel").arg(images).arg("-initrd").arg(ram_disk);
        let libraries = LIBRARIES.map(|path| self.qemu.join(path).display().to_string()).join(":");
        qemu.env("LD_LIBRARY_PATH", libraries).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = qemu.spawn().context("cannot start qemu")?;
        let mut status = None;
        for line in BufReader::new(child.stdout.take().context("stdout is piped")?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            match line.strip_prefix(STATUS) {
                Some(number) => status = number.parse().ok(),
                None if status.is_none() => println!("{line}"),
                None => {}
            }
            if interrupt::check().is_err() {
                // To timeout, which passes it on to qemu.
                kill_process(Pid::from_child(&child), Signal::TERM)?;
            }
        }
        child.wait()?;
        interrupt::check()?;
        status.context("the machine ended, or its time did, before the command")
    }

    /// The packages have no list of which module needs which: their scripts make it.
    fn depmod(&self) -> Result<()> {
        let modules = only(&self.kernel.join("lib/modules"))?;
        if modules.join("modules.dep").exists() {
            return Ok(());
        }
        let libraries = LIBRARIES.map(|path| self.guest.join(path).display().to_string()).join(":");
        let mut depmod = Command::new(self.guest.join("bin/kmod"));
        depmod.arg0("depmod").arg("-b").arg(&self.kernel).env("LD_LIBRARY_PATH", libraries);
        let status = depmod.arg(modules.file_name().context("no release")?).status()?;
        ensure!(status.success(), "depmod ended with {status}");
        Ok(())
    }
}

fn only_file(directory: &Path, start: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(start) {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no {start} in {}", directory.display())
}
