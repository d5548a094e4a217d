//! How long loading takes, and how much the verifier goes through: inside the machine.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramInfo, loaded_programs};

use super::report::{Item, Program};
use crate::lab::Site;

/// Loads the balancer once, on a device of its own, and tells what it cost.
pub fn run(lb_ctl: &Path) -> Result<()> {
    let site = Site::new(lb_ctl.into())?;
    let namespace = site.namespace("load")?;
    namespace.ip("link add v0 type veth peer name v1")?;
    let before = numbers()?;
    let mut command = namespace.command(lb_ctl);
    let started = SystemTime::now();
    let output = command.args(["load", "v0"]).output()?;
    let ended = SystemTime::now();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut programs = loaded_programs().collect::<Result<Vec<_>, _>>()?;
    programs.retain(|program| !before.contains(&program.id()));
    programs.sort_by_key(ProgramInfo::id);
    let starts: Vec<_> = programs.iter().map(|program| program.loaded_at().unwrap_or(started)).collect();
    let ends = starts.iter().skip(1).chain([&ended]);
    let programs = programs.iter().zip(starts.iter().zip(ends)).map(|(program, (start, end))| {
        Ok(Program {
            name: program.name_as_str().context("a program without a name")?.to_owned(),
            verified_instructions: program.verified_instruction_count().context("not counted")?,
            instructions: program.size_translated().context("no size")? / 8,
            milliseconds: milliseconds(*start, *end),
        })
    });
    let programs = programs.collect::<Result<Vec<_>>>()?;
    ensure!(!programs.is_empty(), "lb-ctl load loaded no program");
    Item::Load { milliseconds: milliseconds(started, ended), programs }.print()?;
    // What is loaded for this command alone.
    namespace.run(["ipvsadm", "-Ln"]).context("loading IPVS")?;
    let said = namespace.lb_ctl(["import-ipvs", "--connections"])?;
    ensure!(said.contains("took over 0 of 0 connections"), "{said}");
    namespace.lb_ctl(["unload"])?;
    Ok(())
}

fn numbers() -> Result<BTreeSet<u32>> {
    loaded_programs().map(|program| Ok(program?.id())).collect()
}

fn milliseconds(start: SystemTime, end: SystemTime) -> u64 {
    end.duration_since(start).unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}
