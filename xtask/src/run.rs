//! `cargo xtask run`: the balancer in its lab, or `lb-ctl` on this machine.

mod demonstration;

use std::{env, ffi::OsString, os::unix::process::CommandExt, path::PathBuf, process};

use anyhow::{Context, Result};

use crate::{build, elevate, lab, setup};

/// What `cargo xtask run` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the lab up, and say how to use it
    #[arg(long, conflicts_with_all = ["end", "lb_ctl"])]
    keep: bool,
    /// End every lab that was left up
    #[arg(long, conflicts_with = "lb_ctl")]
    end: bool,
    /// The lab with a binary that is built already: how this task starts itself again as root
    #[arg(long, hide = true, value_name = "PATH")]
    lab: Option<PathBuf>,
    /// Run `lb-ctl` with these arguments on this machine, for instance `-- load eth0 eth1`
    #[arg(last = true, value_name = "ARGS")]
    lb_ctl: Vec<OsString>,
}

/// Runs whichever of the three is meant.
pub fn run(args: Args) -> Result<()> {
    if !args.lb_ctl.is_empty() {
        let lb_ctl = build::lb_ctl(&setup::build_tools()?)?;
        // Takes our place, so that signals and the exit code are its own.
        let error = elevate::as_root(lb_ctl).args(args.lb_ctl).exec();
        return Err(error).context("cannot start lb-ctl");
    }
    if !elevate::is_root() && args.lab.is_none() {
        return as_root(&args);
    }
    if args.end {
        let ended = lab::end_all()?;
        println!("{ended} lab(s) ended");
        return Ok(());
    }
    let lb_ctl = match args.lab {
        Some(binary) => binary,
        None => build::lb_ctl(&setup::everything()?)?,
    };
    demonstration::run(lb_ctl, args.keep)
}

/// The lab with a binary that is built already, by whoever is root already.
pub fn demonstration(lb_ctl: PathBuf) -> Result<()> {
    demonstration::run(lb_ctl, false)
}

/// Set-up and build as the user, so that the target directory stays the user's; the rest as root.
fn as_root(args: &Args) -> Result<()> {
    let mut again = elevate::as_root(env::current_exe()?);
    again.arg("run");
    if args.end {
        again.arg("--end");
    } else {
        again.arg("--lab").arg(build::lb_ctl(&setup::everything()?)?);
    }
    if args.keep {
        again.arg("--keep");
    }
    let status = again.status().context("cannot start sudo; run this as root")?;
    process::exit(status.code().unwrap_or(1));
}
