//! `lb-ctl load`: attaches the balancer to interfaces.

use crate::{
    lock::Lock,
    program::{
        Mode, attachment, device,
        interface::{self, Interface},
        kernel,
        object::{Instance, Variant, pin_name},
        pins::Pins,
        sysctl,
    },
};
use anyhow::{Context as _, Result, bail};
use aya::programs::links::FdLink;
use clap::ValueEnum;
use lb_common::{limits, settings::Settings};
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
    /// Where the program runs: in the driver, in the kernel's stack (slower), or the first that works
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
enum Wanted {
    Auto,
    Native,
    Generic,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        kernel::require()?;
        let pins = Pins::here()?;
        let lock = Lock::take(pins.cookie)?;
        if pins.directory().is_dir() {
            bail!("already loaded in this network namespace: lb-ctl upgrade, or lb-ctl unload first");
        }
        pins.clean()?;
        let interfaces = attachment::named(&interface::all()?, &self.interfaces)?;

        let result = self.build(&pins, &interfaces);
        if result.is_err() {
            // The error that is reported is the first one.
            let _ = pins.clean();
            pins.forget();
            let _ = lock.remove();
        }
        result
    }

    /// Builds everything under another name, and gives it its name in the last step.
    fn build(&self, pins: &Pins, interfaces: &[Interface]) -> Result<()> {
        let directory = pins.unfinished();
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

        let links = self.attach(&directory, interfaces)?;
        let receivers = interface::receivers(interfaces, &interface::all()?);
        let names: Vec<_> = receivers.iter().map(|interface| interface.name.clone()).collect();
        let changed = sysctl::accept_local(pins.cookie, &names)?;
        // Only now, because a program on a veth lets its far end take redirected packets.
        let modes: BTreeMap<u32, Mode> =
            links.iter().map(|(interface, mode, _)| (interface.index, *mode)).collect();
        device::describe(&directory, &interface::all()?, &modes)?;

        for (interface, mode, link) in links {
            attachment::pin(link, &directory, interface)?;
            let fallback = if self.mode == Wanted::Auto && mode == Mode::Generic {
                ": its driver takes no program, so this is slower"
            } else {
                ""
            };
            println!("{}: attached ({mode}){fallback}", interface.name);
        }
        fs::rename(&directory, pins.directory()).context("cannot complete the load")?;

        for setting in changed {
            println!("set {setting}=1: replies left to the kernel carry a local source address");
        }
        for warning in sysctl::warnings(&names) {
            eprintln!("lb-ctl: warning: {warning}");
        }
        Ok(())
    }

    /// Attaches each interface in the mode that was asked for or works; the links hold only as long
    /// as this process.
    fn attach<'a>(
        &self,
        directory: &Path,
        interfaces: &'a [Interface],
    ) -> Result<Vec<(&'a Interface, Mode, FdLink)>> {
        let modes = match self.mode {
            Wanted::Auto => &Mode::ALL[..],
            Wanted::Native => &[Mode::Native],
            Wanted::Generic => &[Mode::Generic],
        };
        let partial = interfaces.iter().any(Interface::partial_checksums);
        let mut waiting: Vec<&Interface> = interfaces.iter().collect();
        let mut links = Vec::new();
        for (round, &mode) in modes.iter().enumerate() {
            let variant = Variant { mode, partial, connections: self.max_connections, trace: None };
            let mut instance = Instance::load(directory, variant)?;
            if round == 0 {
                instance.write_settings(Settings::new(self.max_connections, secret()?))?;
                instance.arm(directory)?;
            }
            let mut refused = Vec::new();
            for interface in waiting {
                match attachment::attach(&mut instance, interface)? {
                    Some(link) => links.push((interface, mode, link)),
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
