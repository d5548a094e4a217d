//! Which kernel this is.

use anyhow::{Result, bail};
use aya::util::KernelVersion;

/// The oldest kernel whose verifier takes the program.
const OLDEST: KernelVersion = KernelVersion::new(6, 1, 0);

/// Refuses kernels that are too old.
pub fn require() -> Result<()> {
    let running = KernelVersion::current()?;
    if running < OLDEST {
        bail!("Linux {running} is too old: boot 6.1 or later");
    }
    Ok(())
}
