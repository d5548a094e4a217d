//! One `lb-ctl` changes a balancer at a time.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
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
    _file: File,
}

impl Lock {
    /// Waits for the lock of the network namespace with this cookie.
    pub fn take(cookie: u64) -> Result<Self> {
        fs::create_dir_all(RUN).with_context(|| format!("cannot create {RUN}"))?;
        Self::take_file(&path(cookie), PATIENCE)
    }

    fn take_file(path: &Path, patience: Duration) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let start = Instant::now();
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if start.elapsed() < patience => sleep(Duration::from_millis(10)),
                TryLockError::WouldBlock => {
                    let mut holder = String::new();
                    // The pid is a help for the reader; the lock does not depend on it.
                    let _ = file.read_to_string(&mut holder);
                    bail!(
                        "another lb-ctl (pid {}) has been changing this balancer for {} seconds: wait or end it",
                        holder.trim(),
                        patience.as_secs()
                    );
                }
                TryLockError::Error(error) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", process::id())?;
        Ok(Self { _file: file })
    }
}

fn path(cookie: u64) -> PathBuf {
    Path::new(RUN).join(format!("{cookie}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_then_names_the_first() {
        let path = std::env::temp_dir().join(format!("lb-ctl-{}.lock", process::id()));
        let first = Lock::take_file(&path, Duration::ZERO).unwrap();
        let error = Lock::take_file(&path, Duration::from_millis(30)).unwrap_err();
        assert!(error.to_string().contains(&process::id().to_string()), "{error}");
        drop(first);
        Lock::take_file(&path, Duration::ZERO).unwrap();
        fs::remove_file(path).unwrap();
    }
}
