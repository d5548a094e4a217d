//! `lb-ctl`: loads the balancer's XDP program and manages its services.

mod cli;
mod command;
mod configuration;
mod history;
mod ipvs;
mod ipvsadm;
mod lock;
mod program;
mod progress;
mod report;
mod snapshot;
mod spec;
mod store;
mod transaction;

use clap::Parser as _;
use std::{env, process::ExitCode};

fn main() -> ExitCode {
    // Rust ignores SIGPIPE, and then `lb-ctl list | head` would end in a panic. Ended by the signal,
    // like every other tool, it leaves nothing half-done: a command prints when its change is made.
    // SAFETY: before any other thread runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    progress::begin();
    if let Some(code) = ipvsadm::called(&env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            match cli::in_one_line(&error) {
                Some(line) => eprintln!("lb-ctl: {line}"),
                // Help and version, which come this way too. A closed pipe is no error of ours.
                None => _ = error.print(),
            }
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lb-ctl: {error:#}");
            if error.is::<cli::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
