//! A network namespace with a BPF file system of its own, and `lb-ctl` inside it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod context;

use aya::programs::{SchedClassifier, TcAttachType};
use std::{
    fs::{self, File},
    net::UdpSocket,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio, id},
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

/// The binary under test.
pub const LB_CTL: &str = env!("CARGO_BIN_EXE_lb-ctl");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespace, a second one at the far end of its interfaces, and the file system. All of it
/// ends with the value.
pub struct Namespace {
    /// Its name, for `ip netns exec`.
    pub name: String,
    /// Name of the far end.
    pub far: String,
    /// Its BPF file system.
    pub pins: PathBuf,
    /// Where its history lies, and a place for files.
    pub state: PathBuf,
}

impl Namespace {
    /// With two veth, `lan0` (10.9.0.1, far end `far0`, 10.9.0.2) and `lan1`, and a `bridge0`, whose
    /// driver takes no native program.
    pub fn new() -> Self {
        let uid = run("id", &["-u"]);
        assert_eq!(uid.trim(), "0", "these tests need root: cargo xtask test");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lbt{}-{number}", id());
        let far = format!("{name}-far");
        let pins = std::env::temp_dir().join(&name);
        let state = std::env::temp_dir().join(format!("{name}-state"));
        fs::create_dir(&pins).unwrap();
        fs::create_dir(&state).unwrap();
        // From here on, what fails is cleaned up.
        let namespace = Self { name, far, pins, state };
        namespace.set_up();
        namespace
    }

    /// The same with a small balancer on `lan0`.
    pub fn loaded() -> Self {
        let namespace = Self::new();
        namespace.ok("load lan0 --max-connections 100");
        namespace
    }

    fn set_up(&self) {
        let Self { name, far, pins, .. } = self;
        run("mount", &["-t", "bpf", "bpf", pins.to_str().unwrap()]);
        run("ip", &["netns", "add", name]);
        run("ip", &["netns", "add", far]);
        for pair in ["0", "1"] {
            let (near, distant) = (format!("lan{pair}"), format!("far{pair}"));
            run("ip", &["-n", name, "link", "add", &near, "type", "veth", "peer", &distant, "netns", far]);
            run("ip", &["-n", name, "link", "set", &near, "up"]);
            run("ip", &["-n", far, "link", "set", &distant, "up"]);
        }
        run("ip", &["-n", name, "link", "add", "bridge0", "type", "bridge"]);
        run("ip", &["-n", name, "address", "add", "10.9.0.1/24", "dev", "lan0"]);
        run("ip", &["-n", far, "address", "add", "10.9.0.2/24", "dev", "far0"]);
    }

    /// Writes a file beside the history; its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.state.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A command inside.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).args(arguments);
        command.env("LB_BPFFS", &self.pins).env("LB_STATE", &self.state);
        command
    }

    /// Runs `lb-ctl`.
    pub fn lb_ctl(&self, arguments: &str) -> Output {
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        self.command(LB_CTL, &arguments).output().unwrap()
    }

    /// Runs `lb-ctl`, which must succeed; what it prints.
    pub fn ok(&self, arguments: &str) -> String {
        let output = self.lb_ctl(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lb-ctl {arguments}: {}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `lb-ctl`, which must fail with this code and say why in one line; the line.
    pub fn fails(&self, code: i32, arguments: &str) -> String {
        let output = self.lb_ctl(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "lb-ctl {arguments}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    /// `lb-ctl status --json`, read.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok("status --json")).unwrap()
    }

    /// The programs on the two veth, as `ip` sees them.
    pub fn attached(&self) -> usize {
        let links = run("ip", &["-n", &self.name, "-d", "link"]);
        links.lines().filter(|line| line.trim_start().starts_with("prog/xdp")).count()
    }

    /// The programs for tc on the two veth: in links, and in filters.
    pub fn attached_by_tc(&self) -> usize {
        // A test may have deleted one.
        let lans: Vec<_> = ["lan0", "lan1"].into_iter().filter(|lan| self.has(lan)).collect();
        let filters = lans.iter().map(|lan| self.tc(&format!("filter show dev {lan} ingress")));
        let filters = filters.filter(|filters| filters.contains("direct-action")).count();
        // Linux before 6.6 has no links for tc.
        let linked = |lan: &&str| {
            SchedClassifier::query_tcx(lan, TcAttachType::Ingress).map_or(0, |(_, all)| all.len())
        };
        filters + inside(&self.name, || lans.iter().map(linked).sum::<usize>())
    }

    /// Whether there is such an interface.
    fn has(&self, interface: &str) -> bool {
        self.command("ip", &["link", "show", interface]).output().unwrap().status.success()
    }

    /// Runs `tc` inside.
    pub fn tc(&self, arguments: &str) -> String {
        let all: Vec<_> = ["-n", &self.name].into_iter().chain(arguments.split_whitespace()).collect();
        run("tc", &all)
    }

    /// Whatever is pinned.
    pub fn pinned(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.pins.join("lb")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// A setting of `lan0`.
    pub fn accept_local(&self) -> String {
        let path = "/proc/sys/net/ipv4/conf/lan0/accept_local";
        let output = self.command("cat", &[path]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Nothing of a load must be there.
    pub fn assert_clean(&self) {
        assert_eq!((self.attached(), self.attached_by_tc()), (0, 0));
        assert!(self.pinned().is_empty(), "{:?}", self.pinned());
        assert_eq!(self.accept_local(), "0");
    }

    /// Sends a datagram from the far end, from a port that none came from before.
    pub fn datagram(&self, to: &str) {
        let from = ("10.9.0.2", 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) as u16);
        inside(&self.far, || UdpSocket::bind(from).unwrap().send_to(&[0], to).unwrap());
    }

    /// A ping from the far end, every ten milliseconds.
    pub fn flood(&self, count: u32) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.far, "ping", "-q", "-i", "0.01", "-c"])
            .args([&count.to_string(), "10.9.0.1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // As much as can be: the first failure is the one that counts.
        let _ = self.lb_ctl("unload");
        for name in [&self.name, &self.far] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        let _ = Command::new("umount").arg(&self.pins).status();
        let _ = fs::remove_dir(&self.pins);
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// Calls `work` on a thread inside a namespace.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    let enter = move || {
        // SAFETY: moves this thread, which ends with the work, and nothing else.
        assert_eq!(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        work()
    };
    thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// Runs a command that must succeed; what it prints.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 seconds: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process.
pub fn kill(signal: &str, pid: u32) {
    run("kill", &[signal, &pid.to_string()]);
}

/// Whether a path is there.
pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
