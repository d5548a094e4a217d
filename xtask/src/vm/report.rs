//! What a machine found out: lines from the guest to the host, a table or JSON for the reader.

use std::{fmt::Write, time::Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Before an [`Item`] on a line that the guest prints.
const MARK: &str = "vm-report ";

/// One kernel's results.
#[derive(Serialize)]
pub struct Report {
    /// As it names itself.
    pub release: String,
    /// `lb-ctl load`, from start to end.
    pub load_milliseconds: u64,
    pub programs: Vec<Program>,
    pub steps: Vec<Step>,
}

/// A loaded BPF program.
#[derive(Serialize, Deserialize)]
pub struct Program {
    pub name: String,
    /// What the verifier went through: its log's `processed N insns`.
    pub verified_instructions: u32,
    /// What there is, translated and after the verifier's dead code elimination: 8 bytes each.
    pub instructions: u32,
    /// From its load's start to the next one's, or to the end of the command.
    pub milliseconds: u64,
}

/// A part of the test.
#[derive(Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub seconds: f64,
    /// What went wrong.
    pub failure: Option<String>,
}

/// What the guest tells, a line each.
#[derive(Serialize, Deserialize)]
pub enum Item {
    Release(String),
    Load { milliseconds: u64, programs: Vec<Program> },
    Step(Step),
}

impl Step {
    /// What has come to its end just now.
    pub fn new(name: &str, started: Instant, result: Result<()>) -> Self {
        let failure = result.err().map(|error| format!("{error:#}"));
        Self { name: name.to_owned(), seconds: started.elapsed().as_secs_f64(), failure }
    }
}

impl Item {
    /// On the guest's standard output.
    pub fn print(&self) -> Result<()> {
        println!("{MARK}{}", serde_json::to_string(self)?);
        Ok(())
    }

    /// From a line of it; `None` if that is meant for people.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }
}

impl Report {
    /// Nothing known yet.
    pub fn new(version: &str) -> Self {
        Self { release: version.to_owned(), load_milliseconds: 0, programs: Vec::new(), steps: Vec::new() }
    }

    pub fn add(&mut self, item: Item) {
        match item {
            Item::Release(release) => self.release = release,
            Item::Load { milliseconds, programs } => {
                self.load_milliseconds = milliseconds;
                self.programs = programs;
            }
            Item::Step(step) => self.steps.push(step),
        }
    }

    /// Each step, with what went wrong in it.
    pub fn verdicts(&self) -> impl Iterator<Item = (String, Option<&str>)> {
        let named = |step: &Step| format!("Linux {}: {}", self.release, step.name);
        self.steps.iter().map(move |step| (named(step), step.failure.as_deref()))
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "Linux {}, emulated", self.release);
        let _ = writeln!(table, "  {:<24} {:>12} {:>12} {:>9}", "program", "verified", "instructions", "ms");
        for Program { name, verified_instructions, instructions, milliseconds } in &self.programs {
            let _ = writeln!(
                table,
                "  {name:<24} {verified_instructions:>12} {instructions:>12} {milliseconds:>9}"
            );
        }
        let _ = writeln!(table, "  {:<24} {:>35}", "lb-ctl load", self.load_milliseconds);
        for Step { name, seconds, failure } in &self.steps {
            let verdict = failure.as_deref().map_or("ok", |_| "FAILED");
            let _ = writeln!(table, "  {name:<50} {verdict:<6} {seconds:>6.1} s");
        }
        table
    }
}
