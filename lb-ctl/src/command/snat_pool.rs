//! `lb-ctl snat-pool`: the addresses that backends see by full NAT.

use crate::{
    program::interface::{self, Interface},
    spec::{is_of_one_host, usage},
    store::{Pool, Source, Store},
    transaction,
};
use anyhow::{Result, bail};
use clap::Subcommand;
use serde::Serialize;
use std::{
    io::{self, Write as _},
    net::IpAddr,
};

/// Addresses of this host that backends of services with --fullnat see as the client.
///
/// Each has 64,512 ports towards each address and port of a backend. They should be for this alone: a port that the host
/// itself uses towards a backend may be given to a client too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  ip address add 192.168.33.200/24 dev eth1
  lb-ctl snat-pool add 192.168.33.200
  lb-ctl service add -t 192.168.2.200:80 --fullnat")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add addresses, IPv4 or IPv6
    #[command(after_help = "Example:
  lb-ctl snat-pool add 192.168.33.200 192.168.33.201 fd00:33::200")]
    Add {
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
    },
    /// Delete addresses. Connections that have one keep it until they end.
    #[command(
        visible_alias = "delete",
        after_help = "Example:
  lb-ctl snat-pool del 192.168.33.201"
    )]
    Del {
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<String>,
    },
    /// List the addresses, and how many of their ports connections have
    #[command(after_help = "Example:\n  lb-ctl snat-pool list")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Add { addresses } => add(&parsed(&addresses)?),
            Action::Del { addresses } => delete(&parsed(&addresses)?),
            Action::List { json } => list(json),
        }
    }
}

/// Reads an address of the pool.
pub fn parse_source(text: &str) -> Result<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            usage!("'{text}': a v4-mapped address; write it as IPv4")
        }
        Ok(address) if is_of_one_host(address) && !address.is_loopback() => Ok(address),
        Ok(_) => usage!("'{text}' is no address that a backend can answer to; write one of this host's"),
        Err(_) => usage!("'{text}' is no address; write one of this host's, such as 192.168.33.200"),
    }
}

fn parsed(texts: &[String]) -> Result<Vec<IpAddr>> {
    texts.iter().map(|text| parse_source(text)).collect()
}

fn add(addresses: &[IpAddr]) -> Result<()> {
    transaction::make(|change| {
        let mut pool = change.pool();
        for address in addresses {
            if !pool.insert(*address) {
                bail!("{address} is in the pool already; lb-ctl snat-pool list shows it");
            }
        }
        change.set_pool(pool)
    })?;
    warn(&addresses.iter().copied().collect())
}

fn delete(addresses: &[IpAddr]) -> Result<()> {
    transaction::make(|change| {
        let mut pool = change.pool();
        for address in addresses {
            if !pool.remove(address) {
                bail!("{address} is not in the pool; lb-ctl snat-pool list shows what is");
            }
        }
        change.set_pool(pool)
    })
}

/// Says which addresses of a pool are not this host's. A balancer that stands by has none of them yet, and some networks
/// route them here: so it is no error.
pub fn warn(pool: &Pool) -> Result<()> {
    let interfaces = interface::all()?;
    for address in pool.iter().filter(|address| holder(&interfaces, **address).is_none()) {
        eprintln!(
            "lb-ctl: warning: {address} is no address of this host, so backends' answers to it get lost unless a \
             router sends them here: ip address add {address}/{} dev IFACE",
            if address.is_ipv4() { 32 } else { 128 }
        );
    }
    Ok(())
}

/// The interface that has an address.
fn holder(interfaces: &[Interface], address: IpAddr) -> Option<&str> {
    let has = |interface: &&Interface| interface.held.contains(&address);
    interfaces.iter().find(has).map(|interface| interface.name.as_str())
}

#[derive(Serialize)]
struct Row<'a> {
    address: IpAddr,
    ports: u64,
    interface: Option<&'a str>,
    removed: bool,
}

fn list(json: bool) -> Result<()> {
    let (sources, interfaces) = (Store::open()?.sources()?, interface::all()?);
    let row = |Source { address, ports, is_given }: &Source| Row {
        address: *address,
        ports: *ports,
        interface: holder(&interfaces, *address),
        removed: !is_given,
    };
    let rows: Vec<_> = sources.iter().map(row).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{:<39} {:>8}  Interface", "Address", "Ports")?;
        for Row { address, ports, interface, removed } in rows {
            let note = if removed { ", removed" } else { "" };
            writeln!(out, "{:<39} {ports:>8}  {}{note}", address.to_string(), interface.unwrap_or("none"))?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_backend_can_answer_to_is_an_address() {
        for text in ["192.168.33.200", "fd00::200"] {
            assert_eq!(parse_source(text).unwrap().to_string(), text);
        }
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::",
            "::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "eth1",
            "10.0.0.0/24",
        ] {
            let message = parse_source(text).unwrap_err().to_string();
            assert!(message.contains(&format!("'{text}'")) && message.contains("write"), "{message}");
        }
    }
}
