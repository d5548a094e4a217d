//! Every test: the host's first, then those that raise namespaces and load the program.

use std::{
    ffi::OsString,
    io::{Read, Write, stdout},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{build, elevate, setup, told::Told};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Passed on to `cargo test`, for instance `-p xtask --test classic`
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

/// Runs them all, or those that the arguments choose, and closes with how many passed.
pub fn run(args: Args) -> Result<()> {
    let toolchain = setup::everything()?;
    let lb_ctl = build::lb_ctl(&toolchain)?;

    let mut cargo = Command::new("cargo");
    cargo.arg("test").env("LB_CTL", lb_ctl);
    toolchain.apply(&mut cargo);
    if args.cargo.is_empty() {
        // Every crate's tests run even if those of one fail: a report of all failures, not the first.
        cargo.args(["--workspace", "--no-fail-fast"]);
    } else {
        cargo.args(args.cargo);
    }
    if !elevate::is_root() {
        // Compiled as the user, run as root: nothing in the target directory changes hands.
        cargo.env(runner_variable()?, "sudo --preserve-env");
    }
    let mut cargo = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let said = shown(&mut cargo.stdout.take().context("stdout is piped")?)?;
    let status = cargo.wait()?;
    let (passed, failed) = counted(&said);
    println!("\n{passed} passed, {failed} failed");
    match status.success() {
        true => Ok(()),
        false if failed > 0 => bail!(Told),
        false => bail!("cargo test ended with {status}"),
    }
}

/// Shows what comes, as it comes, and returns it.
fn shown(from: &mut impl Read) -> Result<String> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let length @ 1.. = from.read(&mut piece)? {
        stdout().write_all(&piece[..length])?;
        stdout().flush()?;
        all.extend(&piece[..length]);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// The sum of what each test binary says of itself.
fn counted(said: &str) -> (u32, u32) {
    let results = said.lines().filter_map(|line| line.strip_prefix("test result: "));
    let number = |result: &str, of: &str| {
        let words: Vec<_> = result.split([' ', ';']).collect();
        let place = words.iter().position(|word| *word == of);
        place.and_then(|place| words[place - 1].parse::<u32>().ok()).unwrap_or(0)
    };
    results.fold((0, 0), |(passed, failed), result| {
        (passed + number(result, "passed"), failed + number(result, "failed"))
    })
}

/// The variable that names the program cargo starts test binaries with, for this host's target.
fn runner_variable() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    let tuple = String::from_utf8(output.stdout)?;
    let tuple = tuple.trim().replace(['-', '.'], "_").to_uppercase();
    ensure!(!tuple.is_empty(), "rustc does not name its host");
    Ok(format!("CARGO_TARGET_{tuple}_RUNNER"))
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn results_of_all_binaries_add_up() {
        let said = "test a ... ok\n\ntest result: ok. 33 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 2 passed; 4 failed; 0 ignored; finished in 0.10s\n";
        assert_eq!(counted(said), (35, 4));
    }
}
