//! `lb-ctl completions`: completions for a shell, on standard output.

use crate::cli;
use anyhow::Result;
use clap_complete::Shell;
use std::io::{Write as _, stdout};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl completions bash > /usr/share/bash-completion/completions/lb-ctl")]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut cli::command(), "lb-ctl", &mut script);
        let mut script = String::from_utf8(script)?;
        if self.shell == Shell::Bash {
            // clap_complete 4.6 spells a hyphen in two ways, so that no command below lb-ctl is completed
            // (github.com/clap-rs/clap/issues/6421).
            script = script.replace("lb__subcmd__ctl", "lb__ctl");
        }
        Ok(stdout().write_all(script.as_bytes())?)
    }
}
