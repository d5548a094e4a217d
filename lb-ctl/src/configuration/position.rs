//! Where in a file something is wrong.

use std::{fmt, ops::Range};

/// An error in a file.
#[derive(Debug)]
pub struct Fault {
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    what: String,
}

impl Fault {
    /// At these bytes of a text.
    pub fn at(text: &str, span: Option<Range<usize>>, what: impl Into<String>) -> Self {
        let start = span.map_or(0, |span| span.start).min(text.len());
        let before = &text.as_bytes()[..start];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let of_line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or(before);
        Self { line, column: String::from_utf8_lossy(of_line).chars().count() + 1, what: what.into() }
    }

    /// In this line and column, both from 1.
    pub fn in_line(line: usize, column: usize, what: impl Into<String>) -> Self {
        Self { line, column, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

impl std::error::Error for Fault {}
