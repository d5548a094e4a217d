//! What an add or an edit makes of a service.

use lb_common::{
    address::Address,
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
        }
    }

    /// A service with what is asked for.
    pub fn applied_to(self, old: Service) -> Service {
        let one_packet = self.one_packet.unwrap_or(old.flags & flags::ONE_PACKET != 0);
        Service {
            scheduler: self.scheduler.map_or(old.scheduler, |scheduler| scheduler as u8),
            scheduler_flags: self.flags.unwrap_or(old.scheduler_flags),
            persistence: self.persistence.unwrap_or(old.persistence),
            mask: self.mask.unwrap_or(old.mask),
            engine: self.engine.unwrap_or(old.engine),
            flags: old.flags & !flags::ONE_PACKET | if one_packet { flags::ONE_PACKET } else { 0 },
            ..old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_only_what_is_named() {
        let new = Service { mask: Address::ALL, ..Service::default() };
        let sticky = Schedule {
            scheduler: Some(Scheduler::Sh),
            persistence: Some(360),
            one_packet: Some(true),
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
    }
}
