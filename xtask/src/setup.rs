//! Installs what is missing, saying what and why. Asks before nothing, repeats nothing: when all is
//! there, it is silent and quick.

mod debian;
mod distribution;
mod linker;
mod programs;
mod toolchain;

use anyhow::Result;

use crate::elevate;
use distribution::Distribution;
pub use programs::find;
pub use toolchain::Toolchain;

/// What builds the project, and what the lab and the tests use besides.
pub fn everything() -> Result<Toolchain> {
    let distribution = Distribution::detect();
    programs::ensure(distribution, &programs::LAB)?;
    compiler(distribution)
}

/// The same, and what the benchmarks compare with.
pub fn for_benchmarks() -> Result<Toolchain> {
    programs::ensure(Distribution::detect(), &programs::BENCHMARKS)?;
    everything()
}

/// What builds the project.
pub fn build_tools() -> Result<Toolchain> {
    compiler(Distribution::detect())
}

fn compiler(distribution: Distribution) -> Result<Toolchain> {
    let toolchain = Toolchain::ensure(distribution)?;
    linker::ensure(distribution, &toolchain)?;
    Ok(toolchain)
}

/// The command as somebody would type it, for messages that name the exact remedy.
fn typed_as_root(command: &str) -> String {
    if elevate::is_root() { command.to_owned() } else { format!("sudo {command}") }
}
