//! A failure that has been told of, so that a closing line stays the last.

use std::fmt;

/// The error of a task that has said all there is to say.
#[derive(Debug)]
pub struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed (see above)")
    }
}

impl std::error::Error for Told {}
