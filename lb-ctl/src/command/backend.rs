//! `lb-ctl backend`: the servers behind a service.

mod direct;
mod method;

use crate::{
    command::{
        list,
        service::{Selector, unknown},
    },
    spec::{Endpoint, Protocol, ServiceName, is_of_one_host, is_unicast, parse_number, usage},
    store::{Change, MemberSettings},
    transaction,
};
use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use lb_common::{
    backend::{
        Member,
        method::{NAT, ROUTE},
    },
    limits::WEIGHT,
};

/// Add, edit, delete or list the backends of a service.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl backend add -t 192.168.2.200:80 -r 192.168.33.111:80 -m -w 2
  lb-ctl backend edit -t 192.168.2.200:80 -r 192.168.33.111 -w 0")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a backend. One that was removed comes back with its connections.
    #[command(after_help = "Example:
  lb-ctl backend add -t 192.168.2.200:80 -r 192.168.33.111:8080 -m -w 3
  lb-ctl backend add -t 192.168.2.200:80 -r 192.168.2.111 -g
  lb-ctl backend add -t 192.168.2.200:80 -r 10.0.0.5 -i --tun-type gue --tun-port 6080")]
    Add(Spec),
    /// Change what is named; the rest stays. Connections stay.
    #[command(after_help = "Example (no new connections, those there go on):
  lb-ctl backend edit -t 192.168.2.200:80 -r 192.168.33.111 -w 0")]
    Edit(Spec),
    /// Remove a backend. Packets of its connections are dropped until they expire.
    #[command(
        visible_alias = "delete",
        after_help = "Example:
  lb-ctl backend del -t 192.168.2.200:80 -r 192.168.33.111"
    )]
    Del(Who),
    /// List the backends of a service.
    #[command(after_help = "Example:
  lb-ctl backend list -t 192.168.2.200:80")]
    List {
        #[command(flatten)]
        service: Selector,
        /// Addresses and ports as numbers
        #[arg(short, long)]
        numeric: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Who {
    #[command(flatten)]
    service: Selector,
    /// The backend's address and port [default port: the service's]
    #[arg(short, long, value_name = "ADDRESS[:PORT]")]
    real_server: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Spec {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    forwarding: method::Options,
    /// Weight; 0 takes no new connections [default: 1]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    weight: Option<String>,
    /// Connections at which it gets no more; 0 is no limit [default: 0]
    #[arg(short = 'x', long, value_name = "N", allow_hyphen_values = true)]
    u_threshold: Option<String>,
    /// Connections below which it gets some again; 0 is three quarters of the upper [default: 0]
    #[arg(short = 'y', long, value_name = "N", allow_hyphen_values = true)]
    l_threshold: Option<String>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Add(spec) => spec.add(),
            Action::Edit(spec) => spec.edit(),
            Action::Del(who) => who.delete(),
            Action::List { service, numeric } => list::backends(service.optional()?, numeric),
        }
    }
}

impl Who {
    fn parse(&self) -> Result<(ServiceName, Endpoint)> {
        let service = self.service.required()?;
        let Some(text) = &self.real_server else {
            usage!("which backend? add -r 192.168.33.111:{}", service.port())
        };
        let (address, port) = Endpoint::parse(text, service.protocol().unwrap_or(Protocol::Tcp))?;
        let port = port.unwrap_or(service.port());
        if !is_unicast(address) {
            usage!("'{text}' is not the address of one host; write a unicast address");
        }
        if port == 0 && service.port() != 0 {
            usage!("'{text}': port 0 is no port of a server; write {}", Endpoint { address, port: 80 });
        }
        Ok((service, Endpoint { address, port }))
    }

    fn delete(self) -> Result<()> {
        let (service, backend) = self.parse()?;
        transaction::make(|change| {
            let position = position(change, service, backend)?;
            change.remove_backend(&service.key(), position)
        })
    }
}

impl Spec {
    fn add(self) -> Result<()> {
        let (service, mut backend) = self.who.parse()?;
        let settings = self.settings(Member::default())?;
        if settings.method.is_some_and(|method| method::keeps_destination(method, service)) {
            // As ipvsadm does: the packet arrives with the service's port, whatever is written here.
            backend.port = service.port();
        }
        check(service, backend, &settings)?;
        transaction::make(|change| {
            if change.version(&service.key()).is_none() {
                return Err(unknown(service));
            }
            if position(change, service, backend).is_ok() {
                bail!("{service} has backend {backend} already; lb-ctl backend edit changes it");
            }
            change.add_backend(&service.key(), backend.address.into(), backend.port.to_be(), settings)
        })?;
        if settings.method == Some(ROUTE) { direct::warn(backend.address) } else { Ok(()) }
    }

    fn edit(self) -> Result<()> {
        let (service, backend) = self.who.parse()?;
        // What can be refused without the lock is.
        self.numbers()?;
        let begins = transaction::make(|change| {
            let position = position(change, service, backend)?;
            let old =
                change.version(&service.key()).map(|version| version.members[position]).unwrap_or_default();
            let settings = self.settings(old)?;
            let method = settings.method.unwrap_or(old.method);
            if method::keeps_destination(method, service) && backend.port != service.port() {
                usage!(
                    "{backend} has another port than {service}, which only -m can give it; add it again with -g or -i"
                );
            }
            method::check_family(method, service, backend)?;
            check_thresholds(settings.upper.unwrap_or(old.upper), settings.lower.unwrap_or(old.lower))?;
            change.edit_backend(&service.key(), position, settings)?;
            Ok(method == ROUTE && old.method != ROUTE)
        })?;
        if begins { direct::warn(backend.address) } else { Ok(()) }
    }

    /// What is asked for, on top of what is there.
    fn settings(&self, old: Member) -> Result<MemberSettings> {
        let (method, tunnel) = self.forwarding.parse(old)?;
        Ok(MemberSettings { method, tunnel, ..self.numbers()? })
    }

    fn numbers(&self) -> Result<MemberSettings> {
        let number = |option, text: &Option<String>, most| {
            text.as_deref().map(|text| parse_number(option, text, most)).transpose()
        };
        Ok(MemberSettings {
            weight: number("-w", &self.weight, WEIGHT)?,
            upper: number("-x", &self.u_threshold, u32::MAX)?,
            lower: number("-y", &self.l_threshold, u32::MAX)?,
            ..MemberSettings::default()
        })
    }
}

/// What a backend of a service must be like, whoever asks for it.
pub fn check(service: ServiceName, backend: Endpoint, settings: &MemberSettings) -> Result<()> {
    let method = settings.method.unwrap_or(NAT);
    if !is_of_one_host(backend.address) {
        usage!("'{}' is not the address of one host; write a unicast address", backend.address);
    }
    if method::keeps_destination(method, service) {
        if backend.port != service.port() {
            usage!("{backend} has another port than {service}, which only -m (masquerading) can give it");
        }
    } else if backend.port == 0 && service.port() != 0 {
        usage!("'{backend}': port 0 is no port of a server; write the port");
    }
    method::check_family(method, service, backend)?;
    check_thresholds(settings.upper.unwrap_or(0), settings.lower.unwrap_or(0))
}

/// As the kernel does (`ip_vs_add_dest`): the lower must not be above the upper, even where that is
/// none.
fn check_thresholds(upper: u32, lower: u32) -> Result<()> {
    if lower > upper {
        usage!("the lower threshold {lower} (-y) is above the upper {upper} (-x); raise -x or lower -y");
    }
    Ok(())
}

fn position(change: &Change, service: ServiceName, backend: Endpoint) -> Result<usize> {
    if change.version(&service.key()).is_none() {
        return Err(unknown(service));
    }
    change
        .position(&service.key(), backend.address.into(), backend.port.to_be())
        .ok_or_else(|| anyhow!("{service} has no backend {backend}; lb-ctl list shows those it has"))
}
