//! One boot: kernel and RAM disk, the command, and what it says over the serial port.

use std::{
    fs,
    io::{BufRead, BufReader, IsTerminal, stdin},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use super::{
    cards,
    packages::{self, newest, only, unpacked},
    qemu::Qemu,
    ram_disk::{Carried, INIT, RamDisk},
};
use crate::interrupt;

const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
/// Without what costs an emulator much and brings the tests nothing: five levels of page tables, protection that is
/// switched at each system call, and pages cleared by an instruction that it carries out byte by byte.
const CPU: &str = "max,la57=off,smap=off,smep=off,pku=off,erms=off";
/// On a busy host the kernel measures the speed of the TSC wrongly, and its clock would then run wrongly:
/// the HPET's speed is known.
const APPEND: &str =
    "console=ttyS0 quiet panic=-1 mitigations=off nowatchdog no_timer_check tsc=unstable clocksource=hpet";
/// How long a machine that nobody sits at may run.
const LIMIT: Duration = Duration::from_secs(3600);
/// How soon an interrupt is noticed.
const TICK: Duration = Duration::from_millis(100);
/// Before the exit status, in the last line that the guest prints.
const STATUS: &str = "vm-exit-status ";

/// A machine with one of Debian's kernels.
#[derive(Clone)]
pub struct Machine {
    /// Which of the kernels.
    pub version: &'static str,
    processors: u32,
    qemu: PathBuf,
    pub(super) guest: PathBuf,
    pub(super) kernel: PathBuf,
    /// Whether it has network cards.
    cards: bool,
}

impl Machine {
    /// Downloads and unpacks what is missing of it.
    pub fn prepare(version: &'static str, package: &str) -> Result<Self> {
        let list = |text: &'static str| text.lines().collect::<Vec<_>>();
        let qemu = unpacked("qemu", &list(packages::QEMU))?;
        let guest = unpacked("guest", &list(packages::GUEST))?;
        let kernel = unpacked(&format!("linux-{version}"), &[newest(package)?.as_str()])?;
        let machine = Self { version, processors: 2, qemu, guest, kernel, cards: false };
        machine.depmod()?;
        Ok(machine)
    }

    /// The same with network cards, where this host can have them.
    pub fn with_cards(self) -> Self {
        Self { cards: cards::are_possible(), ..self }
    }

    /// The same with so many processors.
    pub fn with_processors(self, processors: u32) -> Self {
        Self { processors, ..self }
    }

    /// Boots it, runs a command of bash with files beside it, gives each line that it prints to `line`,
    /// and returns the command's exit status.
    pub fn run(&self, command: &str, carried: &[Carried], line: impl FnMut(&str)) -> Result<i32> {
        let ram_disk = RamDisk::new(&[&self.guest], &self.kernel, INIT, command, carried)?;
        self.boot(&ram_disk, None, line)
    }

    /// Boots it with a disk, and the rest as [`Self::run`].
    pub fn boot(&self, ram_disk: &RamDisk, disk: Option<&Path>, mut line: impl FnMut(&str)) -> Result<i32> {
        interrupt::watch();
        let mut command = self.command(ram_disk)?;
        if let Some(disk) = disk {
            // The one kind of disk that Debian's kernels know without a module.
            let drive = format!("if=none,id=disk,format=raw,file={}", disk.display());
            command.args(["-drive", &drive, "-device", "nvme,drive=disk,serial=1"]);
        }
        let mut qemu = Qemu::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let lines = BufReader::new(qemu.stdout()?).split(b'\n');
        let (sender, receiver) = channel();
        thread::spawn(move || lines.map_while(Result::ok).all(|line| sender.send(line).is_ok()));

        let end = Instant::now() + LIMIT;
        let mut status = None;
        loop {
            interrupt::check()?;
            ensure!(Instant::now() < end, "the machine was ended after {} s", LIMIT.as_secs());
            match receiver.recv_timeout(TICK) {
                Ok(said) => {
                    let said = String::from_utf8_lossy(&said);
                    let said = said.trim_end_matches('\r');
                    match said.strip_prefix(STATUS) {
                        Some(number) => status = number.parse().ok(),
                        // What the kernel says while it powers off.
                        None if status.is_some() => {}
                        None => line(said),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        qemu.wait()?;
        status.context("the machine ended before the command did")
    }

    /// Boots it with a shell on this terminal; returns when that ends.
    pub fn shell(&self, carried: &[Carried]) -> Result<()> {
        interrupt::watch();
        let terminal = stdin().is_terminal().then(|| tcgetattr(stdin())).transpose()?;
        // A serial line has no size of its own.
        let size =
            tcgetwinsize(stdin()).map(|size| format!("stty rows {} cols {};", size.ws_row, size.ws_col));
        let shell = format!("{} TERM=linux setsid --ctty --wait bash --login", size.unwrap_or_default());
        let command = format!("exec <>/dev/ttyS0 >&0 2>&0; {shell}");
        let ram_disk = RamDisk::new(&[&self.guest], &self.kernel, INIT, &command, carried)?;
        // Ctrl-C and Ctrl-Z are for the guest.
        let mut qemu = Qemu::start(&mut self.command(&ram_disk)?)?;
        let ended = loop {
            match (interrupt::check(), qemu.ended()?) {
                (Err(interrupted), _) => break Err(interrupted),
                (Ok(()), true) => break Ok(()),
                (Ok(()), false) => thread::sleep(TICK),
            }
        };
        drop(qemu);
        if let Some(terminal) = terminal {
            tcsetattr(stdin(), OptionalActions::Now, &terminal)?;
        }
        ended
    }

    fn command(&self, ram_disk: &RamDisk) -> Result<Command> {
        let program = self.qemu.join("usr/bin/qemu-system-x86_64");
        let (mut qemu, ram_disk) = match self.cards {
            true => (cards::qemu(&program, &ram_disk.path()), cards::RAM_DISK.into()),
            false => (Command::new(program), ram_disk.path()),
        };
        for share in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(self.qemu.join(share));
        }
        qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-m", "3072"]);
        qemu.arg("-smp").arg(self.processors.to_string());
        qemu.args(["-nodefaults", "-no-user-config", "-nic", "none", "-display", "none", "-no-reboot"]);
        qemu.args([
            "-chardev",
            "stdio,id=console,signal=off",
            "-serial",
            "chardev:console",
            "-monitor",
            "none",
        ]);
        qemu.arg("-append").arg(APPEND);
        qemu.arg("-kernel").arg(boot_image(&self.kernel.join("boot"))?).arg("-initrd").arg(ram_disk);
        let libraries = LIBRARIES.map(|path| self.qemu.join(path).display().to_string()).join(":");
        qemu.env("LD_LIBRARY_PATH", libraries);
        Ok(qemu)
    }

    /// The packages have no list of which module needs which: their scripts make it.
    fn depmod(&self) -> Result<()> {
        let modules = only(&self.kernel.join("lib/modules"))?;
        if modules.join("modules.dep").exists() {
            return Ok(());
        }
        let libraries = LIBRARIES.map(|path| self.guest.join(path).display().to_string()).join(":");
        let mut depmod = Command::new(self.guest.join("bin/kmod"));
        depmod.arg0("depmod").arg("-b").arg(&self.kernel).env("LD_LIBRARY_PATH", libraries);
        let status = depmod.arg(modules.file_name().context("no release")?).status()?;
        ensure!(status.success(), "depmod ended with {status}");
        Ok(())
    }
}

fn boot_image(directory: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("no kernel in {}", directory.display())
}
