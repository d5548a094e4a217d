//! One `lb-ctl` changes a balancer at a time.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::{Duration, Instant},
};

/// What lives until the next boot, beside the pins: locks, and the system settings that `load` changed.
pub const RUN: &str = "/run/lb-ctl";
/// How long to wait for another `lb-ctl`.
const PATIENCE: Duration = Duration::from_secs(30);

/// An exclusive lock, held until dropped; the kernel drops it when the process dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock on changes in the network namespace with this cookie.
    pub fn take(cookie: u64) -> Result<Self> {
        let path = Path::new(RUN).join(format!("{cookie}.lock"));
        match Self::wait(&path, PATIENCE)? {
            Ok(lock) => Ok(lock),
            Err(holder) => bail!(
                "another lb-ctl (pid {holder}) has been changing this balancer for {} seconds: wait or end it",
                PATIENCE.as_secs()
            ),
        }
    }

    /// The lock on tracing, or the pid of the process that traces.
    pub fn take_trace(cookie: u64) -> Result<Result<Self, String>> {
        Self::wait(&trace_path(cookie), Duration::ZERO)
    }

    /// Whether some process holds the lock on tracing.
    pub fn is_tracing(cookie: u64) -> bool {
        // Without the file there is no holder; a free lock is given back at once.
        File::open(trace_path(cookie))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Removes the file, so that nothing of it stays.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        // Other namespaces may have files there.
        let _ = fs::remove_dir(RUN);
        Ok(())
    }

    /// The lock, or the pid of its holder after a time.
    fn wait(path: &Path, patience: Duration) -> Result<Result<Self, String>> {
        let start = Instant::now();
        loop {
            if let Some(mut lock) = Self::open(path)? {
                match lock.file.try_lock() {
                    // A file that was removed while this waited locks nothing.
                    Ok(()) if lock.is_current() => {
                        lock.file.set_len(0)?;
                        lock.file.rewind()?;
                        writeln!(lock.file, "{}", process::id())?;
                        return Ok(Ok(lock));
                    }
                    Ok(()) => continue,
                    Err(TryLockError::WouldBlock) if start.elapsed() < patience => {}
                    Err(TryLockError::WouldBlock) => {
                        let mut holder = String::new();
                        // The pid is a help for the reader; the lock does not depend on it.
                        let _ = lock.file.read_to_string(&mut holder);
                        return Ok(Err(holder.trim().to_owned()));
                    }
                    Err(TryLockError::Error(error)) => {
                        return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                    }
                }
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// `None` when another process has just removed the directory.
    fn open(path: &Path) -> Result<Option<Self>> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
            Ok(file) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
        }
    }

    fn is_current(&self) -> bool {
        let inode = |about: io::Result<Metadata>| about.map(|about| about.ino()).ok();
        inode(self.file.metadata()) == inode(fs::metadata(&self.path))
    }
}

fn trace_path(cookie: u64) -> PathBuf {
    Path::new(RUN).join(format!("{cookie}.trace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_then_names_the_first() {
        let path = std::env::temp_dir().join(format!("lb-ctl-{}", process::id())).join("1.lock");
        let first = Lock::wait(&path, Duration::ZERO).unwrap().unwrap();
        let holder = Lock::wait(&path, Duration::from_millis(30)).unwrap().unwrap_err();
        assert_eq!(holder, process::id().to_string());

        fs::remove_file(&path).unwrap();
        let second = Lock::wait(&path, Duration::ZERO).unwrap().unwrap();
        assert!(!first.is_current() && second.is_current());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
