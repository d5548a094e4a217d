//! Packets for the benchmarks of `cargo xtask bench`, which starts this and makes tables of what it prints: JSON.

mod attach;
mod instance;
mod micro;
mod packets;
mod probe;
mod processor;
mod send;
mod timers;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Nanoseconds per packet in the program, by the kernel's `BPF_PROG_TEST_RUN`
    Micro(micro::Args),
    /// Sends packets through an interface as fast as one core can
    Send(send::Args),
    /// How long datagrams are delayed on their way
    Probe(probe::Args),
    /// Holds a program at an interface until this process is ended
    Attach(attach::Args),
}

fn main() {
    match Cli::parse().task {
        None => micro::run(&micro::Args::default()),
        Some(Task::Micro(args)) => micro::run(&args),
        Some(Task::Send(args)) => send::run(&args),
        Some(Task::Probe(args)) => probe::run(&args),
        Some(Task::Attach(args)) => attach::run(&args),
    }
}
