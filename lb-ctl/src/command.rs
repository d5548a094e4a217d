//! A file per command: its `Args` and its `run`.

pub mod completions;
pub mod counters;
pub mod load;
pub mod status;
pub mod trace;
pub mod unload;
pub mod upgrade;
