//! The results for those who were not there: JSON, pictures, and a page that shows them.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{bars::Bar, machine::Machine, plot, row::Row, table::number};

#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Machine,
    bars: &'a [Bar],
    rows: &'a [Row],
}

/// Writes all of it to a directory.
pub fn write(directory: &Path, machine: &Machine, bars: &[Bar], rows: &[Row]) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let json = serde_json::to_string_pretty(&Report { machine, bars, rows })?;
    fs::write(directory.join("bench.json"), json + "\n")?;
    let mut page =
        format!("# Measured\n\n`cargo xtask bench`: {}.\n\n{}\n", machine.describe(), markdown(bars));
    for (file, title) in plot::all(directory, rows)? {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "![{title}]({file})\n");
    }
    let _ = writeln!(page, "All rows, with every round: [`bench.json`](bench.json).");
    fs::write(directory.join("README.md"), page)?;
    Ok(())
}

/// The bars as a table that GitHub shows.
fn markdown(bars: &[Bar]) -> String {
    let mut table = "| measure | best peer | bar | measured | |\n|---|---|---|---|---|\n".to_owned();
    for bar in bars {
        let sign = if bar.at_most { "≤" } else { "≥" };
        let value =
            bar.value.map_or_else(|| "–".to_owned(), |value| format!("{} {}", number(value), bar.unit));
        let because = bar.because.as_ref().filter(|_| bar.is_reached() == Some(false));
        let because = because.map_or_else(String::new, |because| format!(": {because}"));
        let _ = writeln!(
            table,
            "| {} | {} | {sign} {} {} | {} | {}{because} |",
            bar.measure,
            bar.peer,
            bar.wanted,
            bar.unit,
            value.trim(),
            bar.verdict()
        );
    }
    table
}
