//! The options of a service that say which connections belong together.

use crate::{
    spec::{Protocol, ServiceName, ipv4_mask, ipv6_mask, parse_engine, parse_number, usage},
    store::Schedule,
};
use anyhow::Result;
use lb_common::{
    address::Address,
    service::{Service, engine, flags},
};

/// 31 days, the most that ipvsadm takes.
const MOST: u32 = 31 * 86_400;

/// Persistence and one-packet scheduling.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Persistent: a client's connections go to one backend until it has opened none for so many
    /// seconds [without SECONDS: 360]; 0 is not persistent
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "360",
          allow_negative_numbers = true)]
    persistent: Option<String>,
    /// Which clients are one: a mask such as 255.255.255.0, for IPv6 a prefix length [default: each its own]
    #[arg(short = 'M', long, value_name = "MASK")]
    netmask: Option<String>,
    /// Persistence engine: sip (by Call-ID, UDP), none [default: none]
    #[arg(long, value_name = "NAME")]
    pe: Option<String>,
    /// One-packet scheduling: each datagram goes where the scheduler says, and leaves no connection
    #[arg(short, long, conflicts_with = "no_ops")]
    ops: bool,
    /// No one-packet scheduling
    #[arg(long)]
    no_ops: bool,
}

impl Options {
    /// What is asked for, added to the rest.
    pub fn add_to(&self, schedule: Schedule, name: ServiceName) -> Result<Schedule> {
        let seconds = |text: &String| parse_number("-p", text, MOST);
        Ok(Schedule {
            persistence: self.persistent.as_ref().map(seconds).transpose()?,
            mask: self.netmask.as_deref().map(|text| parse_mask(text, name)).transpose()?,
            engine: self.pe.as_deref().map(engine_of).transpose()?,
            one_packet: (self.ops || self.no_ops).then_some(self.ops),
            ..schedule
        })
    }

    /// Refuses a service that cannot be meant; `record` is what it would become.
    pub fn check(&self, record: &Service, name: ServiceName) -> Result<()> {
        let is_udp = [Some(Protocol::Udp), None].contains(&name.protocol());
        let options = name.options();
        if record.persistence == 0 {
            if name.port() == 0 && name.protocol().is_some() {
                usage!("{name}: a service on port 0, which is every port, must be persistent; add -p");
            }
            if let Some(mask) = &self.netmask {
                usage!("-M {mask} is for persistent services; add -p");
            }
            if record.engine != engine::NONE {
                usage!("--pe is for persistent services; add -p, or write --pe none");
            }
        }
        if record.engine == engine::SIP && !is_udp {
            usage!("--pe sip with {options}: a Call-ID is found in UDP only; write -u");
        }
        if record.flags & flags::ONE_PACKET != 0 && !is_udp {
            usage!("-o with {options}: only datagrams are scheduled one by one; write -u");
        }
        Ok(())
    }
}

fn parse_mask(text: &str, name: ServiceName) -> Result<Address> {
    if name.is_ipv6() {
        return match text.parse() {
            Ok(length @ 1..=128) => Ok(ipv6_mask(length)),
            _ => usage!("-M {text}: for IPv6 this is the length of a prefix; write 1 to 128"),
        };
    }
    match text.parse() {
        Ok(bits) => Ok(ipv4_mask(bits)),
        Err(_) => usage!("-M {text} is no mask; write 255.255.255.0"),
    }
}

fn engine_of(text: &str) -> Result<u8> {
    if text == "none" { Ok(engine::NONE) } else { parse_engine(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::service::tests::parse;

    /// What `add` makes of these options, or the error.
    fn added(typed: &str) -> Result<Service> {
        let (name, options) = parse(typed);
        let new = Service { mask: Address::ALL, ..Service::default() };
        let record = options.add_to(Schedule::default(), name)?.applied_to(new);
        options.check(&record, name).map(|()| record)
    }

    #[test]
    fn what_is_typed_is_what_is_meant() {
        assert_eq!(added("-t 10.0.0.1:80 -p").unwrap().persistence, 360);
        assert_eq!(added("-t 10.0.0.1:80 -p -M 255.0.0.0").unwrap().persistence, 360);
        assert_eq!(added("-t 10.0.0.1:0 -p 60").unwrap().persistence, 60);
        let mask = added("-t 10.0.0.1:80 -p 60 -M 255.255.255.0").unwrap().mask;
        assert_eq!(mask, ipv4_mask([255, 255, 255, 0].into()));
        assert_eq!(added("-t [fd00::1]:80 -p 60 -M 64").unwrap().mask, ipv6_mask(64));
        assert_eq!(added("-u 10.0.0.1:53 -o").unwrap().flags, flags::ONE_PACKET);
        assert_eq!(added("-u 10.0.0.1:5060 -p 60 --pe sip").unwrap().engine, engine::SIP);
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_fix() {
        for (typed, part) in [
            ("-t 10.0.0.1:0", "add -p"),
            ("-t 10.0.0.1:80 -M 255.255.255.0", "-M 255.255.255.0"),
            ("-t 10.0.0.1:80 -p 2678401", "2678401"),
            ("-t 10.0.0.1:80 -p -5", "-5"),
            ("-t 10.0.0.1:80 -p 60 -M 24", "-M 24"),
            ("-t [fd00::1]:80 -p 60 -M 255.0.0.0", "-M 255.0.0.0"),
            ("-t 10.0.0.1:80 -o", "write -u"),
            ("-u 10.0.0.1:5060 --pe sip", "add -p"),
            ("-t 10.0.0.1:5060 -p 60 --pe sip", "write -u"),
            ("-u 10.0.0.1:5060 -p 60 --pe h323", "h323"),
        ] {
            let message = added(typed).unwrap_err().to_string();
            assert!(message.contains(part), "{typed}: {message}");
        }
    }
}
