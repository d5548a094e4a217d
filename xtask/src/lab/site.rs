//! The ground a lab stands on: a directory that records all that was started, so that one piece of
//! code removes it, be it at the end of the lab's life or later with `cargo xtask run --end`.
//!
//! ```text
//! /run/lb-lab/<id>/owner        locked while the process that raised the lab lives
//!                  kept         there if the lab is to outlive that process
//!                  namespaces   a name a line, written before the namespace is made
//!                  processes    process id and start time of each background process
//!                  bpf/         a BPF file system of the lab's own, named to lb-ctl by LB_BPFFS
//!                  state/       lb-ctl's history, named by LB_STATE
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Namespace, process::end_recorded};
use crate::{elevate, interrupt};

// Root's alone: what the files below name is killed and removed by root.
const LABS: &str = "/run/lb-lab";
/// Where lb-ctl keeps locks and the settings that it changed, by the same names as its pins.
const RUN: &str = "/run/lb-ctl";

/// One lab's directory. Dropping it ends all that it records.
pub struct Site {
    id: String,
    directory: PathBuf,
    lb_ctl: PathBuf,
    _owner: File,
}

impl Site {
    /// An empty site; it remembers which `lb-ctl` its namespaces run.
    pub fn new(lb_ctl: PathBuf) -> Result<Arc<Self>> {
        ensure!(elevate::is_root(), "the lab needs root for its network namespaces; run: cargo xtask test");
        interrupt::watch();
        make_directory(Path::new(LABS)).or_else(ignore(ErrorKind::AlreadyExists)).context(LABS)?;
        end_where(|directory| !directory.join("kept").exists())?;

        let (id, directory) = claim()?;
        // Locked before it has the name that others look for: unlocked, it would be a dead lab's.
        let unnamed = directory.join("owner.new");
        let owner = File::create(&unnamed)?;
        owner.lock()?;
        fs::rename(unnamed, directory.join("owner"))?;
        let site = Self { id, directory, lb_ctl, _owner: owner };
        let bpf = site.bpffs();
        make_directory(&bpf)?;
        mount("bpf", &bpf, "bpf", MountFlags::empty(), None).context("mounting a BPF file system")?;
        Ok(Arc::new(site))
    }

    /// A new namespace, empty but for `lo`, which is up. `role` is unique within the lab.
    pub fn namespace(self: &Arc<Self>, role: &str) -> Result<Namespace> {
        let name = format!("lb-lab-{}-{role}", self.id);
        self.record("namespaces", &name)?;
        Namespace::new(name, Arc::clone(self))
    }

    /// Where files of this lab may lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The lab's BPF file system.
    pub fn bpffs(&self) -> PathBuf {
        self.directory.join("bpf")
    }

    /// Where `lb-ctl` keeps its history.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The binary under test.
    pub fn lb_ctl(&self) -> &Path {
        &self.lb_ctl
    }

    pub(super) fn keep(&self) -> Result<()> {
        File::create(self.directory.join("kept"))?;
        Ok(())
    }

    pub(super) fn record(&self, file: &str, line: &str) -> Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.directory.join(file))?;
        // One write, so that lines of two threads do not mix.
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// Ends every lab whose owner is gone, kept or not; how many they were.
pub fn end_all() -> Result<usize> {
    end_where(|_| true)
}

fn end_where(wanted: impl Fn(&Path) -> bool) -> Result<usize> {
    let labs = match fs::read_dir(LABS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        labs => labs.context(LABS)?,
    };
    let mut ended = 0;
    for lab in labs {
        let directory = lab?.path();
        // No owner file: another process is about to create it, or to remove the directory.
        let Ok(owner) = File::open(directory.join("owner")) else { continue };
        if owner.try_lock().is_ok() && wanted(&directory) {
            remove(&directory);
            ended += 1;
        }
    }
    Ok(ended)
}

/// Goes on after a failure: what is left is named, and the rest is gone.
fn remove(directory: &Path) {
    let complain = |error: &dyn std::fmt::Display| eprintln!("warning: {}: {error}", directory.display());
    let recorded = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();

    end_recorded(&recorded("processes"));
    for name in recorded("namespaces").lines().filter(|name| Path::new("/run/netns").join(name).exists()) {
        match Command::new("ip").args(["netns", "delete", name]).status() {
            Ok(status) if status.success() => {}
            Ok(status) => complain(&format!("ip netns delete {name} ended with {status}")),
            Err(error) => complain(&error),
        }
    }
    // A load that nobody ended goes with its pins, but for these.
    for load in fs::read_dir(directory.join("bpf/lb")).into_iter().flatten().flatten() {
        let name = load.file_name();
        let cookie = name.to_string_lossy();
        for kind in ["lock", "json"] {
            let _ =
                fs::remove_file(Path::new(RUN).join(format!("{}.{kind}", cookie.trim_end_matches("-new"))));
        }
    }
    let _ = fs::remove_dir(RUN);
    // Lazily: a shell that stands in it must not keep the mount alive. The pins go with it.
    match unmount(directory.join("bpf"), UnmountFlags::DETACH) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => complain(&error),
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        complain(&error);
    }
    // Succeeds for the last lab only.
    let _ = fs::remove_dir(LABS);
}

/// An identity nobody has: this process's id, and a number from the second lab on.
fn claim() -> Result<(String, PathBuf)> {
    let process = process::id();
    for number in 1..1000 {
        let id = if number == 1 { process.to_string() } else { format!("{process}-{number}") };
        let directory = Path::new(LABS).join(&id);
        match make_directory(&directory) {
            Ok(()) => return Ok((id, directory)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // The last lab of another process took the parent with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_directory(Path::new(LABS)).or_else(ignore(ErrorKind::AlreadyExists))?;
            }
            Err(error) => return Err(error).context(LABS),
        }
    }
    bail!("{LABS} is full; run: cargo xtask run --end")
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn ignore(kind: ErrorKind) -> impl Fn(std::io::Error) -> std::io::Result<()> {
    move |error| if error.kind() == kind { Ok(()) } else { Err(error) }
}
