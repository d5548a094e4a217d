//! What is printed: a file per listing. The tables are ipvsadm's to the byte, and scripts read
//! them, so they are formatted by hand; `%-28s` in a comment is the width there.

pub mod connections;
pub mod json;
mod names;
pub mod order;
pub mod rate;
pub mod stats;
pub mod table;
pub mod thresholds;

#[cfg(test)]
mod example;

pub use names::Names;

use crate::{
    snapshot::Service,
    spec::{Protocol, flags_text},
};
use std::io::{self, Write};

/// The first line of a listing of everything.
pub fn heading(out: &mut impl Write, size: u32) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version 1.2.1 (size={size})")
}

/// `TCP  192.168.2.200:80`.
fn service_name(service: &Service, names: &mut Names) -> String {
    let protocol = match service.name.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    format!("{protocol:<4} {}", names.cut(service.name.endpoint, service.name.protocol.number(), 33))
}

/// The rest of a service's row where the scheduler is shown.
fn service_rest(service: &Service) -> String {
    let mut text = format!(" {}", service.scheduler.name());
    let flags = flags_text(service.scheduler, service.scheduler_flags);
    if !flags.is_empty() {
        text += &format!(" ({flags})");
    }
    if service.persistence != 0 {
        text += &format!(" persistent {}", service.persistence);
        match (service.name.endpoint.address.is_ipv4(), service.prefix) {
            (true, 1..32) => {
                let mask = std::net::Ipv4Addr::from(u32::MAX << (32 - service.prefix));
                text += &format!(" mask {mask}");
            }
            (false, 1..128) => text += &format!(" mask {}", service.prefix),
            _ => {}
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
