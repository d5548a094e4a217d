//! `cargo xtask vm test`: boots each kernel, shows what the guest says, and closes with a table.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Result, ensure};

use super::{
    Kernel, carried, guest,
    machine::Machine,
    ram_disk::Carried,
    reboot,
    report::{Item, Report},
};
use crate::{build, setup};

/// What `cargo xtask vm test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Which kernel
    #[arg(long, value_enum, default_value = "all")]
    kernel: Kernel,
    /// Only steps whose name contains this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Of the comparison with IPVS, only scripts whose name contains this
    #[arg(long, value_name = "WORD")]
    script: Option<String>,
    /// The results as JSON on standard output instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs it on each kernel, and fails if anything did.
pub fn run(args: &Args) -> Result<()> {
    let mut carried = carried()?;
    let stripped = tempfile::tempdir()?;
    carried.extend(tests(stripped.path())?);
    let mut command = "/vm/xtask vm guest".to_owned();
    for (option, word) in [("--only", &args.only), ("--script", &args.script)] {
        if let Some(word) = word {
            command += &format!(" {option} '{word}'");
        }
    }
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (version, package) in args.kernel.each() {
        let started = Instant::now();
        let mut report = Report::new(version);
        let status =
            Machine::prepare(version, package)?.with_cards().run(
                &command,
                &carried,
                |line| match Item::parse(line) {
                    Some(item) => report.add(item),
                    None => eprintln!("[{version} {:4.0} s] {line}", started.elapsed().as_secs_f64()),
                },
            )?;
        if args.only.as_ref().is_none_or(|only| reboot::STEP.contains(only.as_str())) {
            report.add(reboot::run(version, package)?);
        }
        if let (Some(word), true) = (&args.only, report.steps.is_empty()) {
            failures.push(format!(
                "Linux {version}: no step is called '{word}'; without --only all run, with their names"
            ));
        }
        failures.extend(report.failures());
        if status != 0 {
            failures.push(format!("Linux {version}: exit status {status}"));
        }
        reports.push(report);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        for report in &reports {
            println!("\n{}", report.table());
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The namespace tests, without debug information, which is most of them.
fn tests(directory: &Path) -> Result<Vec<Carried>> {
    let binaries = build::namespace_tests(&setup::build_tools()?, &guest::TESTS)?;
    let stripped = guest::TESTS.iter().zip(binaries).map(|(name, binary)| {
        let file = directory.join(name);
        let status = Command::new("strip").arg("--strip-debug").arg("-o").args([&file, &binary]).status()?;
        ensure!(status.success(), "strip {} ended with {status}", binary.display());
        Ok((format!("vm/{name}"), file))
    });
    stripped.collect()
}
