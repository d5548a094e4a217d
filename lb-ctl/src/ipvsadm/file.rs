//! Files of `ipvsadm -S`, as Debian and Red Hat keep them, as a configuration.

use super::{change, command::Command, line::Line, restore::words};
use crate::{
    configuration::{Configuration, Source},
    store::Change,
};
use anyhow::Result;

/// What a file describes, from its first line to its last: nothing of what there is stays. The lines
/// are tried on a change that is never made, so that they are refused where ipvsadm would refuse them.
pub fn configuration(source: &Source) -> Result<Configuration> {
    let mut change = Change::begin()?;
    change.clear()?;
    for (number, line) in (1..).zip(source.text().lines()) {
        let words = words(line);
        if words.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        run(&mut change, &words).map_err(|what| source.fault(number, &what))?;
    }
    if !source.text().ends_with('\n') {
        let last = source.text().lines().count();
        return Err(source.fault(last, "the file was cut off: its last line does not end"));
    }
    Ok(Configuration::of_change(&change))
}

fn run(change: &mut Change, words: &[String]) -> Result<(), String> {
    let request = match Line::read("ipvsadm", words) {
        Ok(Line::Request(request)) => request,
        Ok(_) => return Err("this is no command of a saved file".to_owned()),
        Err(failure) => return Err(first_line(&failure.text)),
    };
    if matches!(request.command, Command::List | Command::Save | Command::Restore | Command::Zero) {
        return Err(format!("'{}' is no command of a saved file", request.command.name()));
    }
    change::run(change, &request).map_err(|failure| first_line(&failure.text))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("this line cannot be read").to_owned()
}
