//! What a change changes, in colours on a terminal.

use crate::configuration::Difference;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::io::Write;

/// Writes a line for each part.
pub fn write(out: &mut impl Write, difference: &Difference) -> Result<()> {
    write_lines(out, difference.steps.iter().flat_map(|step| step.lines()))
}

/// The same for a screen: the first lines, and how many more there are.
pub fn write_first(out: &mut impl Write, difference: &Difference, most: usize) -> Result<()> {
    let mut lines = difference.steps.iter().flat_map(|step| step.lines());
    write_lines(out, lines.by_ref().take(most))?;
    match lines.count() {
        0 => Ok(()),
        more => Ok(writeln!(out, "… and {more} more")?),
    }
}

fn write_lines(out: &mut impl Write, lines: impl Iterator<Item = (char, String)>) -> Result<()> {
    for (sign, text) in lines {
        let colour = match sign {
            '+' => AnsiColor::Green,
            '-' => AnsiColor::Red,
            _ => AnsiColor::Yellow,
        };
        let style = Style::new().fg_color(Some(colour.into()));
        writeln!(out, "{style}{sign} {text}{style:#}")?;
    }
    Ok(())
}
