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
