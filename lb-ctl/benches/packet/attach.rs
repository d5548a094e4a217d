//! A program at an interface, for as long as this process lives.

use crate::instance::Programs;
use aya::programs::xdp::XdpMode;
use std::{thread::sleep, time::Duration};

/// What `attach` takes.
#[derive(clap::Args)]
pub struct Args {
    /// The interface.
    interface: String,
    /// Which program: redirect, remembering_redirect, sink, pass.
    program: String,
    /// Index of the interface that is redirected to.
    #[arg(long, default_value_t = 0)]
    egress: u32,
    /// Flows that `remembering_redirect` takes.
    #[arg(long, default_value_t = 1)]
    flows: u32,
}

/// Attaches, says so, and waits for its end.
pub fn run(args: &Args) {
    let mut programs = Programs::load(args.egress, args.flows);
    programs.program(&args.program).attach(&args.interface, XdpMode::Driver).unwrap();
    println!("attached");
    loop {
        sleep(Duration::from_secs(3600));
    }
}
