//! A program of either hook: aya has a type for each.

use aya::{
    TestRunOptions, TestRunResult,
    pin::PinError,
    programs::{Program, ProgramError, ProgramFd, ProgramInfo, SchedClassifier, TestRun as _, Xdp},
};
use std::path::Path;

/// How often a load is tried that a signal interrupts, as by libbpf.
const ATTEMPTS: u32 = 5;

/// A program of the balancer.
#[derive(Debug)]
pub enum Hooked<'a> {
    /// For the driver's buffers.
    Xdp(&'a mut Xdp),
    /// For socket buffers.
    Tc(&'a mut SchedClassifier),
}

impl<'a> TryFrom<&'a mut Program> for Hooked<'a> {
    type Error = ProgramError;

    fn try_from(program: &'a mut Program) -> Result<Self, ProgramError> {
        match program {
            Program::SchedClassifier(program) => Ok(Self::Tc(program)),
            program => program.try_into().map(Self::Xdp),
        }
    }
}

impl Hooked<'_> {
    /// Loads it into the kernel. The verifier gives up with `EAGAIN` when a signal is pending, which a
    /// suspended machine is enough for (`do_check` in `kernel/bpf/verifier.c`): then it is asked again.
    pub fn load(&mut self) -> Result<(), ProgramError> {
        let mut loaded = self.try_load();
        for _ in 1..ATTEMPTS {
            match &loaded {
                Err(ProgramError::LoadError { io_error, .. })
                    if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
                _ => break,
            }
            loaded = self.try_load();
        }
        loaded
    }

    fn try_load(&mut self) -> Result<(), ProgramError> {
        match self {
            Self::Xdp(program) => program.load(),
            Self::Tc(program) => program.load(),
        }
    }

    /// Its file descriptor.
    pub fn fd(&self) -> Result<&ProgramFd, ProgramError> {
        match self {
            Self::Xdp(program) => program.fd(),
            Self::Tc(program) => program.fd(),
        }
    }

    /// What the kernel tells about it.
    pub fn info(&self) -> Result<ProgramInfo, ProgramError> {
        match self {
            Self::Xdp(program) => program.info(),
            Self::Tc(program) => program.info(),
        }
    }

    /// Pins it.
    pub fn pin(&mut self, path: &Path) -> Result<(), PinError> {
        match self {
            Self::Xdp(program) => program.pin(path),
            Self::Tc(program) => program.pin(path),
        }
    }

    /// Runs it once on a packet.
    pub fn test_run(&self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError> {
        match self {
            Self::Xdp(program) => program.test_run(options),
            Self::Tc(program) => program.test_run(options),
        }
    }
}
