//! What lies between two configurations, and the smallest change that leads from one to the other.

use super::{Backend, Configuration, Service, field, field::Field};
use crate::{
    progress,
    spec::{Endpoint, ServiceName, mark},
    store::{Change, Pool, Timeouts},
};
use anyhow::{Context as _, Result};
use lb_common::{mark::Rule, sysctl::Sysctl};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// One step of a change.
#[derive(Clone, Debug)]
pub enum Step {
    /// Other timeouts.
    Timeouts(Timeouts, Timeouts),
    /// Another pool of full NAT.
    Pool(Pool, Pool),
    /// Other firewall marks.
    Marks(Vec<Rule>, Vec<Rule>),
    /// Another value of a sysctl.
    Sysctl(Sysctl, u32, u32),
    /// A service goes, with its backends.
    RemoveService(Service),
    /// A service comes, with its backends.
    AddService(Service),
    /// A service changes; its backends are steps of their own.
    EditService(Service, Service),
    /// A backend goes.
    RemoveBackend(ServiceName, Backend),
    /// A backend comes.
    AddBackend(ServiceName, Backend),
    /// A backend changes.
    EditBackend(ServiceName, Backend, Backend),
}

/// Steps, in the order in which they are made: what goes makes room for what comes. Packets see all
/// of them at once.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// None when the two are the same.
    pub steps: Vec<Step>,
}

impl Difference {
    /// What leads from `old` to `new`. The order of services and backends is no difference.
    pub fn between(old: &Configuration, new: &Configuration) -> Self {
        let mut steps = vec![];
        if let (Some(old), Some(new)) = (old.timeouts, new.timeouts) {
            let new = new.over(old);
            if new != old {
                steps.push(Step::Timeouts(old, new));
            }
        }
        if let (Some(old), Some(new)) = (&old.pool, &new.pool)
            && old != new
        {
            steps.push(Step::Pool(old.clone(), new.clone()));
        }
        if let (Some(old), Some(new)) = (&old.marks, &new.marks)
            && old.iter().collect::<HashSet<_>>() != new.iter().collect()
        {
            steps.push(Step::Marks(old.clone(), new.clone()));
        }
        for (sysctl, new) in &new.sysctls {
            if let Some(old) = old.sysctls.get(sysctl)
                && old != new
            {
                steps.push(Step::Sysctl(*sysctl, *old, *new));
            }
        }
        let wanted: HashSet<_> = new.services.iter().map(|service| service.name.key()).collect();
        let gone = old.services.iter().filter(|service| !wanted.contains(&service.name.key()));
        steps.extend(gone.cloned().map(Step::RemoveService));
        let known: HashMap<_, _> = old.services.iter().map(|service| (service.name.key(), service)).collect();
        for service in &new.services {
            match known.get(&service.name.key()) {
                Some(before) if *before == service => {}
                Some(before) => between_services(before, service, &mut steps),
                None => steps.push(Step::AddService(service.clone())),
            }
        }
        Self { steps }
    }

    /// Makes the steps part of a change.
    pub fn ask(&self, change: &mut Change) -> Result<()> {
        progress::each("working it out", self.steps.iter(), |step| step.ask(change))
    }
}

fn between_services(old: &Service, new: &Service, steps: &mut Vec<Step>) {
    if old.schedule != new.schedule {
        steps.push(Step::EditService(old.clone(), new.clone()));
    }
    let key = |backend: &Backend| (backend.endpoint.address, backend.endpoint.port);
    let wanted: HashSet<_> = new.backends.iter().map(key).collect();
    let gone = old.backends.iter().filter(|backend| !wanted.contains(&key(backend)));
    steps.extend(gone.map(|backend| Step::RemoveBackend(old.name, *backend)));
    let known: HashMap<_, _> = old.backends.iter().map(|backend| (key(backend), backend)).collect();
    for backend in &new.backends {
        match known.get(&key(backend)) {
            Some(before) if *before == backend => {}
            Some(before) => steps.push(Step::EditBackend(new.name, **before, *backend)),
            None => steps.push(Step::AddBackend(new.name, *backend)),
        }
    }
}

impl Step {
    fn ask(&self, change: &mut Change) -> Result<()> {
        match self {
            Self::Timeouts(_, new) => {
                change.set_timeouts(*new);
                Ok(())
            }
            Self::Pool(_, new) => change.set_pool(new.clone()),
            Self::Marks(_, new) => change.set_marks(new.clone()),
            Self::Sysctl(sysctl, _, new) => {
                change.set_sysctl(*sysctl, *new);
                Ok(())
            }
            Self::RemoveService(service) => change.remove_service(&service.name.key()),
            Self::AddService(service) => {
                change.add_service(service.name.key(), service.schedule)?;
                service.backends.iter().try_for_each(|backend| add_backend(change, service.name, backend))
            }
            Self::EditService(_, new) => change.edit_service(&new.name.key(), new.schedule),
            Self::RemoveBackend(service, backend) => {
                let position = position(change, *service, backend.endpoint)?;
                change.remove_backend(&service.key(), position)
            }
            Self::AddBackend(service, backend) => add_backend(change, *service, backend),
            Self::EditBackend(service, _, new) => {
                let position = position(change, *service, new.endpoint)?;
                change.edit_backend(&service.key(), position, new.settings)
            }
        }
    }

    /// What is shown: a sign and a line for each part.
    pub fn lines(&self) -> Vec<(char, String)> {
        match self {
            Self::Timeouts(old, new) => {
                vec![('~', format!("timeouts {}", changed(&field::timeouts(*old), &field::timeouts(*new))))]
            }
            Self::Pool(old, new) => {
                let line = |sign, address: &IpAddr| (sign, format!("snat-pool {address}"));
                let gone = old.difference(new).map(|address| line('-', address));
                gone.chain(new.difference(old).map(|address| line('+', address))).collect()
            }
            Self::Marks(old, new) => {
                let without = |sign, rules: &[Rule], others: &[Rule]| -> Vec<_> {
                    let others: HashSet<_> = others.iter().collect();
                    let rules = rules.iter().filter(|rule| !others.contains(rule));
                    rules.map(|rule| (sign, format!("marks {}", mark::text(rule)))).collect()
                };
                [without('-', old, new), without('+', new, old)].concat()
            }
            Self::Sysctl(sysctl, old, new) => {
                vec![('~', format!("sysctl {} {old} => {new}", sysctl.name()))]
            }
            Self::RemoveService(service) => whole('-', service),
            Self::AddService(service) => whole('+', service),
            Self::EditService(old, new) => {
                vec![('~', format!("{} {}", new.name, changed(&field::service(old), &field::service(new))))]
            }
            Self::RemoveBackend(service, backend) => vec![('-', format!("{service} {}", server(backend)))],
            Self::AddBackend(service, backend) => vec![('+', format!("{service} {}", server(backend)))],
            Self::EditBackend(service, old, new) => {
                let changed = changed(&field::backend(old), &field::backend(new));
                vec![('~', format!("{service} -> {} {changed}", new.endpoint))]
            }
        }
    }
}

fn whole(sign: char, service: &Service) -> Vec<(char, String)> {
    let first = format!("{} {}", service.name, written(&field::service(service)));
    let backends = service.backends.iter();
    let rest = backends.map(|backend| (sign, format!("{} {}", service.name, server(backend))));
    [(sign, first)].into_iter().chain(rest).collect()
}

fn server(backend: &Backend) -> String {
    format!("-> {} {}", backend.endpoint, written(&field::backend(backend)))
}

fn written(fields: &[Field]) -> String {
    let written = fields.iter().filter(|field| !field.is_default);
    written.map(|field| format!("{} {}", field.name, field.text)).collect::<Vec<_>>().join(", ")
}

fn changed(old: &[Field], new: &[Field]) -> String {
    let changed = old.iter().zip(new).filter(|(old, new)| old.text != new.text);
    let text = changed.map(|(old, new)| format!("{} {} => {}", new.name, old.text, new.text));
    text.collect::<Vec<_>>().join(", ")
}

fn add_backend(change: &mut Change, service: ServiceName, backend: &Backend) -> Result<()> {
    let Endpoint { address, port } = backend.endpoint;
    change.add_backend(&service.key(), address.into(), port.to_be(), backend.settings)
}

fn position(change: &Change, service: ServiceName, endpoint: Endpoint) -> Result<usize> {
    let Endpoint { address, port } = endpoint;
    let found = change.position(&service.key(), address.into(), port.to_be());
    found.with_context(|| format!("{service} has no backend {endpoint}"))
}
