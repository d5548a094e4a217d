//! The command line: one variant and one line of `run` per command.

use crate::command;
use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};
use std::{
    error::Error,
    fmt::{self, Write as _},
    process::ExitCode,
};

const EXAMPLE: &str = "\
Example:
  lb-ctl load eth0 eth1
  lb-ctl service add -t 192.168.2.200:80 -s wlc
  lb-ctl backend add -t 192.168.2.200:80 -r 192.168.33.111:80 -m
  lb-ctl list";

/// A layer-4 load balancer: IPVS's behaviour and commands, at XDP speed.
#[derive(Debug, Parser)]
#[command(name = "lb-ctl", version, arg_required_else_help = true, after_help = EXAMPLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(command::load::Args),
    Unload(command::unload::Args),
    Status(command::status::Args),
    Upgrade(command::upgrade::Args),
    Service(command::service::Args),
    Backend(command::backend::Args),
    Mark(command::mark::Args),
    SnatPool(command::snat_pool::Args),
    List(command::list::Args),
    Set(command::set::Args),
    Sysctl(command::sysctl::Args),
    Zero(command::zero::Args),
    Clear(command::clear::Args),
    Save(command::save::Args),
    Restore(command::restore::Args),
    Check(command::check::Args),
    Diff(command::diff::Args),
    Apply(command::apply::Args),
    Export(command::export::Args),
    Rollback(command::rollback::Args),
    History(command::history::Args),
    Counters(command::counters::Args),
    Trace(command::trace::Args),
    Ipvsadm(command::ipvsadm::Args),
    ImportIpvs(command::import_ipvs::Args),
    Completions(command::completions::Args),
    Man(command::man::Args),
}

impl Cli {
    /// Runs the command that was given. Two commands have exit codes of their own; ipvsadm's command line is
    /// seen by `main` first.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Ipvsadm(args) => return Ok(args.run()),
            Command::Diff(args) => return args.run(),
            Command::Load(args) => args.run(),
            Command::Unload(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Upgrade(args) => args.run(),
            Command::Service(args) => args.run(),
            Command::Backend(args) => args.run(),
            Command::Mark(args) => args.run(),
            Command::SnatPool(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Set(args) => args.run(),
            Command::Sysctl(args) => args.run(),
            Command::Zero(args) => args.run(),
            Command::Clear(args) => args.run(),
            Command::Save(args) => args.run(),
            Command::Restore(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Apply(args) => args.run(),
            Command::Export(args) => args.run(),
            Command::Rollback(args) => args.run(),
            Command::History(args) => args.run(),
            Command::Counters(args) => args.run(),
            Command::Trace(args) => args.run(),
            Command::ImportIpvs(args) => args.run(),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The whole command line, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What clap says in paragraphs, as one line; nothing for what is no mistake: help, version.
pub fn in_one_line(error: &clap::Error) -> Option<String> {
    let is_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help || !error.use_stderr() {
        return None;
    }
    let text = error.to_string();
    let paragraphs = text.trim_end().split("\n\n").filter(|part| !part.starts_with("For more information"));
    let lines = paragraphs.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = lines.collect::<Vec<_>>().join("; ").replace("; Usage: ", "; usage: ");
    Some(Usage(line.strip_prefix("error: ").unwrap_or(&line).to_owned()).to_string())
}

/// How many letters are shown of the beginning and of the end of a message that quotes a long value.
const SHOWN: usize = 500;

/// An error in what was typed: exit code 2. Everything else is a matter of state: exit code 1.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.chars().count();
        for (number, letter) in self.0.chars().enumerate() {
            if (SHOWN..count.saturating_sub(SHOWN)).contains(&number) {
                if number == SHOWN {
                    f.write_str(" … ")?;
                }
            } else if letter.is_control() {
                // A file may hold what a terminal obeys.
                write!(f, "{}", letter.escape_debug())?;
            } else {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl Error for Usage {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_one_line_and_help_is_not() {
        let line = |words: &str| {
            let error = Cli::try_parse_from(words.split(' ')).unwrap_err();
            in_one_line(&error)
        };
        assert_eq!(
            line("lb-ctl load").unwrap(),
            "the following required arguments were not provided: <IFACE>...; usage: lb-ctl load <IFACE>..."
        );
        assert_eq!(
            line("lb-ctl lits").unwrap(),
            "unrecognized subcommand 'lits'; tip: a similar subcommand exists: 'list'; usage: lb-ctl <COMMAND>"
        );
        assert!(line("lb-ctl list --sort-by size").unwrap().ends_with("outbytes]"));
        assert!(
            ["lb-ctl", "lb-ctl mark", "lb-ctl load --help", "lb-ctl --version"]
                .map(line)
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn every_help_has_an_example() {
        let mut waiting = vec![(String::new(), command())];
        while let Some((path, command)) = waiting.pop() {
            let path = format!("{path}{} ", command.get_name());
            let shown = command.clone().render_long_help().to_string();
            assert!(command.is_hide_set() || shown.contains("\nExample"), "{path}");
            let below = command.get_subcommands().filter(|below| below.get_name() != "help");
            waiting.extend(below.map(|below| (path.clone(), below.clone())));
        }
    }

    #[test]
    fn what_a_message_quotes_is_one_short_line() {
        assert_eq!(Usage("a:1:2: '\x1b[2J\n' is no ü".into()).to_string(), "a:1:2: '\\u{1b}[2J\\n' is no ü");
        let long = Usage(format!("'{}' is no address", "1".repeat(5_000_000))).to_string();
        assert!(
            long.len() < 1_100 && long.starts_with("'11") && long.ends_with("1' is no address"),
            "{long}"
        );
    }
}
