//! Command lines as ipvsadm's library popt reads them, its messages included: options may be
//! bundled (`-Lnc`), an argument may follow at once, behind `=` or as the next word, and words that
//! are no options may stand anywhere.

use Argument::{None as Nothing, Optional, Required};

/// An option that the command line knows; [`KNOWN`] tells how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    Zero,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    Help,
    Version,
    Restore,
    Save,
    StartDaemon,
    StopDaemon,
    TcpService,
    UdpService,
    SctpService,
    FwmarkService,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Masquerading,
    Ipip,
    Gatewaying,
    Weight,
    UThreshold,
    LThreshold,
    Numeric,
    Connection,
    McastInterface,
    Syncid,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    Nosort,
    Sort,
    Exact,
    Ipv6,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    None,
    Required,
    /// The next word is it, unless that begins with a dash.
    Optional,
}

/// Every option: its name, its letter, and whether an argument follows.
const KNOWN: [(Name, &str, Option<char>, Argument); 58] = [
    (Name::AddService, "add-service", Some('A'), Nothing),
    (Name::EditService, "edit-service", Some('E'), Nothing),
    (Name::DeleteService, "delete-service", Some('D'), Nothing),
    (Name::Clear, "clear", Some('C'), Nothing),
    (Name::List, "list", Some('L'), Nothing),
    (Name::List, "list", Some('l'), Nothing),
    (Name::Zero, "zero", Some('Z'), Nothing),
    (Name::AddServer, "add-server", Some('a'), Nothing),
    (Name::EditServer, "edit-server", Some('e'), Nothing),
    (Name::DeleteServer, "delete-server", Some('d'), Nothing),
    (Name::Set, "set", None, Nothing),
    (Name::Help, "help", Some('h'), Nothing),
    (Name::Version, "version", Some('v'), Nothing),
    (Name::Restore, "restore", Some('R'), Nothing),
    (Name::Save, "save", Some('S'), Nothing),
    (Name::StartDaemon, "start-daemon", None, Required),
    (Name::StopDaemon, "stop-daemon", None, Required),
    (Name::TcpService, "tcp-service", Some('t'), Required),
    (Name::UdpService, "udp-service", Some('u'), Required),
    (Name::SctpService, "sctp-service", None, Required),
    (Name::FwmarkService, "fwmark-service", Some('f'), Required),
    (Name::Scheduler, "scheduler", Some('s'), Required),
    (Name::Persistent, "persistent", Some('p'), Optional),
    (Name::Netmask, "netmask", Some('M'), Required),
    (Name::RealServer, "real-server", Some('r'), Required),
    (Name::Masquerading, "masquerading", Some('m'), Nothing),
    (Name::Ipip, "ipip", Some('i'), Nothing),
    (Name::Gatewaying, "gatewaying", Some('g'), Nothing),
    (Name::Weight, "weight", Some('w'), Required),
    (Name::UThreshold, "u-threshold", Some('x'), Required),
    (Name::LThreshold, "l-threshold", Some('y'), Required),
    (Name::Numeric, "numeric", Some('n'), Nothing),
    (Name::Connection, "connection", Some('c'), Nothing),
    (Name::McastInterface, "mcast-interface", None, Required),
    (Name::Syncid, "syncid", None, Required),
    (Name::Timeout, "timeout", None, Nothing),
    (Name::Daemon, "daemon", None, Nothing),
    (Name::Stats, "stats", None, Nothing),
    (Name::Rate, "rate", None, Nothing),
    (Name::Thresholds, "thresholds", None, Nothing),
    (Name::PersistentConn, "persistent-conn", None, Nothing),
    (Name::Nosort, "nosort", None, Nothing),
    (Name::Sort, "sort", None, Nothing),
    (Name::Exact, "exact", Some('X'), Nothing),
    (Name::Ipv6, "ipv6", Some('6'), Nothing),
    (Name::Ops, "ops", Some('o'), Nothing),
    (Name::Pe, "pe", None, Required),
    (Name::SchedFlags, "sched-flags", Some('b'), Required),
    (Name::McastGroup, "mcast-group", None, Required),
    (Name::McastPort, "mcast-port", None, Required),
    (Name::McastTtl, "mcast-ttl", None, Required),
    (Name::SyncMaxlen, "sync-maxlen", None, Required),
    (Name::TunInfo, "tun-info", None, Nothing),
    (Name::TunType, "tun-type", None, Required),
    (Name::TunPort, "tun-port", None, Required),
    (Name::TunNocsum, "tun-nocsum", None, Nothing),
    (Name::TunCsum, "tun-csum", None, Nothing),
    (Name::TunRemcsum, "tun-remcsum", None, Nothing),
];

/// Reads a command line word by word.
#[derive(Debug)]
pub struct Arguments<'a> {
    words: &'a [String],
    next: usize,
    /// What is left of a bundle of letters.
    bundle: &'a str,
    /// Behind `--`: only words.
    only_words: bool,
    others: Vec<(usize, &'a str)>,
}

impl<'a> Arguments<'a> {
    /// Reads these words; the program's name is not among them.
    pub fn new(words: &'a [String]) -> Self {
        Self { words, next: 0, bundle: "", only_words: false, others: vec![] }
    }

    /// The next option and its argument; `None` at the end. An error is popt's text.
    pub fn option(&mut self) -> Result<Option<(Name, Option<&'a str>)>, &'static str> {
        while self.bundle.is_empty() {
            let Some(word) = self.words.get(self.next) else { return Ok(None) };
            self.next += 1;
            if self.only_words || !word.starts_with('-') || word == "-" {
                self.others.push((self.position(), word));
            } else if word == "--" {
                self.only_words = true;
            } else if let Some(long) = word.strip_prefix("--") {
                let (long, value) = match long.split_once('=') {
                    Some((long, value)) => (long, Some(value)),
                    None => (long, None),
                };
                let known = KNOWN.iter().find(|(_, name, ..)| *name == long);
                let (name, .., argument) = known.ok_or("unknown option")?;
                return match argument {
                    Nothing if value.is_some() => Err("option does not take an argument"),
                    Nothing => Ok(Some((*name, None))),
                    _ if value.is_some() => Ok(Some((*name, value))),
                    argument => Ok(Some((*name, self.argument(*argument)?))),
                };
            } else {
                self.bundle = &word[1..];
            }
        }
        self.letter().map(Some)
    }

    /// Takes a letter from the bundle.
    fn letter(&mut self) -> Result<(Name, Option<&'a str>), &'static str> {
        let mut letters = self.bundle.chars();
        let letter = letters.next();
        let rest = letters.as_str();
        self.bundle = "";
        let known = KNOWN.iter().find(|(.., known, _)| *known == letter);
        let (name, .., argument) = known.ok_or("unknown option")?;
        match argument {
            Nothing if rest.starts_with('=') => Err("option does not take an argument"),
            Nothing => {
                self.bundle = rest;
                Ok((*name, None))
            }
            argument if rest.is_empty() => Ok((*name, self.argument(*argument)?)),
            _ => Ok((*name, Some(rest.strip_prefix('=').unwrap_or(rest)))),
        }
    }

    fn argument(&mut self, argument: Argument) -> Result<Option<&'a str>, &'static str> {
        match self.words.get(self.next) {
            None if argument == Optional => Ok(None),
            None => Err("missing argument"),
            Some(word) if argument == Optional && word.starts_with('-') => Ok(None),
            Some(word) => {
                self.next += 1;
                Ok(Some(word))
            }
        }
    }

    /// The number of the word that was read last, from 0.
    pub fn position(&self) -> usize {
        self.next.saturating_sub(1)
    }

    /// The word that was read last.
    pub fn last(&self) -> &'a str {
        self.words.get(self.position()).map_or("", String::as_str)
    }

    /// What was no option, when all are read, each with its number.
    pub fn others(self) -> Vec<(usize, &'a str)> {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every option with its argument, then what was no option or why it ended, and where.
    fn read(line: &str) -> (Vec<(Name, Option<String>)>, String) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let mut arguments = Arguments::new(&words);
        let mut options = vec![];
        loop {
            match arguments.option() {
                Ok(Some((name, argument))) => options.push((name, argument.map(str::to_owned))),
                Ok(None) => {
                    let others: Vec<_> = arguments.others().into_iter().map(|(_, word)| word).collect();
                    return (options, others.join(" "));
                }
                Err(text) => return (options, format!("{}: {text}", arguments.last())),
            }
        }
    }

    fn names(line: &str) -> Vec<Name> {
        read(line).0.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn letters_are_bundled() {
        assert_eq!(names("-Lnc"), [Name::List, Name::Numeric, Name::Connection]);
        let (options, _) = read("-At10.0.0.1:80 -p300 -w=5 --weight=6 --weight 7");
        let arguments: Vec<_> = options.into_iter().filter_map(|(_, argument)| argument).collect();
        assert_eq!(arguments, ["10.0.0.1:80", "300", "5", "6", "7"]);
    }

    #[test]
    fn an_optional_argument_never_begins_with_a_dash() {
        assert_eq!(read("-p -M 24").0[0], (Name::Persistent, None));
        assert_eq!(read("-p 300").0[0], (Name::Persistent, Some("300".to_owned())));
        assert_eq!(read("--persistent=300").0[0], (Name::Persistent, Some("300".to_owned())));
        assert_eq!(read("-p").0[0], (Name::Persistent, None));
        assert_eq!(read("-w -1").0[0], (Name::Weight, Some("-1".to_owned())), "a required one may");
    }

    #[test]
    fn errors_name_the_whole_word() {
        for (line, end) in [
            ("-A -t", "-t: missing argument"),
            ("-A -p -5", "-5: unknown option"),
            ("-Lnq", "-Lnq: unknown option"),
            ("-L --nosuch=1", "--nosuch=1: unknown option"),
            ("-L --numeric=1", "--numeric=1: option does not take an argument"),
            ("-Ln=1", "-Ln=1: option does not take an argument"),
            ("-L --numer", "--numer: unknown option"),
        ] {
            assert_eq!(read(line).1, end);
        }
    }

    #[test]
    fn words_may_stand_anywhere() {
        assert_eq!(read("one -L two - -- -n").1, "one two - -n");
    }
}
