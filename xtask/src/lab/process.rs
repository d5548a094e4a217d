//! A background process with a guard. Only what we started is ever ended, and only by its number.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use super::Namespace;
use crate::interrupt;

/// How long a process may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(10);

/// A process in the background. Dropping it ends it and the processes that it started.
pub struct Process {
    child: Child,
    log: PathBuf,
    // Keeps the namespace, and the directory with the log, as long as the process.
    _namespace: Namespace,
}

impl Process {
    pub(super) fn spawn<A: AsRef<OsStr>>(
        namespace: &Namespace,
        command: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        interrupt::check()?;
        let site = namespace.site();
        let mut words = command.into_iter();
        let program = words.next().context("an empty command")?;
        let log = site.directory().join(format!("process-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log)?;
        let mut command = namespace.command(program);
        command.args(words).stdout(file.try_clone()?).stderr(file);
        // A group of its own: Ctrl-C reaches us, not it, and its children end together with it.
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let process = Self { child, log, _namespace: namespace.clone() };
        let start = start_time(process.id()).unwrap_or_default();
        site.record("processes", &format!("{} {start}", process.id()))?;
        Ok(process)
    }

    /// Its process id, which is its process group as well.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, to either stream.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for it to end by itself; fails if it fails or takes longer. Returns what it printed.
    pub fn finish(mut self, within: Duration) -> Result<String> {
        let limit = Instant::now() + within;
        loop {
            interrupt::check()?;
            match self.ended()? {
                Some(status) if status.success() => return Ok(self.log()),
                Some(status) => bail!("ended with {status}:\n{}", self.log()),
                None if Instant::now() > limit => bail!("still running after {within:?}:\n{}", self.log()),
                None => sleep(TICK),
            }
        }
    }

    /// Sends a signal to it and to the processes that it started.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(group(self.id())?, signal).context("sending a signal")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not reaped yet, so its number cannot have been given to another.
        if let Ok(None) = self.child.try_wait() {
            end(self.id(), || !matches!(self.child.try_wait(), Ok(None)));
        }
        let _ = self.child.wait();
    }
}

/// Ends the processes that a lab recorded, as far as they still live.
pub(super) fn end_recorded(processes: &str) {
    for line in processes.lines() {
        let Some((id, start)) = line.split_once(' ') else { continue };
        let Ok(id) = id.parse() else { continue };
        // The same number with another start is another process.
        let gone = || start_time(id).is_none_or(|now| now != start);
        if !gone() {
            end(id, gone);
        }
    }
}

fn end(id: u32, mut gone: impl FnMut() -> bool) {
    let Ok(group) = group(id) else { return };
    let _ = kill_process_group(group, Signal::TERM);
    let limit = Instant::now() + GRACE;
    while !gone() {
        if Instant::now() > limit {
            let _ = kill_process_group(group, Signal::KILL);
            return;
        }
        sleep(TICK);
    }
}

fn group(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).context("not a process id")
}

/// Since boot, in clock ticks: field 22 of `/proc/<id>/stat`. None if the process is gone or a zombie.
fn start_time(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in brackets, and may contain anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}
