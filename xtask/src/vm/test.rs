//! `cargo xtask vm test`: boots each kernel, shows what the guest says, and closes with a table.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{
    Kernel, carried,
    machine::Machine,
    report::{Item, Report},
};

/// What `cargo xtask vm test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Which kernel
    #[arg(long, value_enum, default_value = "all")]
    kernel: Kernel,
    /// Only steps whose name contains this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// The results as JSON on standard output instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs it on each kernel, and fails if anything did.
pub fn run(args: &Args) -> Result<()> {
    let carried = carried()?;
    let mut reports = Vec::new();
    let mut failures = Vec::new();
    for (version, package) in args.kernel.each() {
        let only = args.only.as_ref().map_or_else(String::new, |only| format!(" --only '{only}'"));
        let started = Instant::now();
        let mut report = Report::new(version);
        let status = Machine::prepare(version, package)?.run(
            &format!("/vm/xtask vm guest{only}"),
            &carried,
            |line| match Item::parse(line) {
                Some(item) => report.add(item),
                None => eprintln!("[{version} {:4.0} s] {line}", started.elapsed().as_secs_f64()),
            },
        )?;
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
