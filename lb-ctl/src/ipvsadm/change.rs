//! Commands that change something, refused where the kernel would refuse them, in its order.

use super::{
    command::Command,
    failure::{Failure, refusal},
    request::Request,
    server::Server,
    service::Service,
};
use crate::{
    spec::{ServiceName, is_unicast, parse_engine},
    store::{Change, MemberSettings, Schedule},
};
use lb_common::{
    scheduler::Scheduler,
    service::{ServiceKey, engine},
};

/// Does what is asked for.
pub fn run(change: &mut Change, request: &Request) -> Result<(), Failure> {
    let Request { command, service, server, .. } = request;
    match (command, service.name) {
        (Command::Clear, _) => Ok(change.clear()?),
        (Command::Set, _) => {
            change.set_timeouts(request.timeouts);
            Ok(())
        }
        (Command::Zero, name) => zero(change, name),
        (Command::AddService, Some(name)) => add_service(change, name, service),
        (Command::EditService, Some(name)) => edit_service(change, name, service),
        (Command::DeleteService, Some(name)) => {
            known(change, name, refusal::NO_SERVICE)?;
            Ok(change.remove_service(&name.key())?)
        }
        (Command::AddServer, Some(name)) => add_server(change, name, server),
        (Command::EditServer, Some(name)) => edit_server(change, name, server),
        (Command::DeleteServer, Some(name)) => {
            let key = known(change, name, refusal::SERVICE_UNDEFINED)?;
            let position = position(change, &key, server)?;
            Ok(change.remove_backend(&key, position)?)
        }
        // There is no daemon to end; why none is started, docs/ipvsadm.md tells.
        (Command::StopDaemon(_), _) => Err(Failure::refused(refusal::NO_DAEMON)),
        (Command::StartDaemon(_), _) => Err(Failure::refused(
            "there is no sync daemon: connections are not told to other balancers; see docs/ipvsadm.md",
        )),
        // What has no service was refused, and the others change nothing.
        _ => Err(Failure::refused(refusal::INVALID)),
    }
}

fn known(change: &Change, name: ServiceName, otherwise: &str) -> Result<ServiceKey, Failure> {
    let key = name.key();
    change.version(&key).map(|_| key).ok_or_else(|| Failure::refused(otherwise))
}

fn add_service(change: &mut Change, name: ServiceName, service: &Service) -> Result<(), Failure> {
    if change.version(&name.key()).is_some() {
        return Err(Failure::refused(refusal::SERVICE_EXISTS));
    }
    let schedule = service.schedule()?;
    Ok(change.add_service(name.key(), schedule)?)
}

fn edit_service(change: &mut Change, name: ServiceName, service: &Service) -> Result<(), Failure> {
    let key = known(change, name, refusal::NO_SERVICE)?;
    let schedule = service.schedule()?;
    Ok(change.edit_service(&key, schedule)?)
}

impl Service {
    /// All of it: what was not typed is the default, also when a service is edited.
    fn schedule(&self) -> Result<Schedule, Failure> {
        let unknown = || Failure::refused(refusal::UNKNOWN_SCHEDULER);
        let scheduler = match self.scheduler.as_str() {
            "" => Scheduler::Wlc,
            name => Scheduler::from_name(name).ok_or_else(unknown)?,
        };
        let engine = match self.engine.as_str() {
            "" => engine::NONE,
            name => parse_engine(name).map_err(|_| unknown())?,
        };
        Ok(Schedule {
            scheduler: Some(scheduler),
            flags: Some(self.flags),
            persistence: Some(self.persistence),
            mask: Some(self.mask),
            engine: Some(engine),
            one_packet: Some(self.one_packet),
            // ipvsadm has no word for these: they stay as they are.
            full_nat: None,
            toa: None,
        })
    }
}

fn add_server(change: &mut Change, name: ServiceName, server: &Server) -> Result<(), Failure> {
    let key = known(change, name, refusal::SERVICE_UNDEFINED)?;
    let settings = server.settings()?;
    if position(change, &key, server).is_ok() {
        return Err(Failure::refused(refusal::SERVER_EXISTS));
    }
    if !is_unicast(server.address) {
        return Err(Failure::refused(refusal::INVALID));
    }
    Ok(change.add_backend(&key, server.address.into(), server.port.to_be(), settings)?)
}

fn edit_server(change: &mut Change, name: ServiceName, server: &Server) -> Result<(), Failure> {
    let key = known(change, name, refusal::SERVICE_UNDEFINED)?;
    let settings = server.settings()?;
    let position = position(change, &key, server)?;
    Ok(change.edit_backend(&key, position, settings)?)
}

fn position(change: &Change, key: &ServiceKey, server: &Server) -> Result<usize, Failure> {
    let found = change.position(key, server.address.into(), server.port.to_be());
    found.ok_or_else(|| Failure::refused(refusal::NO_SERVER))
}

impl Server {
    /// All of it, as for a service.
    fn settings(&self) -> Result<MemberSettings, Failure> {
        if self.lower > self.upper {
            return Err(Failure::refused(refusal::OUT_OF_RANGE));
        }
        Ok(MemberSettings {
            weight: Some(self.weight),
            upper: Some(self.upper),
            lower: Some(self.lower),
            method: Some(self.method),
            tunnel: Some(self.tunnel),
        })
    }
}

fn zero(change: &mut Change, name: Option<ServiceName>) -> Result<(), Failure> {
    let only = match name {
        Some(name) => Some(known(change, name, refusal::NO_SERVICE)?),
        None => None,
    };
    change.zero(only.as_ref());
    Ok(())
}
