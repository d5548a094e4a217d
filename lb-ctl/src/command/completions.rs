//! `lb-ctl completions`: completions for a shell, on standard output.

use crate::cli;
use anyhow::Result;
use clap_complete::Shell;
use std::io::stdout;

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
        clap_complete::generate(self.shell, &mut cli::command(), "lb-ctl", &mut stdout());
        Ok(())
    }
}
