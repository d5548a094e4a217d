//! A file per command: its `Args` and its `run`.

pub mod apply;
pub mod backend;
pub mod check;
pub mod clear;
pub mod completions;
pub mod counters;
pub mod diff;
pub mod export;
pub mod history;
pub mod import_ipvs;
pub mod ipvsadm;
pub mod list;
pub mod load;
pub mod man;
pub mod mark;
pub mod restore;
pub mod rollback;
pub mod save;
pub mod service;
pub mod set;
pub mod status;
pub mod sysctl;
pub mod trace;
pub mod unload;
pub mod upgrade;
pub mod zero;
