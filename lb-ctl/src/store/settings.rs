//! The settings that can be changed while the balancer runs.

use super::{Change, Store};
use lb_common::{
    bucket::buckets,
    connection::state,
    service::ServiceKey,
    sysctl::Sysctl,
    time::{seconds, ticks},
};
use lb_ebpf::persistence::FTP;
use std::ptr::addr_of_mut;

/// The three timeouts of `set`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Timeouts {
    /// An established TCP connection.
    pub tcp: u32,
    /// A TCP connection in FIN_WAIT.
    pub tcpfin: u32,
    /// A UDP flow.
    pub udp: u32,
}

impl Change {
    /// Changes the timeouts; 0 keeps one as it is.
    pub fn set_timeouts(&mut self, new: Timeouts) {
        self.store.set_timeouts(new);
    }
}

impl Store {
    /// The timeouts.
    pub fn timeouts(&self) -> Timeouts {
        let timeouts = self.settings.get(0).timeouts;
        let of = |state: u8| seconds(timeouts[usize::from(state)]);
        Timeouts { tcp: of(state::ESTABLISHED), tcpfin: of(state::FIN_WAIT), udp: of(state::UDP) }
    }

    /// Changes the timeouts; 0 keeps one as it is.
    pub fn set_timeouts(&mut self, new: Timeouts) {
        for (state, seconds) in
            [(state::ESTABLISHED, new.tcp), (state::FIN_WAIT, new.tcpfin), (state::UDP, new.udp)]
        {
            if seconds != 0 {
                // SAFETY: the pointer is to the live element; one aligned word, which the packet
                // path only reads.
                unsafe {
                    addr_of_mut!((*self.settings.pointer(0)).timeouts[usize::from(state)])
                        .write_volatile(ticks(seconds));
                }
            }
        }
    }

    /// Buckets of the connection table's index, which `ipvsadm` calls its size.
    pub fn size(&self) -> u32 {
        buckets(self.connections.len())
    }

    /// The value of a sysctl.
    pub fn sysctl(&self, of: Sysctl) -> u32 {
        self.settings.get(0).sysctl(of)
    }

    /// Changes a sysctl.
    pub fn set_sysctl(&mut self, of: Sysctl, value: u32) {
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.settings.pointer(0)).sysctls[of as usize]).write_volatile(value) }
    }

    /// Writes how many services there are, at 0 the packet path passes everything; and how many of them
    /// take packets for other ports than their own.
    pub(super) fn set_services<'a>(&mut self, keys: impl Iterator<Item = &'a ServiceKey>) {
        let (mut count, mut catch_all) = (0, 0);
        for key in keys {
            count += 1;
            catch_all += u32::from(key.mark == 0 && [0, FTP].contains(&key.port));
        }
        let settings = self.settings.pointer(0);
        // SAFETY: as above.
        unsafe {
            addr_of_mut!((*settings).catch_all).write_volatile(catch_all);
            addr_of_mut!((*settings).services).write_volatile(count);
        }
    }
}
