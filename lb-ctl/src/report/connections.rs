//! The connection table (`ipvsadm -Lc`), a row at a time: there may be millions.

use super::Names;
use crate::spec::Endpoint;
use lb_common::{
    address::Address,
    connection::{Connection, state},
    protocol,
    time::{remaining, seconds},
};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// Writes rows; the line is reused, so that a row costs no allocation.
pub struct Rows<W> {
    out: W,
    names: Names,
    now: u32,
    line: String,
}

impl<W: Write> Rows<W> {
    /// Writes the titles, with those of a persistence engine's columns where they are wanted. `now` is
    /// the tick that the remaining time is counted from.
    pub fn start(mut out: W, names: Names, now: u32, engine: bool) -> io::Result<Self> {
        out.write_all(b"IPVS connection entries\n")?;
        out.write_all(b"pro expire state       source             virtual            destination")?;
        out.write_all(if engine { b"        pe name          pe_data\n" } else { b"\n" })?;
        Ok(Self { out, names, now, line: String::new() })
    }

    /// Writes a row: "%-3s %-6s %-11s %-18s %-18s %s".
    pub fn write(&mut self, connection: &Connection) -> io::Result<()> {
        let protocol = connection.protocol;
        let left = left(connection, self.now);
        self.line.clear();
        self.line.push_str(name(protocol));
        self.end_column(0, 3);
        let start = self.line.len();
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{:02}:{:02}", left / 60, left % 60);
        self.end_column(start, 6);
        let start = self.line.len();
        self.line.push_str(word(connection));
        self.end_column(start, 11);
        for (address, port) in
            [(connection.client, connection.client_port), (connection.service, connection.service_port)]
        {
            let start = self.line.len();
            self.names.push(&mut self.line, endpoint(address, port), protocol);
            self.end_column(start, 18);
        }
        let backend = endpoint(connection.backend, connection.backend_port);
        self.names.push(&mut self.line, backend, protocol);
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }

    /// Fills the column that starts here to its width, and ends it with a blank.
    fn end_column(&mut self, start: usize, width: usize) {
        while self.line.len() < start + width {
            self.line.push(' ');
        }
        self.line.push(' ');
    }
}

/// Seconds until a connection ends, unless a packet comes.
pub fn left(connection: &Connection, now: u32) -> u32 {
    seconds(remaining(connection.expires, now).max(0) as u32)
}

/// An address and a port as they lie in a connection.
pub fn endpoint(address: Address, port: u16) -> Endpoint {
    Endpoint { address: address.into(), port: u16::from_be(port) }
}

/// The word for its state.
pub fn word(connection: &Connection) -> &'static str {
    match state::NAMES.get(usize::from(connection.state())) {
        Some(word) => word,
        None if !state::is_template(connection.word) => "ERR!",
        None if connection.state() & state::ASSURED != 0 => "ASSURED",
        None => "NONE",
    }
}

const fn name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::SCTP => "SCTP",
        _ => "IP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::time::ticks;
    use std::net::IpAddr;

    fn connection(protocol: u8, state: u8, left: u32, ends: [&str; 3]) -> Connection {
        let [client, service, backend] = ends.map(|text| {
            let (address, port) = text.rsplit_once(':').unwrap();
            let address: IpAddr = address.trim_matches(['[', ']']).parse().unwrap();
            (Address::from(address), port.parse::<u16>().unwrap().to_be())
        });
        Connection {
            client: client.0,
            client_port: client.1,
            service: service.0,
            service_port: service.1,
            backend: backend.0,
            backend_port: backend.1,
            protocol,
            word: 0x100 | u64::from(state),
            expires: 1000u32.wrapping_add(ticks(left)),
            ..Connection::default()
        }
    }

    #[test]
    fn as_recorded() {
        let mut out = vec![];
        let mut rows = Rows::start(&mut out, Names::new(true), 1000, false).unwrap();
        for row in [
            connection(
                protocol::TCP,
                state::TIME_WAIT,
                114,
                ["192.168.2.10:41156", "192.168.2.200:443", "192.168.33.111:443"],
            ),
            connection(
                protocol::UDP,
                state::UDP,
                299,
                ["[2001:db8::10]:30009", "[2001:db8::]:8080", "[fd00:33::111]:8080"],
            ),
            connection(protocol::TCP, state::ESTABLISHED, 892, ["10.0.0.1:5", "10.0.0.2:6", "10.0.0.3:7"]),
        ] {
            rows.write(&row).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "IPVS connection entries\n",
                "pro expire state       source             virtual            destination\n",
                "TCP 01:54  TIME_WAIT   192.168.2.10:41156 192.168.2.200:443  192.168.33.111:443\n",
                "UDP 04:59  UDP         [2001:db8::10]:30009 [2001:db8::]:8080  [fd00:33::111]:8080\n",
                "TCP 14:52  ESTABLISHED 10.0.0.1:5         10.0.0.2:6         10.0.0.3:7\n",
            )
        );
    }

    /// The floor of the speed that a listing needs: a million rows in two seconds.
    #[test]
    fn rows_are_cheap() {
        let row = connection(protocol::TCP, state::UDP, 60, ["10.0.0.1:5", "10.0.0.2:6", "10.0.0.3:7"]);
        let mut rows = Rows::start(io::sink(), Names::new(true), 1000, false).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..10_000 {
            rows.write(&row).unwrap();
        }
        // Without optimisation and on a busy machine; 20 ms is what the release build may take.
        assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
    }
}
