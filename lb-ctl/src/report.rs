//! What is printed: a file per listing. The tables are ipvsadm's to the byte, and scripts read
//! them, so they are formatted by hand; `%-28s` in a comment is the width there.

pub mod connections;
pub mod difference;
pub mod json;
mod names;
pub mod order;
mod persistent;
mod rate;
mod stats;
mod table;
mod thresholds;
mod tunnels;

#[cfg(test)]
pub mod example;

/// Prints a line. A full disk behind the standard output is an error, and no panic as with `println!`.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        anyhow::Context::context(writeln!(std::io::stdout(), $($words)*), "cannot write the standard output")?
    }};
}
pub(crate) use say;

pub use names::Names;

use crate::{
    snapshot::{Backend, Service, Snapshot},
    spec::{Protocol, ServiceName, engine_name, mask_text, shown_flags},
};
use std::{
    io::{self, Write},
    num::NonZeroU32,
};

/// Which columns a listing of services has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Weights and connections.
    Table,
    /// Counters.
    Stats,
    /// Counters a second.
    Rate,
    /// Thresholds.
    Thresholds,
    /// Persistence templates.
    Persistent,
    /// Tunnels.
    Tunnels,
}

impl View {
    /// Writes titles and rows; `exact` is for counters.
    pub fn write(
        self,
        out: &mut impl Write,
        snapshot: &Snapshot,
        names: &mut Names,
        exact: bool,
    ) -> io::Result<()> {
        match self {
            Self::Table => table::write(out, snapshot, names),
            Self::Stats => stats::write(out, snapshot, names, exact),
            Self::Rate => rate::write(out, snapshot, names, exact),
            Self::Thresholds => thresholds::write(out, snapshot, names),
            Self::Persistent => persistent::write(out, snapshot, names),
            Self::Tunnels => tunnels::write(out, snapshot, names),
        }
    }
}

/// The first line of a listing of everything.
pub fn heading(out: &mut impl Write, size: u32) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version 1.2.1 (size={size})")
}

/// The protocol whose names the ports of a service's backends have; 0 is none.
fn protocol_of(service: &Service) -> u8 {
    service.name.protocol().map_or(0, Protocol::number)
}

/// The rows of a listing: a line for each service, made from its name, and `  -> %-28s` with what follows it
/// for each of its backends.
fn rows(
    out: &mut impl Write,
    snapshot: &Snapshot,
    names: &mut Names,
    service_line: impl Fn(&Service, String) -> String,
    columns: impl Fn(&Backend) -> String,
) -> io::Result<()> {
    for service in &snapshot.services {
        writeln!(out, "{}", service_line(service, service_name(service, names)))?;
        for backend in &service.backends {
            let name = names.cut(backend.endpoint, protocol_of(service), 28);
            writeln!(out, "  -> {name:<28}{}", columns(backend))?;
        }
    }
    Ok(())
}

/// The line of a service where its scheduler is shown.
fn with_scheduler(service: &Service, name: String) -> String {
    name + &service_rest(service)
}

/// `TCP  192.168.2.200:80`.
fn service_name(service: &Service, names: &mut Names) -> String {
    match service.name {
        ServiceName::Address { protocol, endpoint } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            format!("{word:<4} {}", names.cut(endpoint, protocol.number(), 28))
        }
        ServiceName::Mark { mark, ipv6: false } => format!("FWM  {}", shown(mark)),
        ServiceName::Mark { mark, ipv6: true } => format!("FWM  {} IPv6", shown(mark)),
    }
}

/// A mark as ipvsadm's `%d` shows it.
pub const fn shown(mark: NonZeroU32) -> i32 {
    mark.get() as i32
}

/// The rest of a service's row where the scheduler is shown.
fn service_rest(service: &Service) -> String {
    let mut text = format!(" {}", service.scheduler.name());
    if service.scheduler_flags != 0 {
        text += &format!(" ({})", shown_flags(service.scheduler, service.scheduler_flags));
    }
    if service.persistence != 0 {
        text += &format!(" persistent {}", service.persistence);
        if let Some(mask) = mask_text(service.mask, service.name.is_ipv6()) {
            text += &format!(" mask {mask}");
        }
        if let Some(engine) = engine_name(service.engine) {
            text += &format!(" pe {engine}");
        }
    }
    if service.one_packet {
        text += " ops";
    }
    text
}

/// A number of at most 8 digits behind a blank, in decimal units unless `exact`.
fn large(number: u64, exact: bool) -> String {
    let (divisor, unit) = match number {
        _ if exact => (1, ""),
        0..100_000_000 => (1, ""),
        100_000_000..1_000_000_000 => (1_000, "K"),
        1_000_000_000..100_000_000_000 => (1_000_000, "M"),
        100_000_000_000..100_000_000_000_000 => (1_000_000_000, "G"),
        _ => (1_000_000_000_000, "T"),
    };
    let width = 8 - unit.len() + usize::from(!unit.is_empty());
    if unit.is_empty() { format!(" {number:>8}") } else { format!("{:>width$}{unit}", number / divisor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_fit_nine_columns() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (123_456_789, "  123456K"),
            (61_728_394_000, "   61728M"),
            (123_000_000_000, "     123G"),
            (617_283_000, "  617283K"),
            (1_234_567_890, "    1234M"),
            (100_000_000_000_000, "     100T"),
        ] {
            assert_eq!(large(number, false), text);
        }
        assert_eq!(large(123_456_789, true), " 123456789");
    }
}
