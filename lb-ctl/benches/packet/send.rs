//! The generator: live frames from `BPF_PROG_TEST_RUN`, each written anew, flow and checksums included.

use crate::{
    instance::Programs,
    packets::{Flags, Macs, tcp},
    processor,
};
use serde_json::json;
use std::{ffi::CString, net::SocketAddr};

/// What `send` takes.
#[derive(clap::Args)]
pub struct Args {
    /// The interface to send through.
    interface: String,
    /// Source, of which flows change the first half of the address and the port.
    #[arg(long)]
    from: SocketAddr,
    /// Destination.
    #[arg(long)]
    to: SocketAddr,
    /// MAC address of the receiver.
    #[arg(long, value_parser = mac)]
    mac: [u8; 6],
    /// TCP flags.
    #[arg(long)]
    flags: Flags,
    /// Flows to rotate through, a power of two; 0 for one.
    #[arg(long, default_value_t = 0)]
    flows: u32,
    /// Number of the first flow.
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// How many packets.
    #[arg(long)]
    count: u32,
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("not a MAC address: {text}"))
}

/// Sends, and prints how many nanoseconds each took.
pub fn run(args: &Args) {
    let name = CString::new(args.interface.as_str()).unwrap();
    // SAFETY: a string that ends in zero.
    let interface = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(interface, 0, "no interface {}", args.interface);
    let mut programs = Programs::load(interface, 1);
    let macs = Macs([2, 0, 0, 0, 0, 1], args.mac);
    let mut pattern = tcp(macs, args.from, args.to, args.flags, args.flows);
    pattern.count = args.first;
    processor::take();
    let each = programs.send(&pattern, args.count);
    println!("{}", json!({ "nanoseconds": each.as_nanos() as u64, "sent": args.count }));
}
