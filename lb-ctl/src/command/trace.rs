//! `lb-ctl trace`: prints what the packet path decides.

mod line;

use crate::{
    lock::Lock,
    program::{
        attachment, interface,
        object::{Filter, Instance},
        pins::Pins,
        replacement,
    },
    spec::{Endpoint, Protocol, resolve_host},
    store::Store,
};
use anyhow::{Context as _, Result, bail};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use std::io::{self, ErrorKind, Write as _};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// Print a line for every decision about a packet, until Ctrl-C.
///
/// The program is replaced by one that traces, and put back at the end; connections go on. Tracing
/// costs time for every packet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  lb-ctl trace --client 192.168.2.10 --service 192.168.2.200:80")]
pub struct Args {
    /// Only this client: address or host name
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Only this service: address or host name, and port or service name; without a port all of the address
    #[arg(long, value_name = "ADDRESS:PORT")]
    service: Option<String>,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        let filter = self.filter()?;
        let pins = Pins::here()?;
        pins.loaded()?;
        let tracing = match Lock::take_trace(pins.cookie)? {
            Ok(lock) => lock,
            Err(holder) => bail!("lb-ctl trace is running already (pid {holder}): end it first"),
        };
        let result = trace(filter);
        tracing.remove()?;
        result
    }

    fn filter(&self) -> Result<Filter> {
        let mut filter = Filter::default();
        if let Some(text) = &self.client {
            filter.client = resolve_host(text, text)?.into();
        }
        if let Some(text) = &self.service {
            let (address, port) = Endpoint::parse(text, Protocol::Tcp)?;
            filter.service = address.into();
            filter.port = port.unwrap_or(0).to_be();
        }
        Ok(filter)
    }
}

fn trace(filter: Filter) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the program is replaced, so that no signal can leave it in place.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        // A reader that has gone away (`lb-ctl trace | head`) fails a write, and that ends the trace.
        let _pipe = signal(SignalKind::pipe())?;

        let instances = {
            let store = Store::lock()?;
            let connections = store.settings.get(0).connections;
            replacement::replace(store.pins(), connections, Some(filter))
        };
        let printed = match instances {
            Ok(instances) => tokio::select! {
                printed = print(instances) => printed,
                _ = interrupt.recv() => Ok(()),
                _ = terminate.recv() => Ok(()),
                _ = hang_up.recv() => Ok(()),
            },
            Err(error) => Err(error),
        };
        put_back()?;
        printed
    })
}

/// Puts the program without tracing into the links again.
fn put_back() -> Result<()> {
    let store = Store::lock()?;
    let attachments = attachment::all(store.pins(), &interface::all()?)?;
    attachment::restore(store.pins(), &attachments)?;
    replacement::forget_trace(store.pins())
}

async fn print(instances: Vec<Instance>) -> Result<()> {
    let mut readers = JoinSet::new();
    for mut instance in instances {
        let printer = Printer { names: line::names(&interface::all()?) };
        let logger = EbpfLogger::init_with_logger(&mut instance.ebpf, printer)
            .context("cannot read what the program traces")?;
        // SAFETY: the logger owns the file descriptor that it gives, and gives no other.
        let mut logger = unsafe { AsyncFd::register(logger)? };
        readers.spawn(async move {
            // Its maps must stay open as long as they are read.
            let _instance = instance;
            loop {
                let mut ready = logger.readable_mut().await?;
                ready.get_inner_mut().flush();
                ready.clear_ready();
                match io::stdout().flush() {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    flushed => flushed?,
                }
            }
        });
    }
    match readers.join_next().await {
        Some(ended) => ended?,
        None => Ok(()),
    }
}

/// Prints what the program wrote in words, and nothing around it.
#[derive(Debug)]
struct Printer {
    names: line::Names,
}

impl Log for Printer {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The next flush reports an error.
        let _ = writeln!(io::stdout(), "{}", line::in_words(&record.args().to_string(), &self.names));
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Usage;
    use std::net::IpAddr;

    #[test]
    fn a_filter_is_read_in_either_family() {
        let args = Args { client: None, service: Some("[2001:db8::80]:443".into()) };
        let filter = args.filter().unwrap();
        assert_eq!(filter.port, 443u16.to_be());
        assert_eq!(IpAddr::from(filter.service).to_string(), "2001:db8::80");
        let args = Args { client: Some("localhost".into()), service: Some("127.0.0.1".into()) };
        let filter = args.filter().unwrap();
        assert_eq!((filter.client, filter.port), (filter.service, 0));
        for (client, service) in [(None, Some("10.0.0.1:none")), (Some("10.0.0.300"), None)] {
            let args = Args { client: client.map(str::to_owned), service: service.map(str::to_owned) };
            assert!(args.filter().unwrap_err().is::<Usage>());
        }
    }
}
