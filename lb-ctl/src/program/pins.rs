//! Where a load is pinned: `<BPF file system>/lb/<namespace cookie>/`.

use super::{attachment, namespace, object::pinned_maps, sysctl};
use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use std::{
    env,
    ffi::CString,
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

/// Names another BPF file system than the usual one.
const VARIABLE: &str = "LB_BPFFS";
/// Where it usually is, and where it is seen when `ip netns exec` has mounted a new `/sys` over it.
const USUAL: [&str; 2] = ["/sys/fs/bpf", "/proc/1/root/sys/fs/bpf"];
/// `BPF_FS_MAGIC` (`linux/magic.h`).
const MAGIC: i64 = 0xcafe_4a11;

/// The pins of one network namespace's balancer.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The namespace.
    pub cookie: u64,
    root: PathBuf,
}

impl Pins {
    /// Those of the network namespace that this process is in.
    pub fn here() -> Result<Self> {
        require_root()?;
        Ok(Self { cookie: namespace::cookie()?, root: file_system()?.join("lb") })
    }

    /// The directory of a complete load.
    pub fn directory(&self) -> PathBuf {
        self.root.join(self.cookie.to_string())
    }

    /// The directory of a load that is being made. (The BPF file system allows no dots in names.)
    pub fn unfinished(&self) -> PathBuf {
        self.root.join(format!("{}-new", self.cookie))
    }

    /// Removes what an interrupted load or unload has left; whether there was anything.
    pub fn clean(&self) -> Result<bool> {
        let unfinished = self.unfinished();
        let left = unfinished.is_dir();
        remove(&unfinished)?;
        // Without a complete load, nothing needs the settings that one has changed.
        let restored = !self.directory().is_dir() && sysctl::restore(self.cookie)?;
        Ok(left || restored)
    }

    /// The loads of every network namespace, finished or not.
    pub fn of_all(&self) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", self.root.display()))?,
        };
        let mut cookies = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let cookie = name.to_str().map(|name| name.strip_suffix("-new").unwrap_or(name));
            cookies.extend(cookie.and_then(|cookie| cookie.parse::<u64>().ok()));
        }
        cookies.sort_unstable();
        cookies.dedup();
        Ok(cookies.into_iter().map(|cookie| Self { cookie, root: self.root.clone() }).collect())
    }

    /// Removes the directory of all loads when this was the last one.
    pub fn forget(&self) {
        // Others may have loads of their own there.
        let _ = fs::remove_dir(&self.root);
    }

    /// The directory of a complete load, or the error that there is none.
    pub fn loaded(&self) -> Result<PathBuf> {
        let directory = self.directory();
        if directory.is_dir() {
            Ok(directory)
        } else if self.unfinished().is_dir() {
            bail!("a load or unload in this network namespace is under way or was interrupted: lb-ctl unload")
        } else {
            bail!("not loaded in this network namespace: lb-ctl load IFACE…")
        }
    }
}

fn require_root() -> Result<()> {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("not root: run it with sudo");
    }
    Ok(())
}

fn file_system() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        if !is_bpf(&named) {
            bail!("{VARIABLE}={0} is no BPF file system: mount -t bpf bpf {0}", named.display());
        }
        return Ok(named);
    }
    match USUAL.iter().find(|path| is_bpf(Path::new(path))) {
        Some(found) => Ok(found.into()),
        None => bail!("no BPF file system: mount -t bpf bpf {}", USUAL[0]),
    }
}

#[expect(clippy::unnecessary_cast, reason = "the type of f_type depends on the C library")]
fn is_bpf(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a C string, and room for the answer, which is read only when there is one.
    unsafe {
        libc::statfs(path.as_ptr(), about.as_mut_ptr()) == 0 && about.assume_init().f_type as i64 == MAGIC
    }
}

/// Bytes of kernel memory that the maps of a directory take, as the kernel charges them.
pub fn memory(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for (name, path) in pinned_maps(directory)? {
        let map = MapData::from_pin(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let about = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let about = fs::read_to_string(&about).with_context(|| format!("cannot read {about}"))?;
        let line = about.lines().find_map(|line| line.strip_prefix("memlock:"));
        sum += line
            .and_then(|bytes| bytes.trim().parse::<u64>().ok())
            .with_context(|| format!("no size of {name}"))?;
    }
    Ok(sum)
}

/// Removes a directory of pins, which detaches what only they held. Absent is fine.
pub fn remove(directory: &Path) -> Result<()> {
    let explain = || format!("cannot remove {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(explain)?,
    };
    attachment::detach(directory)?;
    for entry in entries {
        // The links are gone by now.
        let path = entry.with_context(explain)?.path();
        if !path.exists() {
            continue;
        }
        fs::remove_file(path).with_context(explain)?;
    }
    fs::remove_dir(directory).with_context(explain)
}
