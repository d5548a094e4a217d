//! What the machine boots into: the guest's packages, its kernel's modules, and what we carry in, as one
//! RAM disk.

use std::{
    fs::{self, File},
    io::BufWriter,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result};

use super::{
    cpio::Archive,
    packages::{cache, only},
};

/// What the lab needs; the rest of a kernel's modules would triple the time to boot.
const MODULES: [&str; 18] = [
    "arch/x86/crypto",
    "drivers/net/bonding",
    "drivers/net/ipvlan",
    "drivers/net/vxlan",
    "drivers/net/wireguard",
    "drivers/virtio",
    "net/netfilter",
    "net/ipv4",
    "net/ipv6",
    "net/802",
    "net/8021q",
    "net/bridge",
    "net/llc",
    "net/sched",
    "net/sctp",
    "net/tls",
    "lib",
    "crypto",
];

/// Single modules, without what their names end in.
const SINGLE_MODULES: [&str; 7] = [
    "drivers/net/dummy",
    "drivers/net/macvlan",
    "drivers/net/net_failover",
    "drivers/net/tun",
    "drivers/net/veth",
    "drivers/net/virtio_net",
    "net/core/failover",
];

/// The first process, where the machine is there for one command.
pub const INIT: &str = r#"#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/vm HOME=/root TERM=dumb LC_ALL=C
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs run /run; mkdir -p /run/netns; mount -t bpf bpf /sys/fs/bpf
ln -sf /proc/self/fd /dev/fd
ip link set lo up; dmesg --console-level 1
modprobe -a veth bridge 8021q
modprobe ip_vs conn_tab_bits=16
ulimit -n 65536; cd /vm
bash /vm/command </dev/null >/dev/ttyS0 2>&1
echo "vm-exit-status $?" >/dev/ttyS0
echo o >/proc/sysrq-trigger; sleep 10
"#;

/// The path below `/` that the guest finds a file of the host at, and that file.
pub type Carried = (String, PathBuf);

/// A RAM disk in a file without a name: whatever ends us, nothing is left of it.
pub struct RamDisk(File);

impl RamDisk {
    /// From these directories, whose files are those of `/`, and that of the kernel's package. `init` is the
    /// first process, `command` is bash's.
    pub fn new(
        trees: &[&Path],
        kernel: &Path,
        init: &str,
        command: &str,
        carried: &[Carried],
    ) -> Result<Self> {
        let file = tempfile::tempfile_in(cache()?)?;
        let mut archive = Archive::new(BufWriter::new(&file));
        for tree in trees {
            archive.tree(tree, Path::new(""))?;
        }
        for name in ["vm", "root", "var/log/nginx", "var/lib/nginx"] {
            archive.directory(name)?;
        }
        modules(&mut archive, kernel)?;
        archive.executable("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n")?;
        archive.executable("etc/group", b"root:x:0:\n")?;
        archive.executable("init", init.as_bytes())?;
        archive.executable("vm/command", command.as_bytes())?;
        for (name, file) in carried {
            archive.executable(name, &fs::read(file).with_context(|| file.display().to_string())?)?;
        }
        archive.finish()?;
        Ok(Self(file))
    }

    /// A path that other processes can open while this lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd()).into()
    }
}

fn modules(archive: &mut Archive<BufWriter<&File>>, kernel: &Path) -> Result<()> {
    let modules = only(&kernel.join("lib/modules"))?;
    let release = modules.strip_prefix(kernel)?;
    archive.directory("lib/modules")?;
    archive.directory(&release.to_string_lossy())?;
    for entry in fs::read_dir(&modules)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = release.join(entry.file_name());
            archive.executable(&name.to_string_lossy(), &fs::read(entry.path())?)?;
        }
    }
    for part in ["", "arch", "arch/x86", "net", "net/core", "drivers", "drivers/net"] {
        archive.directory(&release.join("kernel").join(part).to_string_lossy())?;
    }
    for part in MODULES {
        let part = release.join("kernel").join(part);
        // A kernel may have it built in.
        if kernel.join(&part).exists() {
            archive.directory(&part.to_string_lossy())?;
            archive.tree(kernel, &part)?;
        }
    }
    for name in SINGLE_MODULES {
        for ending in ["ko", "ko.xz"] {
            let name = release.join("kernel").join(name).with_added_extension(ending);
            let module = kernel.join(&name);
            if module.exists() {
                archive.executable(&name.to_string_lossy(), &fs::read(module)?)?;
            }
        }
    }
    Ok(())
}
