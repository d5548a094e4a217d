//! Which options go with which command, and with which tunnel.

use super::{command::Command, failure::Failure};
use lb_common::tunnel::kind;

/// An option that a command may have, in the order in which ipvsadm looks at them; [`NAMES`] tells
/// what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UThreshold,
    LThreshold,
    Mcast,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    Nosort,
    Syncid,
    Exact,
    Ops,
    Pe,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

const NAMES: [(Part, &str); 34] = [
    (Part::Numeric, "numeric"),
    (Part::Connection, "connection"),
    (Part::Service, "service-address"),
    (Part::Scheduler, "scheduler"),
    (Part::Persistent, "persistent"),
    (Part::Netmask, "netmask"),
    (Part::Server, "real-server"),
    (Part::Forward, "forwarding-method"),
    (Part::Weight, "weight"),
    (Part::UThreshold, "u-threshold"),
    (Part::LThreshold, "l-threshold"),
    (Part::Mcast, "mcast-interface"),
    (Part::Timeout, "timeout"),
    (Part::Daemon, "daemon"),
    (Part::Stats, "stats"),
    (Part::Rate, "rate"),
    (Part::Thresholds, "thresholds"),
    (Part::PersistentConn, "persistent-conn"),
    (Part::Nosort, "nosort"),
    (Part::Syncid, "syncid"),
    (Part::Exact, "exact"),
    (Part::Ops, "ops"),
    (Part::Pe, "pe"),
    (Part::SchedFlags, "sched-flags"),
    (Part::McastGroup, "mcast-group"),
    (Part::McastPort, "mcast-port"),
    (Part::McastTtl, "mcast-ttl"),
    (Part::SyncMaxlen, "sync-maxlen"),
    (Part::TunInfo, "tun-info"),
    (Part::TunType, "tun-type"),
    (Part::TunPort, "tun-port"),
    (Part::TunNocsum, "tun-nocsum"),
    (Part::TunCsum, "tun-csum"),
    (Part::TunRemcsum, "tun-remcsum"),
];

/// The parts that were typed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given(u64);

impl Given {
    /// Notes a part, which must be the only one of its kind.
    pub fn note(&mut self, part: Part) -> Result<(), Failure> {
        if self.has(part) {
            return Err(Failure::usage(format!("multiple '{}' options specified", NAMES[part as usize].1)));
        }
        self.0 |= 1 << part as u64;
        Ok(())
    }

    /// Whether a part was typed.
    pub const fn has(self, part: Part) -> bool {
        self.0 & 1 << part as u64 != 0
    }

    /// Whether any of these was typed.
    pub fn any(self, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.has(*part))
    }
}

/// What goes with something; every other part is illegal.
struct Rule {
    needed: &'static [Part],
    allowed: &'static [Part],
    /// At most one of these.
    one_of: &'static [Part],
}

const NOTHING: Rule = Rule { needed: &[], allowed: &[], one_of: &[] };

const fn of_command(command: Command) -> Rule {
    use Part::*;
    match command {
        Command::AddService | Command::EditService => Rule {
            needed: &[Service],
            allowed: &[Scheduler, Persistent, Netmask, Ops, Pe, SchedFlags],
            ..NOTHING
        },
        Command::DeleteService => Rule { needed: &[Service], ..NOTHING },
        Command::List => Rule {
            allowed: &[Numeric, Stats, Rate, Thresholds, PersistentConn, Nosort, Syncid, Exact, TunInfo],
            one_of: &[Connection, Service, Timeout, Daemon],
            ..NOTHING
        },
        Command::AddServer | Command::EditServer => Rule {
            needed: &[Service, Server],
            allowed: &[
                Forward, Weight, UThreshold, LThreshold, TunType, TunPort, TunNocsum, TunCsum, TunRemcsum,
            ],
            ..NOTHING
        },
        Command::DeleteServer => Rule { needed: &[Service, Server], ..NOTHING },
        Command::StartDaemon(_) => {
            Rule { allowed: &[Mcast, Syncid, McastGroup, McastPort, McastTtl, SyncMaxlen], ..NOTHING }
        }
        Command::StopDaemon(_) => Rule { allowed: &[Syncid], ..NOTHING },
        Command::Save => Rule { allowed: &[Numeric], ..NOTHING },
        Command::Zero => Rule { allowed: &[Service], ..NOTHING },
        Command::Clear | Command::Set | Command::Restore => NOTHING,
    }
}

/// The parts that belong to one kind of tunnel or another.
const OF_TUNNELS: [Part; 4] = [Part::TunPort, Part::TunNocsum, Part::TunCsum, Part::TunRemcsum];

const fn of_tunnel(number: u8) -> (&'static str, Rule) {
    use Part::*;
    match number {
        kind::GUE => {
            ("gue", Rule { needed: &[TunPort], one_of: &[TunNocsum, TunCsum, TunRemcsum], ..NOTHING })
        }
        kind::GRE => ("gre", Rule { one_of: &[TunNocsum, TunCsum], ..NOTHING }),
        _ => ("ipip", NOTHING),
    }
}

/// Refuses what a command needs or cannot have (`generic_opt_check`).
pub fn check_command(command: Command, given: Given) -> Result<(), Failure> {
    let of = format!("'{}' command", command.name());
    check(of_command(command), given, NAMES.iter().map(|(part, _)| *part), &of)
}

/// Refuses what a tunnel needs or cannot have (`tunnel_opt_check`).
pub fn check_tunnel(number: u8, given: Given) -> Result<(), Failure> {
    let (name, rule) = of_tunnel(number);
    check(rule, given, OF_TUNNELS.into_iter(), &format!("'{name}' tunnel type"))
}

fn check(rule: Rule, given: Given, parts: impl Iterator<Item = Part>, of: &str) -> Result<(), Failure> {
    let mut first = None;
    for part in parts {
        let name = NAMES[part as usize].1;
        if !given.has(part) {
            if rule.needed.contains(&part) {
                return Err(Failure::usage(format!("You need to supply the '{name}' option for the {of}")));
            }
        } else if rule.one_of.contains(&part) {
            match first {
                None => first = Some(name),
                Some(first) => {
                    return Err(Failure::usage(format!(
                        "The option '{name}' conflicts with the '{first}' option in the {of}"
                    )));
                }
            }
        } else if !rule.needed.contains(&part) && !rule.allowed.contains(&part) {
            return Err(Failure::usage(format!("Illegal '{name}' option with the {of}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions() {
        for (number, (part, _)) in NAMES.iter().enumerate() {
            assert_eq!(*part as usize, number);
        }
    }

    fn text(command: Command, parts: &[Part]) -> String {
        let mut given = Given::default();
        for part in parts {
            given.note(*part).unwrap();
        }
        check_command(command, given).err().map_or(String::new(), |failure| failure.text)
    }

    #[test]
    fn as_recorded() {
        use Part::*;
        for (command, parts, expected) in [
            (
                Command::AddService,
                &[][..],
                "You need to supply the 'service-address' option for the 'add-service' command",
            ),
            (
                Command::AddServer,
                &[Service, Forward],
                "You need to supply the 'real-server' option for the 'add-server' command",
            ),
            (
                Command::AddService,
                &[Service, Forward],
                "Illegal 'forwarding-method' option with the 'add-service' command",
            ),
            (
                Command::List,
                &[Timeout, Daemon],
                "The option 'daemon' conflicts with the 'timeout' option in the 'list' command",
            ),
            (
                Command::List,
                &[Connection, Service],
                "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
            ),
            (Command::Clear, &[Service], "Illegal 'service-address' option with the 'flush' command"),
            (Command::List, &[Numeric, Stats, Rate, Service], ""),
        ] {
            assert_eq!(text(command, parts), expected);
        }
        let mut given = Given::default();
        assert_eq!(
            check_tunnel(kind::GUE, given).unwrap_err().text,
            "You need to supply the 'tun-port' option for the 'gue' tunnel type"
        );
        given.note(TunPort).unwrap();
        assert_eq!(
            check_tunnel(kind::GRE, given).unwrap_err().text,
            "Illegal 'tun-port' option with the 'gre' tunnel type"
        );
        assert_eq!(given.note(TunPort).unwrap_err().text, "multiple 'tun-port' options specified");
    }
}
