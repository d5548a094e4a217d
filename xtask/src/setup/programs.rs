//! The programs that the lab and the tests use.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{debian, distribution::Distribution, typed_as_root};

pub struct Program {
    name: &'static str,
    why: &'static str,
    /// Its package with apt, dnf, pacman and zypper.
    packages: [&'static str; 4],
}

const fn program(name: &'static str, why: &'static str, packages: [&'static str; 4]) -> Program {
    Program { name, why, packages }
}

/// For the lab and the tests.
pub const LAB: [Program; 13] = [
    program("ip", "creates the lab's network namespaces", ["iproute2", "iproute", "iproute2", "iproute2"]),
    program("nsenter", "runs programs inside them", ["util-linux"; 4]),
    program("timeout", "ends programs that hang", ["coreutils"; 4]),
    program("nginx", "the lab's web servers", ["nginx-light", "nginx", "nginx", "nginx"]),
    program("curl", "the lab's client", ["curl"; 4]),
    program("iperf3", "load in the tests", ["iperf3", "iperf3", "iperf3", "iperf"]),
    program("ethtool", "the tests look at the devices' offloads", ["ethtool"; 4]),
    program("tcpdump", "the tests look at packets", ["tcpdump"; 4]),
    program("traceroute", "the tests trace through the balancer", ["traceroute"; 4]),
    program("ping", "the tests ping through the balancer", ["iputils-ping", "iputils", "iputils", "iputils"]),
    program("nft", "the tests mark packets; a peer in the benchmarks", ["nftables"; 4]),
    program("strace", "the tests kill lb-ctl at a chosen system call", ["strace"; 4]),
    program("setpriv", "the tests run lb-ctl as nobody", ["util-linux"; 4]),
];

/// For the benchmarks besides.
pub const BENCHMARKS: [Program; 4] = [
    program("wrk", "requests in the benchmarks", ["wrk"; 4]),
    program("haproxy", "a peer in the benchmarks", ["haproxy"; 4]),
    program(
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        "a peer in the benchmarks",
        ["libnginx-mod-stream", "nginx-mod-stream", "nginx-mod-stream", "nginx"],
    ),
    program("taskset", "chooses the core of a measurement", ["util-linux"; 4]),
];

pub fn ensure(distribution: Distribution, programs: &[Program]) -> Result<()> {
    let is_there = |program: &Program| find(program.name).is_some() || Path::new(program.name).is_file();
    let missing: Vec<&Program> = programs.iter().filter(|program| !is_there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        eprintln!("missing: {} ({})", program.name, program.why);
    }
    let column = match distribution {
        Distribution::Bookworm | Distribution::Apt | Distribution::Unknown => 0,
        Distribution::Dnf => 1,
        Distribution::Pacman => 2,
        Distribution::Zypper => 3,
    };
    let packages: Vec<&str> = missing.iter().map(|program| program.packages[column]).collect();
    if distribution.has_apt() {
        return debian::install(&packages);
    }
    let packages = packages.join(" ");
    match distribution.install_command() {
        Some(command) => bail!("install them with: {}", typed_as_root(&format!("{command} {packages}"))),
        None => {
            bail!("install them with this system's package manager (Debian calls the packages: {packages})")
        }
    }
}

/// Looks beyond `PATH`, which for users other than root often lacks the `sbin` directories.
pub fn find(name: &str) -> Option<PathBuf> {
    let mut path: OsString = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    which::which_in(name, Some(path), "/").ok()
}
