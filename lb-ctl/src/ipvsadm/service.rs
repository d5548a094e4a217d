//! What was typed about the service.

use super::{
    endpoint::Endpoint,
    exclusions::{Given, Part},
    failure::Failure,
    number::beginning,
};
use crate::spec::{self, Protocol, ServiceName, ipv4_host, ipv4_mask, ipv6_mask};
use lb_common::{
    address::Address,
    scheduler::{Scheduler, flags},
};

/// A service as it was typed.
#[derive(Clone, Debug)]
pub struct Service {
    /// What selects it; `None` without a selector.
    pub name: Option<ServiceName>,
    /// `-s`, not looked at yet.
    pub scheduler: String,
    /// `-b`.
    pub flags: u8,
    /// `-p`: seconds; 0 is not persistent.
    pub persistence: u32,
    /// `-M`.
    pub mask: Address,
    /// `--pe`, not looked at yet.
    pub engine: String,
    /// `-o`.
    pub one_packet: bool,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            name: None,
            scheduler: String::new(),
            flags: 0,
            persistence: 0,
            mask: Address::ALL,
            engine: String::new(),
            one_packet: false,
        }
    }
}

impl Service {
    /// Takes a selector by address.
    pub fn select(&mut self, given: &mut Given, protocol: Protocol, text: &str) -> Result<(), Failure> {
        given.note(Part::Service)?;
        let wrong = || Failure::usage("illegal virtual server address[:port] specified");
        let Endpoint { address, port } = Endpoint::parse(text, protocol).ok_or_else(wrong)?;
        let endpoint = spec::Endpoint { address, port: port.unwrap_or(0) };
        self.name = Some(ServiceName::Address { protocol, endpoint });
        if address.is_ipv6() {
            self.mask = Address::ALL;
        }
        Ok(())
    }

    /// Reads `-M`: bits for IPv4, the length of a prefix for IPv6.
    pub fn parse_mask(&self, text: &str) -> Result<Address, Failure> {
        if self.name.is_some_and(ServiceName::is_ipv6) {
            match u8::try_from(beginning(text)) {
                Ok(length @ 1..=128) => Ok(ipv6_mask(length)),
                _ => Err(Failure::usage("illegal ipv6 netmask specified")),
            }
        } else {
            let wrong = || Failure::usage("illegal virtual server persistent mask specified");
            ipv4_host(text).map(ipv4_mask).ok_or_else(wrong)
        }
    }
}

/// Reads `-b`; the scheduler is what was typed, if anything.
pub fn parse_flags(text: &str, scheduler: &str) -> Result<u8, Failure> {
    let mut all = 0;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (of, flag) = match name {
            "flag-1" => ("", flags::FALLBACK),
            "flag-2" => ("", flags::PORT),
            "flag-3" => ("", flags::THIRD),
            "sh-fallback" => (Scheduler::Sh.name(), flags::FALLBACK),
            "sh-port" => (Scheduler::Sh.name(), flags::PORT),
            "mh-fallback" => (Scheduler::Mh.name(), flags::FALLBACK),
            "mh-port" => (Scheduler::Mh.name(), flags::PORT),
            _ => return Err(Failure::usage(format!("invalid scheduler flag `{name}'"))),
        };
        if !of.is_empty() && of != scheduler {
            return Err(Failure::usage(format!("incompatible scheduler flag `{name}'")));
        }
        all |= flag;
    }
    Ok(all)
}
