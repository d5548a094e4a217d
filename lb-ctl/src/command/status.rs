//! `lb-ctl status`: what is loaded, and how.

use crate::report::say;
use crate::{
    lock::Lock,
    program::{
        Mode, attachment, device,
        interface::{self, Interface},
        object,
        pins::{self, Pins},
    },
    store::Store,
};
use anyhow::Result;
use lb_common::{LAYOUT_VERSION, device::flags};
use serde::Serialize;

/// Show what is loaded, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl status")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    layout: u32,
    services: u32,
    max_connections: u32,
    memory_bytes: u64,
    programs: Vec<Program>,
    trace: Trace,
    interfaces: Vec<Row>,
}

#[derive(Serialize)]
struct Program {
    mode: Mode,
    id: u32,
    tag: String,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Trace {
    Off,
    On,
    /// The program traces, but nobody reads it.
    Abandoned,
}

/// What sends through an interface that is gone.
const LOST: &str = "nothing";

#[derive(Serialize)]
struct Row {
    name: String,
    /// `None` where the balancer is not attached.
    mode: Option<Mode>,
    /// Why it is attached so.
    choice: &'static str,
    /// Whether XDP sends through it, or the kernel does.
    sends: &'static str,
    reason: String,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let status = Status::read()?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            status.print()?;
        }
        Ok(())
    }
}

impl Status {
    fn read() -> Result<Self> {
        let pins = Pins::here()?;
        let directory = pins.loaded()?;
        let store = Store::open()?;
        let settings = store.settings.get(0);
        let interfaces = interface::all()?;
        let attachments = attachment::all(&directory, &interfaces)?;
        let modes = attachment::modes(&attachments);

        let programs = object::pinned(&directory)?;
        let traced = object::traced(&directory)?;
        let tracing = attachments.iter().any(|attachment| traced.contains(&attachment.program));
        let trace = match tracing {
            false => Trace::Off,
            true if Lock::is_tracing(pins.cookie) => Trace::On,
            true => Trace::Abandoned,
        };
        let lost = attachments.iter().filter(|attachment| attachment.mode.is_none()).map(|attachment| Row {
            name: attachment
                .interface
                .as_ref()
                .map_or_else(|| format!("number {}", attachment.index), |interface| interface.name.clone()),
            mode: None,
            choice: "",
            sends: LOST,
            reason: "the interface that was attached is gone: lb-ctl unload, then load".to_owned(),
        });
        let row = |interface: &Interface| {
            let mode = modes.get(&interface.index).copied();
            let capability = device::judge(interface, mode);
            let redirects = capability.device.flags & flags::REDIRECT != 0;
            Ok(Row {
                name: interface.name.clone(),
                mode,
                choice: if mode.is_some() { device::choice(&directory, interface.index)? } else { "" },
                sends: if redirects { "xdp" } else { "kernel" },
                reason: capability.reason.to_owned(),
            })
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            layout: LAYOUT_VERSION,
            services: settings.services,
            max_connections: settings.connections,
            memory_bytes: pins::memory(&directory)?,
            programs: programs
                .into_iter()
                .map(|(mode, info)| Program { mode, id: info.id(), tag: format!("{:016x}", info.tag()) })
                .collect(),
            trace,
            interfaces: interfaces.iter().map(row).chain(lost.map(Ok)).collect::<Result<_>>()?,
        })
    }

    fn print(&self) -> Result<()> {
        say!("lb-ctl {}, layout {} of the maps", self.version, self.layout);
        say!("services         {}", self.services);
        say!("max connections  {}", self.max_connections);
        say!("memory           {:.1} MiB", self.memory_bytes as f64 / f64::from(1 << 20));
        for program in &self.programs {
            say!("program          {}: id {}, tag {}", program.mode, program.id, program.tag);
        }
        match self.trace {
            Trace::Off => say!("trace            off"),
            Trace::On => say!("trace            on"),
            Trace::Abandoned => say!("trace            on, but lb-ctl trace was killed: lb-ctl upgrade"),
        }
        say!("");
        say!("{:<16} {:<9} {:<32} {:<9} Why", "Interface", "Attached", "Why", "XDP sends");
        let has_xdp = self.programs.iter().any(|program| program.mode != Mode::Tc);
        for row in &self.interfaces {
            let mode = row.mode.map_or("-", Mode::name);
            let (sends, reason) = match has_xdp || row.sends == LOST {
                true => (row.sends, row.reason.as_str()),
                false => ("-", "no XDP program is loaded"),
            };
            say!("{:<16} {mode:<9} {:<32} {sends:<9} {reason}", row.name, row.choice);
        }
        Ok(())
    }
}
