//! `lb-ctl counters`: what became of the packets, and why.

use crate::report::say;
use crate::store::Counters;
use anyhow::Result;
use lb_common::reason::{Reason, Verdict};

/// Show what became of the packets, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl counters")]
pub struct Args {
    /// Show also what has not happened yet
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line, as it goes to JSON.
#[derive(serde::Serialize)]
struct Row {
    packets: u64,
    verdict: &'static str,
    name: String,
    reason: &'static str,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let counters = Counters::open()?;
        let rows = Reason::ALL.iter().map(|&reason| Row {
            packets: counters.of(reason),
            verdict: word(reason.verdict()),
            name: format!("{reason:?}"),
            reason: reason.words(),
        });
        let rows: Vec<_> = rows.filter(|row| self.all || row.packets > 0).collect();
        if self.json {
            say!("{}", serde_json::to_string_pretty(&rows)?);
            return Ok(());
        }
        say!("{:>14}  {:<8}  Reason", "Packets", "Verdict");
        for row in rows {
            say!("{:>14}  {:<8}  {}", row.packets, row.verdict, row.reason);
        }
        Ok(())
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Kernel => "kernel",
        Verdict::Drop => "drop",
        Verdict::Forward => "forward",
    }
}
