//! Which kernel this is.

use anyhow::{Result, bail};
use aya::util::KernelVersion;

/// The oldest kernel whose verifier takes the program.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// The first kernel with links for tc (`tcx`).
const TC_LINKS: KernelVersion = KernelVersion::new(6, 6, 0);

/// Whether tc programs are held by links; if not, by filters.
pub fn has_tc_links() -> Result<bool> {
    Ok(KernelVersion::current()? >= TC_LINKS)
}

/// Refuses kernels that are too old.
pub fn require() -> Result<()> {
    let running = KernelVersion::current()?;
    if running < OLDEST {
        bail!("Linux {running} is too old: boot 6.1 or later");
    }
    Ok(())
}

/// Nanoseconds of a jiffy: what the kernel's coarse clocks are moved on by.
pub fn jiffy() -> u32 {
    let mut resolution = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes there; this clock always exists.
    unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &mut resolution) };
    resolution.tv_nsec as u32
}
