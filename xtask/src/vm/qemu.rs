//! QEMU as a child that cannot outlive us.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command},
};

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// A running QEMU. Dropping it ends it, and so does our death, of whatever kind.
pub struct Qemu(Child);

impl Qemu {
    /// Starts it. The thread that does has to live as long as the machine is needed: the kernel takes
    /// its end for ours.
    pub fn start(command: &mut Command) -> Result<Self> {
        let parent = getpid();
        let with_us = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // We may have died before the kernel was asked.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        };
        // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
        let command = unsafe { command.pre_exec(with_us) };
        Ok(Self(command.spawn().context("cannot start qemu")?))
    }

    /// What the guest writes to its serial port.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.0.stdout.take().context("stdout is piped")
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<()> {
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Fails for one that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::Qemu;
    use std::{os::unix::process::ExitStatusExt, process::Command, thread};

    #[test]
    fn it_is_killed_when_whoever_started_it_ends_without_a_word() {
        let starter = thread::spawn(|| {
            let mut qemu = Qemu::start(Command::new("sleep").arg("60")).unwrap();
            assert!(!qemu.ended().unwrap());
            qemu
        });
        let mut qemu = starter.join().unwrap();
        assert_eq!(qemu.0.wait().unwrap().signal(), Some(9));
    }
}
