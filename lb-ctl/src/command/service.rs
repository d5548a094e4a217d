//! `lb-ctl service`: virtual services.

mod full_nat;
mod persistence;

use crate::{
    command::list,
    spec::{Protocol, ServiceName, parse_flags, parse_scheduler, usage},
    store::Schedule,
    transaction,
};
use anyhow::{Result, bail};
use clap::Subcommand;
use lb_common::{scheduler::Scheduler, service::Service};
use lb_ebpf::persistence::FTP;

/// Add, edit, delete or list virtual services.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lb-ctl service add -t 192.168.2.200:80 -s wlc
  lb-ctl backend add -t 192.168.2.200:80 -r 192.168.33.111:80 -m")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a service, without backends.
    #[command(after_help = "Example:
  lb-ctl service add -t 192.168.2.200:443 -s mh -b mh-port,mh-fallback
  lb-ctl service add -t 192.168.2.200:0 -p 600 -M 255.255.255.0
  lb-ctl service add -t 192.168.2.200:80 --fullnat --toa")]
    Add(Spec),
    /// Change what is named; the rest stays. Connections and backends stay.
    #[command(after_help = "Example:
  lb-ctl service edit -t 192.168.2.200:80 -s wrr")]
    Edit(Spec),
    /// Delete a service and its backends.
    #[command(
        visible_alias = "delete",
        after_help = "Example:
  lb-ctl service del -t 192.168.2.200:80"
    )]
    Del(Selector),
    /// List services and their backends: the same as lb-ctl list.
    #[command(after_help = "Example:
  lb-ctl service list -n --stats")]
    List(list::Args),
}

#[derive(Debug, clap::Args)]
struct Spec {
    #[command(flatten)]
    service: Selector,
    /// Scheduler: rr wrr lc wlc sed nq fo ovf twos dh sh mh lblc lblcr [default: wlc]
    #[arg(short, long, value_name = "NAME")]
    scheduler: Option<String>,
    /// Flags of the scheduler, separated by commas: sh-fallback sh-port mh-fallback mh-port flag-1 flag-2
    /// flag-3
    #[arg(short = 'b', long, value_name = "FLAGS")]
    sched_flags: Option<String>,
    #[command(flatten)]
    persistence: persistence::Options,
    #[command(flatten)]
    full_nat: full_nat::Options,
}

/// Selects a service.
#[derive(Debug, clap::Args)]
pub struct Selector {
    /// TCP service: address or host name, and port or service name
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    tcp_service: Option<String>,
    /// UDP service
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    udp_service: Option<String>,
    /// SCTP service
    #[arg(long, value_name = "ADDRESS:PORT")]
    sctp_service: Option<String>,
    /// Service for packets with a firewall mark (lb-ctl mark)
    #[arg(short, long, value_name = "MARK", allow_hyphen_values = true)]
    fwmark_service: Option<String>,
    /// With -f: for IPv6 packets
    #[arg(short = '6', long)]
    ipv6: bool,
}

impl Selector {
    /// The service, where there must be one.
    pub fn required(&self) -> Result<ServiceName> {
        match self.optional()? {
            Some(name) => Ok(name),
            None => usage!("which service? add -t 192.168.2.200:80 (TCP) or -u 192.168.2.200:53 (UDP)"),
        }
    }

    /// The service, if any.
    pub fn optional(&self) -> Result<Option<ServiceName>> {
        let named = [
            ("-t", Some(Protocol::Tcp), &self.tcp_service),
            ("-u", Some(Protocol::Udp), &self.udp_service),
            ("--sctp-service", Some(Protocol::Sctp), &self.sctp_service),
            ("-f", None, &self.fwmark_service),
        ];
        let named: Vec<_> =
            named.iter().filter_map(|(option, kind, text)| Some((option, kind, text.as_deref()?))).collect();
        if self.ipv6 && self.fwmark_service.is_none() {
            usage!("-6 belongs to a firewall mark; write the address of another service in IPv6");
        }
        match named[..] {
            [] => Ok(None),
            [(_, Some(protocol), text)] => ServiceName::parse(*protocol, text).map(Some),
            [(_, None, text)] => ServiceName::parse_mark(text, self.ipv6).map(Some),
            [(one, _, first), (other, _, second), ..] => {
                usage!("{one} {first} and {other} {second}: name one service")
            }
        }
    }
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Add(spec) => spec.add(),
            Action::Edit(spec) => spec.edit(),
            Action::Del(service) => delete(service.required()?),
            Action::List(args) => args.run(),
        }
    }
}

impl Spec {
    fn add(self) -> Result<()> {
        let name = self.service.required()?;
        let scheduler = self.scheduler()?;
        let flags = self.flags(scheduler.unwrap_or(Scheduler::Wlc))?;
        let schedule = Schedule { scheduler, flags, ..Schedule::default() };
        let schedule = self.full_nat.add_to(self.persistence.add_to(schedule, name)?);
        self.persistence.check(&schedule.applied_to(Service::default()), name)?;
        transaction::make(|change| {
            if change.version(&name.key()).is_some() {
                bail!("service {name} exists already; lb-ctl service edit changes it");
            }
            change.add_service(name.key(), schedule)
        })?;
        let is_ftp = name.protocol() == Some(Protocol::Tcp) && name.port().to_be() == FTP;
        if is_ftp && schedule.persistence.unwrap_or(0) == 0 {
            eprintln!("lb-ctl: warning: FTP's data connections follow their control connection only with -p");
        }
        Ok(())
    }

    fn edit(self) -> Result<()> {
        let name = self.service.required()?;
        let scheduler = self.scheduler()?;
        if let Some(scheduler) = scheduler {
            // What can be refused without the lock is.
            self.flags(scheduler)?;
        }
        let schedule = self.full_nat.add_to(self.persistence.add_to(Schedule::default(), name)?);
        transaction::make(|change| {
            let Some(old) = change.version(&name.key()) else { return Err(unknown(name)) };
            let flags = match scheduler {
                // The flags are those of the scheduler: another one starts without.
                Some(new) if new != old.scheduler() => Some(self.flags(new)?.unwrap_or(0)),
                _ => self.flags(old.scheduler())?,
            };
            let schedule = Schedule { scheduler, flags, ..schedule };
            self.persistence.check(&schedule.applied_to(old.record), name)?;
            change.edit_service(&name.key(), schedule)
        })
    }

    fn scheduler(&self) -> Result<Option<Scheduler>> {
        self.scheduler.as_deref().map(parse_scheduler).transpose()
    }

    fn flags(&self, scheduler: Scheduler) -> Result<Option<u8>> {
        self.sched_flags.as_deref().map(|text| parse_flags(text, scheduler)).transpose()
    }
}

fn delete(name: ServiceName) -> Result<()> {
    transaction::make(|change| {
        if change.version(&name.key()).is_none() {
            return Err(unknown(name));
        }
        change.remove_service(&name.key())
    })
}

/// The error for a service that there is not.
pub fn unknown(name: ServiceName) -> anyhow::Error {
    anyhow::anyhow!("there is no service {name}; lb-ctl service add {} adds it", name.options())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    /// What is typed behind `lb-ctl service add`: the service, and its options of persistence.
    pub fn parse(typed: &str) -> (ServiceName, persistence::Options) {
        let command = Spec::augment_args(clap::Command::new("add").no_binary_name(true));
        let spec = Spec::from_arg_matches(&command.get_matches_from(typed.split(' '))).unwrap();
        (spec.service.required().unwrap(), spec.persistence)
    }
}
