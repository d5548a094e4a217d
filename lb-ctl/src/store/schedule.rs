//! What an add or an edit makes of a service.

use crate::spec::usage;
use anyhow::Result;
use lb_common::{
    address::Address,
    backend::method,
    protocol,
    scheduler::Scheduler,
    service::{Service, flags},
};

/// What is asked for a service; `None` is as before, or the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// `-s`.
    pub scheduler: Option<Scheduler>,
    /// `-b`.
    pub flags: Option<u8>,
    /// `-p`: seconds; 0 is not persistent.
    pub persistence: Option<u32>,
    /// `-M`.
    pub mask: Option<Address>,
    /// `--pe`: a [`lb_common::service::engine`].
    pub engine: Option<u8>,
    /// `-o`.
    pub one_packet: Option<bool>,
    /// `--fullnat`.
    pub full_nat: Option<bool>,
    /// `--toa`.
    pub toa: Option<bool>,
}

impl Schedule {
    /// All of a service.
    pub fn of(service: &Service) -> Self {
        Self {
            scheduler: Scheduler::from_number(service.scheduler),
            flags: Some(service.scheduler_flags),
            persistence: Some(service.persistence),
            mask: Some(service.mask),
            engine: Some(service.engine),
            one_packet: Some(service.flags & flags::ONE_PACKET != 0),
            full_nat: Some(service.flags & flags::FULL_NAT != 0),
            toa: Some(service.flags & flags::TOA != 0),
        }
    }

    /// A service with what is asked for.
    pub fn applied_to(self, old: Service) -> Service {
        let asked =
            [(self.one_packet, flags::ONE_PACKET), (self.full_nat, flags::FULL_NAT), (self.toa, flags::TOA)];
        Service {
            scheduler: self.scheduler.map_or(old.scheduler, |scheduler| scheduler as u8),
            scheduler_flags: self.flags.unwrap_or(old.scheduler_flags),
            persistence: self.persistence.unwrap_or(old.persistence),
            mask: self.mask.unwrap_or(old.mask),
            engine: self.engine.unwrap_or(old.engine),
            flags: asked.into_iter().fold(old.flags, |all, (asked, flag)| match asked {
                Some(true) => all | flag,
                Some(false) => all & !flag,
                None => all,
            }),
            ..old
        }
    }
}

/// Refuses what cannot be done by full NAT, whoever asks for it; `methods` are those of the backends.
pub fn check_full_nat(service: &Service, methods: impl IntoIterator<Item = u32>) -> Result<()> {
    let has = |flag| service.flags & flag != 0;
    if has(flags::TOA) && !has(flags::FULL_NAT) {
        usage!("--toa tells backends what only --fullnat hides from them; add --fullnat, or write --no-toa");
    }
    if has(flags::TOA) && service.key.mark == 0 && service.key.protocol != protocol::TCP {
        usage!("--toa is an option of TCP, which this service's packets have no room for; write --no-toa");
    }
    if !has(flags::FULL_NAT) {
        return Ok(());
    }
    if has(flags::ONE_PACKET) {
        usage!("--fullnat with -o: a reply finds no way back without a connection; leave one of them out");
    }
    if methods.into_iter().any(|method| method != method::NAT) {
        usage!("a service with --fullnat has backends with -m only, not with -g, -i or -l");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::service::ServiceKey;

    #[test]
    fn an_edit_changes_only_what_is_named() {
        let new = Service { mask: Address::ALL, ..Service::default() };
        let sticky = Schedule {
            scheduler: Some(Scheduler::Sh),
            persistence: Some(360),
            one_packet: Some(true),
            toa: Some(true),
            ..Schedule::default()
        };
        let first = sticky.applied_to(new);
        assert_eq!(
            (first.scheduler, first.persistence, first.mask),
            (Scheduler::Sh as u8, 360, Address::ALL)
        );
        assert_eq!(Schedule::default().applied_to(first), first);
        let second = Schedule { persistence: Some(0), ..Schedule::default() }.applied_to(first);
        assert_eq!(second, Service { persistence: 0, ..first });
        let third = Schedule { toa: Some(false), full_nat: Some(true), ..Schedule::default() };
        assert_eq!(third.applied_to(first).flags, flags::ONE_PACKET | flags::FULL_NAT);
    }

    #[test]
    fn what_full_nat_cannot_do_is_said_with_its_fix() {
        let service = |flags, protocol| Service {
            key: ServiceKey { protocol, ..ServiceKey::default() },
            flags,
            ..Service::default()
        };
        let checked = |flags, protocol, method| {
            check_full_nat(&service(flags, protocol), [method]).map_err(|error| error.to_string())
        };
        let both = flags::FULL_NAT | flags::TOA;
        assert_eq!(checked(both, protocol::TCP, method::NAT), Ok(()));
        assert_eq!(checked(0, protocol::UDP, method::ROUTE), Ok(()));
        for (flags, protocol, method, part) in [
            (flags::TOA, protocol::TCP, method::NAT, "add --fullnat"),
            (both, protocol::UDP, method::NAT, "write --no-toa"),
            (flags::FULL_NAT | flags::ONE_PACKET, protocol::UDP, method::NAT, "-o"),
            (flags::FULL_NAT, protocol::TCP, method::ROUTE, "with -m only"),
            (flags::FULL_NAT, protocol::TCP, method::TUNNEL, "with -m only"),
            (flags::FULL_NAT, protocol::TCP, method::LOCAL, "with -m only"),
        ] {
            let error = checked(flags, protocol, method).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
