//! A file per command: its `Args` and its `run`.

pub mod backend;
pub mod clear;
pub mod completions;
pub mod counters;
pub mod import_ipvs;
pub mod ipvsadm;
pub mod list;
pub mod load;
pub mod man;
pub mod mark;
pub mod service;
pub mod set;
pub mod status;
pub mod sysctl;
pub mod trace;
pub mod unload;
pub mod upgrade;
pub mod zero;
