//! `lb-ctl man`: the man pages, for packages.

use crate::{cli, ipvsadm};
use anyhow::{Context as _, Result};
use std::{fs, path::PathBuf};

/// Write the man pages into a directory.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Example:\n  lb-ctl man target/man")]
pub struct Args {
    /// The directory
    directory: PathBuf,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let explain = || format!("cannot write man pages to {}", self.directory.display());
        fs::create_dir_all(&self.directory).with_context(explain)?;
        // Whose page is also found as ipvsadm(8).
        let command = cli::command()
            .mut_subcommand("ipvsadm", |ipvsadm| ipvsadm.after_help(ipvsadm::help("lb-ctl ipvsadm")));
        clap_mangen::generate_to(command, &self.directory).with_context(explain)
    }
}
