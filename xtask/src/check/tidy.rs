//! The mechanical part of the style: short files, no promises left in the code, no trailing blanks.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail, ensure};

/// A longer file does more than one thing.
const MOST_LINES: usize = 400;

/// Written apart here, or this file would not pass.
const PROMISES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!"), concat!("to", "do!")];

pub fn check() -> Result<()> {
    let mut complaints = Vec::new();
    for path in files()? {
        // Deleted but not committed yet, or a symbolic link to a directory.
        let Ok(bytes) = fs::read(&path) else { continue };
        if let Ok(text) = String::from_utf8(bytes) {
            complaints.extend(complaints_about(&path, &text));
        }
    }
    if !complaints.is_empty() {
        bail!("\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

/// What git knows, and what it does not know yet but would not ignore.
fn files() -> Result<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).output().context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let wanted = |path: &&str| {
        [".rs", ".toml", ".md", ".yml", ".sh"].iter().any(|end| path.ends_with(end)) || *path == ".ci/run"
    };
    let paths = String::from_utf8(output.stdout)?;
    Ok(paths.split('\0').filter(wanted).map(str::to_owned).collect())
}

fn complaints_about(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_rust = path.ends_with(".rs");
    let lines = text.lines().count();
    if is_rust && lines > MOST_LINES {
        complaints.push(format!("{path}: {lines} lines, {MOST_LINES} at most"));
    }
    for (number, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", number + 1);
        if line.ends_with([' ', '\t', '\r']) {
            complaints.push(format!("{at}: trailing blanks"));
        }
        if is_rust && let Some(promise) = PROMISES.iter().find(|promise| line.contains(**promise)) {
            complaints.push(format!("{at}: {promise}"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        complaints.push(format!("{path}: no newline at the end"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::{MOST_LINES, PROMISES, complaints_about};

    #[test]
    fn each_rule_is_seen_where_it_applies() {
        let long = "x\n".repeat(MOST_LINES + 1);
        let promise = format!("// {}: later\n", PROMISES[0]);
        for (path, text, complaints) in [
            ("a.rs", "fn a() {}\n", 0),
            ("a.rs", long.as_str(), 1),
            ("a.md", long.as_str(), 0),
            ("a.rs", promise.as_str(), 1),
            ("a.md", promise.as_str(), 0),
            ("a.md", "x \ny", 2),
        ] {
            assert_eq!(complaints_about(path, text).len(), complaints, "{path} {text:?}");
        }
    }
}
