//! A command line, from its words to what it asks for.

use super::{
    arguments::{Arguments, Name},
    command::{Command, Daemon},
    exclusions::{self, Part},
    failure::Failure,
    request::{Request, timeout},
    service::parse_flags,
};
use crate::store::Timeouts;

/// A command line, read.
#[derive(Clone, Debug)]
pub enum Line {
    /// `-h`.
    Help,
    /// `-v`.
    Version,
    /// Anything else.
    Request(Box<Request>),
}

impl Line {
    /// Reads the words behind the program's name.
    pub fn read(program: &str, words: &[String]) -> Result<Self, Failure> {
        let mut arguments = Arguments::new(words);
        let command = match arguments.option() {
            Ok(Some((Name::Help, _))) => return Ok(Self::Help),
            Ok(Some((Name::Version, _))) => return Ok(Self::Version),
            Ok(Some((name, argument))) => command(program, name, argument.unwrap_or_default())?,
            _ => return Err(Failure::try_help(program)),
        };
        let mut request = Request::new(command);
        let (mut scheduler_flags, mut flags_at) = ("", 0);
        loop {
            match arguments.option() {
                Ok(Some((Name::SchedFlags, argument))) => {
                    flags_at = arguments.position();
                    request.given.note(Part::SchedFlags).map_err(|failure| failure.at(flags_at))?;
                    scheduler_flags = argument.unwrap_or_default();
                }
                Ok(Some((name, argument))) => {
                    let taken = request.take(name, argument, arguments.last());
                    taken.map_err(|failure| failure.at(arguments.position()))?;
                }
                Ok(None) => break,
                Err(text) => {
                    let text = format!("{}: {text}", arguments.last());
                    return Err(Failure::misread(text).at(arguments.position()));
                }
            }
        }
        let mut others = arguments.others().into_iter();
        if command == Command::Set {
            let (Some(tcp), Some(tcpfin), Some(udp)) = (others.next(), others.next(), others.next()) else {
                return Err(Failure::usage("--set option requires 3 timeout values"));
            };
            let seconds = |(at, text)| timeout(text, 0).map_err(|failure| failure.at(at));
            request.timeouts = Timeouts { tcp: seconds(tcp)?, tcpfin: seconds(tcpfin)?, udp: seconds(udp)? };
        }
        if let Some((at, other)) = others.next() {
            return Err(Failure::usage(format!("unexpected argument {other}")).at(at));
        }
        let flags = parse_flags(scheduler_flags, &request.service.scheduler);
        request.service.flags = flags.map_err(|failure| failure.at(flags_at))?;
        exclusions::check_command(command, request.given)?;
        request.check()?;
        Ok(Self::Request(Box::new(request)))
    }
}

/// The command that the first option names.
fn command(program: &str, name: Name, argument: &str) -> Result<Command, Failure> {
    let daemon = |wrong| match argument {
        "master" => Ok(Daemon::Master),
        "backup" => Ok(Daemon::Backup),
        _ => Err(Failure::usage(wrong)),
    };
    Ok(match name {
        Name::AddService => Command::AddService,
        Name::EditService => Command::EditService,
        Name::DeleteService => Command::DeleteService,
        Name::AddServer => Command::AddServer,
        Name::EditServer => Command::EditServer,
        Name::DeleteServer => Command::DeleteServer,
        Name::Clear => Command::Clear,
        Name::List => Command::List,
        Name::Zero => Command::Zero,
        Name::Set => Command::Set,
        Name::Restore => Command::Restore,
        Name::Save => Command::Save,
        Name::StartDaemon => Command::StartDaemon(daemon("illegal start-daemon parameter specified")?),
        Name::StopDaemon => Command::StopDaemon(daemon("illegal start_daemon specified")?),
        _ => return Err(Failure::try_help(program)),
    })
}
