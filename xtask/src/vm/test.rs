//! `cargo xtask vm test`: boots the kernels side by side, shows what the guests say, and closes with tables.

use std::{path::Path, process::Command, thread, time::Instant};

use anyhow::{Result, anyhow, bail, ensure};

use super::{
    Kernel, carried, guest,
    machine::Machine,
    packages::unpacked,
    ram_disk::Carried,
    reboot,
    report::{Item, Report, Step},
    stacked,
};
use crate::{build, interrupt, setup, told::Told};

/// What `cargo xtask vm test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Which kernel
    #[arg(long, value_enum, default_value = "all")]
    kernel: Kernel,
    /// Only steps whose name contains this; given more than once, each that contains one of them
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Of the comparison with IPVS, only scripts whose name contains this
    #[arg(long, value_name = "WORD")]
    script: Option<String>,
    /// The results as JSON on standard output instead of the tables
    #[arg(long)]
    json: bool,
}

/// What every machine gets and runs.
struct Work {
    command: String,
    carried: Vec<Carried>,
    /// What the names of the wanted steps contain.
    only: Vec<String>,
    /// For the reboot, if that is wanted.
    packages: Option<reboot::Packages>,
}

/// Runs it on each kernel, and fails if anything did.
pub fn run(args: &Args) -> Result<()> {
    let stripped = tempfile::tempdir()?;
    let mut work = Work {
        command: "/vm/xtask vm guest".to_owned(),
        carried: carried()?,
        only: args.only.clone(),
        packages: None,
    };
    work.carried.extend(tests(stripped.path())?);
    let tools = unpacked("wireguard", &["wireguard-tools"])?;
    work.carried.push((stacked::WG.to_owned(), tools.join("usr/bin/wg")));
    let only = args.only.iter().map(|word| ("--only", word));
    for (option, word) in only.chain(args.script.iter().map(|word| ("--script", word))) {
        work.command += &format!(" {option} '{word}'");
    }
    if wants(&args.only, reboot::STEP) {
        work.packages = Some(reboot::Packages::prepare()?);
    }
    let kernels = args.kernel.each().iter();
    let machines = kernels.map(|(version, package)| Machine::prepare(version, package));
    let reports = side_by_side(machines.collect::<Result<_>>()?, &work)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        for report in &reports {
            println!("\n{}", report.table());
        }
    }
    let (failed, passed): (Vec<_>, Vec<_>) =
        reports.iter().flat_map(Report::verdicts).partition(|(_, failure)| failure.is_some());
    for (step, failure) in &failed {
        eprintln!("{step}: {}", failure.unwrap_or_default());
    }
    let closing = format!("{} passed, {} failed", passed.len(), failed.len());
    // What is on standard output has to stay JSON.
    if args.json {
        eprintln!("{closing}")
    } else {
        println!("{closing}")
    }
    if failed.is_empty() { Ok(()) } else { bail!(Told) }
}

/// Each machine on a thread of its own; several get one processor each.
fn side_by_side(machines: Vec<Machine>, work: &Work) -> Result<Vec<Report>> {
    let processors = if machines.len() > 1 { 1 } else { 2 };
    thread::scope(|scope| {
        let running: Vec<_> = machines
            .into_iter()
            .map(|machine| scope.spawn(move || on(&machine.with_processors(processors), work)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a machine's thread panicked"))?)
            .collect()
    })
}

/// The report of one machine. What goes wrong with the machine itself is a part of it; only an interrupt is not.
fn on(machine: &Machine, work: &Work) -> Result<Report> {
    let version = machine.version;
    let started = Instant::now();
    let mut report = Report::new(version);
    let mut said = |line: &str| match Item::parse(line) {
        Some(item) => report.add(item),
        None => eprintln!("[{version} {:4.0} s] {line}", started.elapsed().as_secs_f64()),
    };
    let ended =
        machine.clone().with_cards().run(&work.command, &work.carried, &mut said).and_then(|status| {
            ensure!(status == 0, "exit status {status}");
            Ok(())
        });
    interrupt::check()?;
    if let Err(error) = ended {
        report.add(Item::Step(Step::new("the machine", started, Err(error))));
    }
    if let Some(packages) = &work.packages {
        let started = Instant::now();
        let step = Step::new(reboot::STEP, started, reboot::run(machine, packages));
        interrupt::check()?;
        report.add(Item::Step(step));
    }
    if !work.only.is_empty() && report.steps.is_empty() {
        let words = work.only.join("' or '");
        let failure = anyhow!("no step is called '{words}'; without --only all run, with their names");
        report.add(Item::Step(Step::new("the machine", started, Err(failure))));
    }
    Ok(report)
}

/// Whether a step is one of those that were asked for: all of them, if none was.
pub fn wants(only: &[String], step: &str) -> bool {
    only.is_empty() || only.iter().any(|word| step.contains(word.as_str()))
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
