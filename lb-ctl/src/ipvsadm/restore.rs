//! `-R` and `ipvsadm-restore`: command lines from the standard input.

use super::{Outcome, Program, failure::Failure};
use anyhow::Context as _;
use std::{
    io::{self, Read as _},
    ops::ControlFlow,
};

/// Runs every line. What the kernel would refuse is said, and the next line comes; a line that
/// cannot be read ends it. The status is that of the last line.
pub fn run(program: &mut Program) -> Outcome {
    let text = read()?;
    run_lines(program, text.lines())
}

/// What the script `ipvsadm-restore` does: everything is read, then cleared, then the lines run.
pub fn replace(program: &mut Program) -> Outcome {
    let text = read()?;
    // The script runs ipvsadm, which says so in its messages.
    program.name = "ipvsadm".to_owned();
    program.restoring = true;
    let _ = program.run(&["-C".to_owned()])?;
    run_lines(program, text.lines().filter(|line| !line.starts_with('#')))
}

fn read() -> Result<String, Failure> {
    let mut bytes = vec![];
    io::stdin().read_to_end(&mut bytes).context("cannot read the standard input")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn run_lines<'a>(program: &mut Program, lines: impl Iterator<Item = &'a str>) -> Outcome {
    let mut last: Outcome = Ok(ControlFlow::Continue(()));
    for line in lines {
        let words = words(line);
        if words.is_empty() {
            continue;
        }
        // The last failure is said, and its status given, by whoever runs the program.
        if let Err(failure) = &last {
            failure.print();
        }
        last = program.run_line(&words);
        match &last {
            Err(Failure { ends: true, .. }) | Ok(ControlFlow::Break(())) => break,
            _ => {}
        }
    }
    last
}

/// The words of a line; the program's name is none, wherever it stands.
fn words(line: &str) -> Vec<String> {
    placed_words(line).map(|(_, word)| word.to_owned()).collect()
}

/// The same, each with its column, from 1 in characters.
pub fn placed_words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 1;
    line.split([' ', '\t', '\r'])
        .map(move |word| {
            let column = next;
            next += word.chars().count() + 1;
            (column, word)
        })
        .filter(|(_, word)| !word.is_empty() && *word != "ipvsadm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_between_blanks() {
        assert_eq!(words(" ipvsadm -A\t-t 10.0.0.1:80 \r"), ["-A", "-t", "10.0.0.1:80"]);
        assert!(words("ipvsadm").is_empty());
        let columns: Vec<_> = placed_words(" ipvsadm -s ü\t -o").map(|(column, _)| column).collect();
        assert_eq!(columns, [10, 13, 16]);
    }
}
