//! Files of `ipvsadm -S`, as Debian and Red Hat keep them, as a configuration.

use super::{
    arguments::{Arguments, Name},
    change,
    command::Command,
    exclusions::Part,
    failure::{Failure, refusal},
    line::Line,
    request::Request,
    restore::placed_words,
};
use crate::{
    configuration::{Backend, Configuration, Source},
    store::Change,
};
use anyhow::Result;
use lb_common::{scheduler::Scheduler, service::ServiceKey};
use std::{collections::HashMap, net::IpAddr};

/// What a file describes, from its first line to its last: no service or backend that it does not name stays.
/// The lines are tried on a change that is never made, so that they are refused where ipvsadm would refuse
/// them.
pub fn configuration(source: &Source) -> Result<Configuration> {
    let mut change = Change::begin()?;
    let thresholds = Thresholds::of(&Configuration::of_change(&change));
    change.clear()?;
    for (number, line) in (1..).zip(source.text().lines()) {
        let (columns, words): (Vec<_>, Vec<_>) =
            placed_words(line).map(|(column, word)| (column, word.to_owned())).unzip();
        if words.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        run(&mut change, &thresholds, &words).map_err(|failure| {
            let column = columns.get(failure.word.unwrap_or(0)).unwrap_or(&1);
            source.fault(number, *column, failure.text.lines().next().unwrap_or("this line cannot be read"))
        })?;
    }
    if !source.text().ends_with('\n') {
        let last = source.text().lines().next_back().unwrap_or("");
        let place = (source.text().lines().count(), last.chars().count() + 1);
        return Err(source.fault(place.0, place.1, "the file was cut off: its last line does not end"));
    }
    Ok(Configuration::of_change(&change))
}

fn run(change: &mut Change, thresholds: &Thresholds, words: &[String]) -> Result<(), Failure> {
    let Line::Request(mut request) = Line::read("ipvsadm", words)? else {
        return Err(Failure::refused("this is no command of a saved file"));
    };
    if matches!(request.command, Command::List | Command::Save | Command::Restore | Command::Zero) {
        let text = format!("'{}' is no command of a saved file", request.command.name());
        return Err(Failure::refused(text));
    }
    thresholds.keep(&mut request);
    change::run(change, &request).map_err(|failure| match blamed(words, &failure.text) {
        Some(word) => failure.at(word),
        None => failure,
    })
}

/// The word that the kernel would refuse a line for.
fn blamed(words: &[String], text: &str) -> Option<usize> {
    let is_to_blame = |name, argument: &str| match text {
        refusal::SERVICE_EXISTS | refusal::NO_SERVICE | refusal::SERVICE_UNDEFINED => {
            matches!(name, Name::TcpService | Name::UdpService | Name::SctpService | Name::FwmarkService)
        }
        refusal::SERVER_EXISTS | refusal::NO_SERVER | refusal::INVALID => name == Name::RealServer,
        refusal::UNKNOWN_SCHEDULER => {
            name == Name::Pe || name == Name::Scheduler && Scheduler::from_name(argument).is_none()
        }
        refusal::OUT_OF_RANGE => name == Name::LThreshold,
        _ => false,
    };
    let mut arguments = Arguments::new(words);
    while let Ok(Some((name, argument))) = arguments.option() {
        if is_to_blame(name, argument.unwrap_or_default()) {
            return Some(arguments.position());
        }
    }
    None
}

/// The thresholds that backends have, by service and backend. `ipvsadm -S` does not write them, so that a file
/// without them says nothing about them.
struct Thresholds(HashMap<(ServiceKey, IpAddr, u16), (u32, u32)>);

impl Thresholds {
    fn of(configuration: &Configuration) -> Self {
        let mut all = HashMap::new();
        for service in &configuration.services {
            for Backend { endpoint, settings } in &service.backends {
                let thresholds = (settings.upper.unwrap_or(0), settings.lower.unwrap_or(0));
                all.insert((service.name.key(), endpoint.address, endpoint.port), thresholds);
            }
        }
        Self(all)
    }

    /// Gives a server that the file adds what it had.
    fn keep(&self, request: &mut Request) {
        let Request { command: Command::AddServer, given, service, server, .. } = request else { return };
        if let Some(name) = service.name
            && !given.any(&[Part::UThreshold, Part::LThreshold])
            && let Some(thresholds) = self.0.get(&(name.key(), server.address, server.port))
        {
            (server.upper, server.lower) = *thresholds;
        }
    }
}
