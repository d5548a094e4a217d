//! `lb-ctl ipvsadm`.

use crate::ipvsadm;
use std::{ffi::OsString, process::ExitCode};

/// Run a command line of ipvsadm: the same options, the same output.
///
/// A link to lb-ctl that is called ipvsadm, ipvsadm-save or ipvsadm-restore does the same.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Example:
  lb-ctl ipvsadm -A -t 192.168.2.200:80 -s wlc
  lb-ctl ipvsadm -a -t 192.168.2.200:80 -r 192.168.33.111:80 -m
  lb-ctl ipvsadm -Ln"
)]
pub struct Args {
    /// What ipvsadm takes; lb-ctl ipvsadm --help tells
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        ipvsadm::run(&self.arguments)
    }
}
