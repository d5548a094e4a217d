//! What one command changes, all at once or not at all.

use crate::store::Change;
use anyhow::Result;

/// Lets `ask` say what changes, under the lock, and makes it. When `ask` fails, nothing changes.
pub fn make<T>(ask: impl FnOnce(&mut Change) -> Result<T>) -> Result<T> {
    let mut change = Change::begin()?;
    let answer = ask(&mut change)?;
    change.commit()?;
    Ok(answer)
}
