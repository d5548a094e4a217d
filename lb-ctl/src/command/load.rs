//! `lb-ctl load`: attaches the balancer to interfaces.

use crate::report::say;
use crate::{
    cli::Usage,
    lock::Lock,
    program::{
        Mode,
        attachment::{self, Held},
        device,
        interface::{self, Interface},
        kernel,
        object::{Instance, Variant, pin_name},
        pins::Pins,
        sysctl,
    },
};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use lb_common::{
    device::{LOOPBACK, choice},
    limits,
    settings::Settings,
};
use std::{collections::BTreeMap, fs, io, path::Path};

/// Attach the balancer to interfaces: those that clients come in by, and those that backends answer by.
///
/// It stays attached when lb-ctl has ended. Without services it touches no packet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl load eth0 eth1")]
pub struct Args {
    /// The interfaces
    #[arg(required = true, value_name = "IFACE")]
    interfaces: Vec<String>,
    /// What the program is attached to: XDP, tc, or for each interface XDP where its driver takes a
    /// program and tc elsewhere
    #[arg(long, value_enum, default_value = "auto")]
    hook: Hook,
    /// Where XDP runs: in the driver, in the kernel's stack (slow), or, with --hook xdp, the first that works
    #[arg(long, value_enum, default_value = "auto")]
    mode: Wanted,
    /// Size of the connection table
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::CONNECTIONS,
        value_parser = clap::value_parser!(u32)
            .range(limits::CONNECTIONS_MIN as i64..=limits::CONNECTIONS_MAX as i64),
    )]
    max_connections: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hook {
    Auto,
    Xdp,
    Tc,
    /// tc by a filter, as before Linux 6.6: it has a place among other filters
    Clsact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Auto,
    Native,
    Generic,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let modes = self.modes()?;
        kernel::require()?;
        let pins = Pins::here()?;
        let lock = Lock::take(pins.cookie)?;
        if pins.directory().is_dir() {
            bail!("already loaded in this network namespace: lb-ctl upgrade, or lb-ctl unload first");
        }
        pins.clean()?;
        let interfaces = attachment::named(&interface::all()?, &self.interfaces, modes != [Mode::Tc])?;
        if !modes.contains(&Mode::Tc) {
            refuse_xdp(&interfaces)?;
        }

        let result = self.build(&pins, &interfaces, modes);
        if result.is_err() {
            // The error that is reported is the first one.
            let _ = pins.clean();
            pins.forget();
            let _ = lock.remove();
        }
        result
    }

    /// Builds everything under another name, and gives it its name in the last step.
    fn build(&self, pins: &Pins, interfaces: &[Interface], modes: &[Mode]) -> Result<()> {
        let directory = pins.unfinished();
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

        let links = self.attach(&directory, interfaces, modes)?;
        let receivers = interface::receivers(interfaces, &interface::all()?);
        let names: Vec<_> = receivers.iter().map(|interface| interface.name.clone()).collect();
        let changed = sysctl::accept_local(pins.cookie, &names)?;
        // Only now, because a program on a veth lets its far end take redirected packets.
        let attached: BTreeMap<u32, Mode> =
            links.iter().map(|(interface, mode, _)| (interface.index, *mode)).collect();
        let chosen = links
            .iter()
            .map(|(interface, mode, _)| (interface.index, reason(interface, *mode, modes)))
            .collect();
        device::describe(&directory, &interface::all()?, &attached, &chosen)?;

        for (interface, mode, held) in links {
            attachment::pin(held, &directory, interface)?;
            let fallback = match (reason(interface, mode, modes), mode) {
                (choice::BARE, _) => ": XDP needs Ethernet headers",
                (choice::REFUSED, Mode::Generic) => ": its driver takes no program, so this is slow",
                (choice::REFUSED, _) => ": its driver takes no XDP program",
                _ => "",
            };
            say!("{}: attached ({mode}){fallback}", interface.name);
        }
        fs::rename(&directory, pins.directory()).context("cannot complete the load")?;

        for setting in changed {
            say!("set {setting}=1: replies left to the kernel carry a local source address");
        }
        for warning in sysctl::warnings(&names) {
            eprintln!("lb-ctl: warning: {warning}");
        }
        Ok(())
    }

    /// The modes to try, in this order. XDP in the kernel's stack is slower than tc there, and only used
    /// when asked for.
    fn modes(&self) -> Result<&'static [Mode]> {
        match (self.hook, self.mode) {
            (Hook::Auto, Wanted::Auto) => Ok(&[Mode::Native, Mode::Tc]),
            (Hook::Xdp, Wanted::Auto) => Ok(&[Mode::Native, Mode::Generic]),
            (Hook::Tc | Hook::Clsact, Wanted::Auto) => Ok(&[Mode::Tc]),
            (Hook::Auto | Hook::Xdp, Wanted::Native) => Ok(&[Mode::Native]),
            (Hook::Auto | Hook::Xdp, Wanted::Generic) => Ok(&[Mode::Generic]),
            (Hook::Tc | Hook::Clsact, Wanted::Native | Wanted::Generic) => {
                Err(Usage("--mode is about XDP: leave it out, or --hook tc".into()).into())
            }
        }
    }

    /// Attaches each interface in the first mode that works; links hold only as long as this process.
    fn attach<'a>(
        &self,
        directory: &Path,
        interfaces: &'a [Interface],
        modes: &[Mode],
    ) -> Result<Vec<(&'a Interface, Mode, Held)>> {
        let bare = interfaces.iter().any(|interface| interface.bare);
        let partial = interfaces.iter().any(Interface::partial_checksums);
        let by_filter = self.hook == Hook::Clsact || !kernel::has_tc_links()?;
        let mut waiting: Vec<&Interface> = interfaces.iter().collect();
        let mut links = Vec::new();
        for (round, &mode) in modes.iter().enumerate() {
            let variant = Variant { mode, partial, bare, connections: self.max_connections, trace: None };
            let mut instance = Instance::load(directory, variant)?;
            if round == 0 {
                instance.write_settings(Settings::new(self.max_connections, secret()?))?;
                instance.arm(directory)?;
            }
            let mut refused = Vec::new();
            for interface in waiting {
                if mode != Mode::Tc && interface.bare {
                    refused.push(interface);
                    continue;
                }
                match attachment::attach(&mut instance, directory, interface, by_filter)? {
                    Some(held) => links.push((interface, mode, held)),
                    None => refused.push(interface),
                }
            }
            if links.iter().any(|(_, used, _)| *used == mode) {
                instance.pin(directory, &pin_name(mode, false))?;
            }
            waiting = refused;
            if waiting.is_empty() {
                return Ok(links);
            }
        }
        bail!("the driver of {} takes no native XDP program: --mode auto", waiting[0].name)
    }
}

/// Fails where XDP cannot do what tc can.
fn refuse_xdp(interfaces: &[Interface]) -> Result<()> {
    for interface in interfaces {
        let name = &interface.name;
        if interface.bare {
            bail!("{name} has no Ethernet headers, which XDP needs: --hook auto or --hook tc");
        }
        // The kernel has routed it, and would not do so again once XDP has rewritten it.
        if interface.index == LOOPBACK {
            bail!("{name} carries what this host sends to itself, which takes tc: --hook auto or --hook tc");
        }
    }
    Ok(())
}

/// Why an interface has a mode, of those that were tried.
fn reason(interface: &Interface, mode: Mode, modes: &[Mode]) -> u32 {
    match mode {
        _ if modes.len() == 1 => choice::NAMED,
        Mode::Native => choice::DRIVER,
        _ if interface.bare => choice::BARE,
        _ => choice::REFUSED,
    }
}

fn secret() -> Result<[u64; 2]> {
    let mut secret = [0u64; 2];
    let size = size_of_val(&secret);
    // SAFETY: the buffer is that long.
    let got = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), size, 0) };
    if got != size as isize {
        return Err(io::Error::last_os_error()).context("cannot get random numbers");
    }
    Ok(secret)
}
