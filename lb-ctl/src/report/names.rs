//! Addresses and ports as text, with names where they are wanted.

use crate::spec::{Endpoint, Numeric, host_name, port_name};
use std::{collections::HashMap, fmt::Write as _, net::IpAddr};

/// Turns endpoints into text. Every name is asked for once.
#[derive(Debug)]
pub struct Names {
    numeric: bool,
    hosts: HashMap<IpAddr, Option<String>>,
    ports: HashMap<(u16, u8), Option<String>>,
}

/// The longest text with names: ipvsadm's buffer.
const LONGEST: usize = 59;

impl Names {
    /// Numbers only, or names where there are any.
    pub fn new(numeric: bool) -> Self {
        Self { numeric, hosts: HashMap::new(), ports: HashMap::new() }
    }

    /// Appends an endpoint.
    pub fn push(&mut self, text: &mut String, endpoint: Endpoint, protocol: u8) {
        if self.numeric {
            // Writing to a String cannot fail.
            let _ = write!(text, "{endpoint}");
            return;
        }
        let Endpoint { address, port } = endpoint;
        let host = self.hosts.entry(address).or_insert_with(|| host_name(address));
        let service = self.ports.entry((port, protocol)).or_insert_with(|| port_name(port, protocol));
        let start = text.len();
        let number = Numeric(address);
        let host: &dyn std::fmt::Display = if let Some(host) = host { host } else { &number };
        let service: &dyn std::fmt::Display = if let Some(service) = service { service } else { &port };
        let _ = match address {
            IpAddr::V4(_) => write!(text, "{host}:{service}"),
            IpAddr::V6(_) => write!(text, "[{host}]:{service}"),
        };
        cut(text, start + LONGEST);
    }

    /// An endpoint; an IPv4 one is cut to the width of its column.
    pub fn cut(&mut self, endpoint: Endpoint, protocol: u8, width: usize) -> String {
        let mut text = String::new();
        self.push(&mut text, endpoint, protocol);
        if endpoint.address.is_ipv4() {
            cut(&mut text, width);
        }
        text
    }
}

fn cut(text: &mut String, length: usize) {
    text.truncate(text.floor_char_boundary(length));
}
