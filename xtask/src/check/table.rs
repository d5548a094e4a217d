//! The README's table of what forwards what: every cell says "works" or "no, because", and names tests that are there.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

const README: &str = "README.md";
const TITLE: &str = "## What forwards what";
/// Where tests and scenarios lie, a file each.
const TESTS: [&str; 3] = ["xtask/tests", "lb-ctl/tests", "lb-ebpf/tests/scenario"];
/// Where the steps of `vm test` are named.
const STEPS: &str = "xtask/src/vm/guest.rs";

pub fn check() -> Result<()> {
    let mut names = BTreeSet::new();
    for directory in TESTS {
        for entry in fs::read_dir(directory).context(directory)? {
            let path = entry?.path();
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    let guest = fs::read_to_string(STEPS).context(STEPS)?;
    let steps = guest.split("step(\"").skip(1).filter_map(|rest| rest.split('"').next());
    names.extend(steps.map(str::to_owned));
    let text = fs::read_to_string(Path::new(README))?;
    let (_, section) = text.split_once(TITLE).context("the README has lost its table")?;
    let complaints = complaints_about(section.split("\n## ").next().unwrap_or_default(), &names);
    if !complaints.is_empty() {
        bail!("\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn complaints_about(section: &str, names: &BTreeSet<String>) -> Vec<String> {
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| judge(row, names).err().map(|error| format!("{README}: {error}: {row}"))).collect()
}

/// Two cells say what the row is about, one speaks of XDP, one of tc.
fn judge(row: &str, names: &BTreeSet<String>) -> Result<()> {
    let cells: Vec<_> =
        row.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
    let [_, protocol, by_xdp, by_tc] = cells[..] else { bail!("{} cells", cells.len()) };
    ensure!(!protocol.is_empty(), "no protocol");
    for cell in [by_xdp, by_tc] {
        let works = cell.starts_with("works");
        ensure!(works || cell.starts_with("no, ") || cell.starts_with("the same"), "neither works nor no");
        // Options are in such quotes, too.
        let named: Vec<_> = cell
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| !name.starts_with('-') && *name != "lo")
            .collect();
        ensure!(!works || !named.is_empty(), "no test is named");
        for name in named {
            ensure!(names.contains(name), "there is no test {name}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::complaints_about;

    #[test]
    fn a_cell_has_a_test_or_a_reason() {
        let names = ["matrix", "tc"].map(str::to_owned).into();
        for (row, complaints) in [
            ("| NAT `-m` | TCP | works: `matrix` | works: step `tc` |", 0),
            ("| | TCP | works by `-g`, with `lo`: `matrix` | no, because it cannot |", 0),
            ("| | TCP | works | works: step `tc` |", 1),
            ("| | TCP | works: `matrices` | works: step `tc` |", 1),
            ("| | TCP | not tried | works: step `tc` |", 1),
            ("| | TCP | works: `matrix` | |", 1),
            ("| | | works: `matrix` | works: `tc` |", 1),
        ] {
            let table = format!("| method | protocol | XDP | tc |\n|---|---|---|---|\n{row}\n");
            assert_eq!(complaints_about(&table, &names).len(), complaints, "{row}");
        }
    }
}
