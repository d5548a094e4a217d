//! `lb-ctl list`: services, backends and connections.

use crate::{
    report::{self, Names, View, connections::Rows, order::Key},
    snapshot::Snapshot,
    spec::{Protocol, ServiceName},
    store::{Store, now},
};
use anyhow::{Result, bail};
use lb_common::connection::Connection;
use std::io::{self, BufWriter, ErrorKind, Write};

/// List services and their backends, or connections, in ipvsadm's columns.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example:
  lb-ctl list -n
  lb-ctl list -n --stats --service tcp 192.168.2.200:80
  lb-ctl list -n --connections")]
pub struct Args {
    /// Addresses and ports as numbers: no name server is asked
    #[arg(short, long)]
    numeric: bool,
    /// Connections, packets and bytes since a backend was added or zeroed
    #[arg(long, group = "view")]
    stats: bool,
    /// The same a second
    #[arg(long, group = "view")]
    rate: bool,
    /// Upper and lower thresholds of backends
    #[arg(long, group = "view")]
    thresholds: bool,
    /// Persistence templates of backends
    #[arg(long, group = "view")]
    persistent_conn: bool,
    /// How packets are wrapped for tunnel backends
    #[arg(long, group = "view")]
    tun_info: bool,
    /// The connection table
    #[arg(short, long, group = "view", conflicts_with_all = ["sort_by", "exact"])]
    connections: bool,
    /// Numbers in full, however long
    #[arg(long)]
    exact: bool,
    /// Order of services and of backends within a service
    #[arg(long, value_name = "KEY", default_value = "address")]
    sort_by: Key,
    /// Only this service: tcp ADDRESS:PORT, udp ADDRESS:PORT, ADDRESS:PORT for both, or mark N
    #[arg(long, value_name = "SERVICE", num_args = 1..=3)]
    service: Vec<String>,
    /// Everything as JSON
    #[arg(long, conflicts_with_all = ["stats", "rate", "thresholds", "persistent_conn", "tun_info", "exact"])]
    json: bool,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let wanted = parse_services(&self.service)?;
        let store = Store::open()?;
        printed(|out| {
            if self.connections {
                self.write_connections(out, &store, &wanted)
            } else {
                self.write_services(out, &store, &wanted)
            }
        })
    }

    fn write_services(&self, out: &mut impl Write, store: &Store, wanted: &[ServiceName]) -> Result<()> {
        let mut snapshot = Snapshot::default();
        match wanted {
            [] => snapshot = Snapshot::read(store, None)?,
            some => {
                for name in some {
                    snapshot.services.extend(Snapshot::read(store, Some(&name.key()))?.services);
                }
                if snapshot.services.is_empty() {
                    bail!("there is no service {}; lb-ctl list -n shows all", self.service.join(" "));
                }
            }
        }
        self.sort_by.sort(&mut snapshot);
        if self.json {
            return Ok(report::json::write(out, &snapshot, store.size(), store.timeouts())?);
        }
        if wanted.is_empty() {
            report::heading(out, store.size())?;
        }
        Ok(self.view().write(out, &snapshot, &mut Names::new(self.numeric), self.exact)?)
    }

    fn view(&self) -> View {
        match self {
            Self { stats: true, .. } => View::Stats,
            Self { rate: true, .. } => View::Rate,
            Self { thresholds: true, .. } => View::Thresholds,
            Self { persistent_conn: true, .. } => View::Persistent,
            Self { tun_info: true, .. } => View::Tunnels,
            _ => View::Table,
        }
    }

    fn write_connections(&self, out: &mut impl Write, store: &Store, wanted: &[ServiceName]) -> Result<()> {
        let mut ids = vec![];
        for name in wanted {
            ids.extend(store.version(&name.key())?.map(|version| version.record.id));
        }
        let is_wanted =
            |connection: &Connection| wanted.is_empty() || ids.contains(&store.service_of(connection));
        if self.json {
            return Ok(report::json::write_connections(
                out,
                now(),
                |connection| store.source_of(connection),
                |row| {
                    store.each_connection(
                        |connection| if is_wanted(connection) { row(connection) } else { Ok(()) },
                    )
                },
            )?);
        }
        let mut rows = Rows::start(out, Names::new(self.numeric), now(), self.persistent_conn)?;
        Ok(store.each_connection(
            |connection| if is_wanted(connection) { rows.write(connection) } else { Ok(()) },
        )?)
    }
}

/// `lb-ctl backend list`.
pub fn backends(service: Option<ServiceName>, numeric: bool) -> Result<()> {
    let service = service.map(|name| name.to_string().split(' ').map(str::to_owned).collect());
    Args { numeric, service: service.unwrap_or_default(), ..Args::default() }.run()
}

/// Reads `--service`.
fn parse_services(words: &[String]) -> Result<Vec<ServiceName>> {
    match words {
        [] => Ok(vec![]),
        [text] if !text.contains(char::is_whitespace) => {
            Ok(vec![ServiceName::parse(Protocol::Tcp, text)?, ServiceName::parse(Protocol::Udp, text)?])
        }
        words => Ok(vec![words.join(" ").parse()?]),
    }
}

/// Prints through one buffer. A reader that has seen enough (`head`) is no error.
fn printed(write: impl FnOnce(&mut BufWriter<io::StdoutLock>) -> Result<()>) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match write(&mut out).and_then(|()| Ok(out.flush()?)) {
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            // What is left in the buffer has no reader.
            let _ = out.into_parts();
            Ok(())
        }
        result => result,
    }
}
