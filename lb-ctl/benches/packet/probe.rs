//! How long packets are delayed: datagrams in a steady rhythm from one namespace to another.

use crate::{processor, timers::Timers};
use serde_json::json;
use std::{
    fs::File,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

const RHYTHM: Duration = Duration::from_micros(200);
/// After this a datagram is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// What `probe` takes.
#[derive(clap::Args)]
pub struct Args {
    /// The sender's network namespace, a file.
    #[arg(long)]
    from: PathBuf,
    /// Where it sends to.
    #[arg(long)]
    to: SocketAddr,
    /// The receiver's network namespace, a file.
    #[arg(long)]
    at: PathBuf,
    /// Where they arrive.
    #[arg(long)]
    listen: SocketAddr,
    /// For how long.
    #[arg(long)]
    seconds: u64,
}

/// Sends, and prints the delays in nanoseconds, each from when the datagram was due: so the time that this
/// process had to wait for the core counts as well.
pub fn run(args: &Args) {
    let receiver = inside(&args.at, args.listen);
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = inside(&args.from, "0.0.0.0:0".parse().unwrap());
    sender.connect(args.to).unwrap();
    let timers = Timers::watch();
    processor::take();
    let (start, mut delays, mut lost) = (Instant::now(), Vec::new(), 0u64);
    let mut due = start;
    while start.elapsed() < Duration::from_secs(args.seconds) {
        due = (due + RHYTHM).max(Instant::now() - PATIENCE);
        sleep(due.saturating_duration_since(Instant::now()));
        let number = delays.len() as u64 + lost;
        sender.send(&number.to_ne_bytes()).unwrap();
        let mut received = [0; 8];
        loop {
            match receiver.recv(&mut received) {
                Ok(_) if u64::from_ne_bytes(received) == number => {
                    break delays.push(due.elapsed().as_nanos() as u64);
                }
                // One that was given up.
                Ok(_) => {}
                Err(_) => break lost += 1,
            }
        }
    }
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let sweeps = timers.seen();
    println!(
        "{}",
        json!({
            "sweeps": sweeps.times, "long_sweeps": sweeps.long, "longest_sweep": sweeps.longest,
            "probes": delays.len(), "lost": lost, "median": at(0.5), "p9999": at(0.9999), "greatest": at(1.0),
            "over_1_ms": delays.iter().filter(|delay| **delay > 1_000_000).count(),
        })
    );
}

fn inside(namespace: &PathBuf, address: SocketAddr) -> UdpSocket {
    let file = File::open(namespace).unwrap();
    // SAFETY: a valid descriptor, and this process has one thread.
    assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0, "{}", namespace.display());
    UdpSocket::bind(address).unwrap()
}
