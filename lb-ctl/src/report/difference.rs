//! What a change changes, in colours on a terminal.

use crate::configuration::Difference;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::io::Write;

/// Writes a line for each part.
pub fn write(out: &mut impl Write, difference: &Difference) -> Result<()> {
    for (sign, text) in difference.steps.iter().flat_map(|step| step.lines()) {
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
