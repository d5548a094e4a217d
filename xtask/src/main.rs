//! `cargo xtask`: the tasks of this repository.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, build, check, dist, run, setup, test, told::Told, vm};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The tasks of this repository",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: BPF toolchain, linker, and the programs the lab and the tests use
    Setup,
    /// Build `lb-ctl` (which contains the XDP program) and print the binary's path
    Build,
    /// Show the balancer at work in a lab of network namespaces, or run `lb-ctl ARGS` on this machine
    Run(run::Args),
    /// Run every test, on the host and in network namespaces
    Test(test::Args),
    /// Debian's kernels in QEMU: the balancer beside the real IPVS, or a command of yours
    Vm(vm::Args),
    /// What a packet costs, beside the limit and the peers
    Bench(bench::Args),
    /// Binary, man pages and shell completions in one directory, to be copied or packaged
    Dist,
    /// Formatting, lints, licences and tidiness; reports every failed check
    Check,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup => setup::everything().map(|_| ()),
        Task::Build => build::print_path(),
        Task::Run(args) => run::run(args),
        Task::Test(args) => test::run(args),
        Task::Vm(args) => vm::run(args),
        Task::Bench(args) => bench::run(&args),
        Task::Dist => dist::run(),
        Task::Check => check::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
