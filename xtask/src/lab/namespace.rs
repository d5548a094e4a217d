//! A network namespace: its devices and addresses, and commands and closures that run inside.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Process, Site};
use crate::interrupt;

/// A command that takes longer than this many seconds hangs; it is ended and fails with code 124.
const TIMEOUT: &str = "300";

/// A network namespace of a lab.
#[derive(Clone)]
pub struct Namespace {
    name: String,
    site: Arc<Site>,
}

impl Namespace {
    pub(super) fn new(name: String, site: Arc<Site>) -> Result<Self> {
        let namespace = Self { name, site };
        check(Command::new("ip").args(["netns", "add", &namespace.name]).output()?, "ip netns add")?;
        // Duplicate address detection would keep an IPv6 address from being used for a second or two.
        for device in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv6/conf/{device}/accept_dad"), "0")?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab that it belongs to.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Runs `ip` on this namespace. The arguments are split at blanks.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let mut ip = Command::new("ip");
        let output = ip.args(["-n", &self.name]).args(arguments.split_whitespace()).output()?;
        check(output, &format!("ip -n {} {arguments}", self.name))
    }

    /// The same with many lines of arguments, in one process.
    fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name, "-batch", "-"]);
        let output = output_with_input(&mut ip, lines.as_bytes())?;
        check(output, &format!("ip -n {} -batch -\n{lines}", self.name)).map(drop)
    }

    /// A veth pair from `device` here to `there` in another namespace, both ends up.
    pub fn connect(&self, device: &str, other: &Self, there: &str) -> Result<()> {
        self.join(device, "", other, there)
    }

    /// The same, the device having a number.
    pub fn connect_numbered(&self, device: &str, number: u32, other: &Self, there: &str) -> Result<()> {
        self.join(device, &format!("index {number}"), other, there)
    }

    fn join(&self, device: &str, options: &str, other: &Self, there: &str) -> Result<()> {
        self.ip(&format!("link add {device} {options} type veth peer name {there} netns {}", other.name))?;
        self.ip(&format!("link set {device} up"))?;
        other.ip(&format!("link set {there} up"))?;
        Ok(())
    }

    /// A bridge over devices of this namespace.
    pub fn bridge(&self, bridge: &str, ports: &[&str]) -> Result<()> {
        self.ip(&format!("link add {bridge} type bridge"))?;
        for port in ports {
            self.ip(&format!("link set {port} master {bridge}"))?;
        }
        self.ip(&format!("link set {bridge} up"))?;
        Ok(())
    }

    /// Gives `device` addresses of either family, each with its prefix length.
    pub fn addresses(&self, device: &str, addresses: &[&str]) -> Result<()> {
        let lines = addresses.iter().map(|address| format!("address add {address} dev {device}\n"));
        self.ip_batch(&lines.collect::<String>())
    }

    /// Default routes, one per family at most.
    pub fn gateways(&self, gateways: &[&str]) -> Result<()> {
        self.ip_batch(&gateways.iter().map(|to| format!("route add default via {to}\n")).collect::<String>())
    }

    /// Makes it a router, for both families.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Writes a setting below `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.inside(|| fs::write(&path, value))?.with_context(|| format!("{}: {}", self.name, path.display()))
    }

    /// Calls `work` on a thread that is inside: sockets it opens are this namespace's.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.path();
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let enter = || move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        let result = thread::scope(|scope| scope.spawn(|| enter().map(|()| work())).join());
        let result = result.map_err(|panic| anyhow!("inside {}: {}", self.name, message(&*panic)))?;
        result.with_context(|| format!("entering {}", path.display()))
    }

    /// Runs a command to its end and returns what it printed; fails if it fails.
    pub fn run<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> Result<String> {
        let command: Vec<A> = command.into_iter().collect();
        check(self.output(&command)?, &typed(&command))
    }

    /// Runs a command to its end, whatever it returns.
    pub fn output<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> Result<Output> {
        interrupt::check()?;
        let output = self.command("timeout").args(["--kill-after=5", TIMEOUT]).args(command).output()?;
        interrupt::check()?;
        Ok(output)
    }

    /// The same with something to read on its standard input.
    pub fn output_with_input<A: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Result<Output> {
        let mut timeout = self.command("timeout");
        output_with_input(timeout.args(["--kill-after=5", TIMEOUT]).args(command), input)
    }

    /// Runs `lb-ctl` and returns what it printed; fails if it fails.
    pub fn lb_ctl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let arguments: Vec<A> = arguments.into_iter().collect();
        check(self.lb_ctl_output(&arguments)?, &format!("lb-ctl {}", typed(&arguments)))
    }

    /// Runs `lb-ctl`, whatever it returns.
    pub fn lb_ctl_output<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let arguments: Vec<A> = arguments.into_iter().collect();
        let program = self.site.lb_ctl().as_os_str();
        self.output([program].into_iter().chain(arguments.iter().map(A::as_ref)))
    }

    /// Starts a command that runs until it is done or its guard is dropped.
    pub fn spawn<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> Result<Process> {
        Process::spawn(self, command)
    }

    /// A command that will run inside, for those who need more than the above.
    ///
    /// Through `nsenter` and not `ip netns exec`, which would hide file systems mounted on `/sys`, and
    /// fails in a chroot.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut net = std::ffi::OsString::from("--net=");
        net.push(self.path());
        let mut command = Command::new("nsenter");
        command.arg(net).arg("--").arg(program).stdin(Stdio::null());
        command.env("LB_BPFFS", self.site.bpffs()).env("LB_STATE", self.site.state());
        command.env("LB_CTL", self.site.lb_ctl());
        command
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

fn output_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    thread::scope(|scope| {
        // Apart, since it may print more than a pipe holds before it has read everything. A
        // program that ends without reading is judged by its exit code, not by our broken pipe.
        scope.spawn(move || stdin.write_all(input));
        Ok(child.wait_with_output()?)
    })
}

fn check(output: Output, command: &str) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}` ended with {}:\n{stdout}{stderr}", output.status);
    Ok(stdout.into_owned())
}

fn typed<A: AsRef<OsStr>>(command: &[A]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    words.join(" ")
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}
