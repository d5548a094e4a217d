//! The settings that can be changed while the balancer runs.

use super::Store;
use lb_common::{
    LAYOUT_VERSION,
    bucket::buckets,
    connection::state,
    service::ServiceKey,
    settings::Settings,
    sysctl::Sysctl,
    time::{seconds, ticks},
};
use lb_ebpf::persistence::FTP;
use std::{
    collections::BTreeMap,
    ptr::{addr_of, addr_of_mut},
    sync::atomic::{Ordering::Release, fence},
};

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

impl Timeouts {
    /// Those of these settings.
    pub fn of(settings: &Settings) -> Self {
        let of = |state: u8| seconds(settings.timeouts[usize::from(state)]);
        Self { tcp: of(state::ESTABLISHED), tcpfin: of(state::FIN_WAIT), udp: of(state::UDP) }
    }

    /// These, where 0 stands for what was there before.
    pub fn over(self, old: Self) -> Self {
        let over = |new, old| if new == 0 { old } else { new };
        Self {
            tcp: over(self.tcp, old.tcp),
            tcpfin: over(self.tcpfin, old.tcpfin),
            udp: over(self.udp, old.udp),
        }
    }

    /// Writes those that are not 0.
    pub fn write(self, settings: &mut Settings) {
        for (state, seconds) in
            [(state::ESTABLISHED, self.tcp), (state::FIN_WAIT, self.tcpfin), (state::UDP, self.udp)]
        {
            if seconds != 0 {
                settings.timeouts[usize::from(state)] = ticks(seconds);
            }
        }
    }
}

/// Values of some sysctls, or of all.
pub type Sysctls = BTreeMap<Sysctl, u32>;

/// Those of these settings.
pub fn sysctls(settings: &Settings) -> Sysctls {
    Sysctl::ALL.iter().map(|sysctl| (*sysctl, settings.sysctl(*sysctl))).collect()
}

/// The settings with all that an admin can change as in `new`: the one place that names it.
pub(super) fn changed(old: Settings, new: &Settings) -> Settings {
    Settings { timeouts: new.timeouts, pool: new.pool, sysctls: new.sysctls, ..old }
}

impl Store {
    /// The settings in force.
    pub fn current_settings(&self) -> Settings {
        self.announced().unwrap_or_else(|| self.settings.get(0))
    }

    /// The timeouts.
    pub fn timeouts(&self) -> Timeouts {
        Timeouts::of(&self.current_settings())
    }

    /// Buckets of the connection table's index, which `ipvsadm` calls its size.
    pub fn size(&self) -> u32 {
        buckets(self.connections.len())
    }

    /// The values of all sysctls.
    pub fn sysctls(&self) -> Sysctls {
        sysctls(&self.current_settings())
    }

    /// Which of the two sets of services packets see.
    pub(super) fn bank(&self) -> u8 {
        // SAFETY: the pointer is to the live element; one aligned word.
        unsafe { addr_of!((*self.settings.pointer(0)).bank).read_volatile() as u8 & 1 }
    }

    /// Changes the services that packets see, and has them know of it: the version is odd meanwhile.
    pub(super) fn changing<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        // SAFETY: as above, here and below. A change that was broken off has left an odd number.
        let meanwhile = unsafe { (*self.settings.pointer(0)).version } | 1;
        self.set_version(meanwhile);
        let changed = change(self);
        self.set_version(meanwhile.wrapping_add(1));
        changed
    }

    fn set_version(&mut self, version: u32) {
        fence(Release);
        unsafe { addr_of_mut!((*self.settings.pointer(0)).version).write_volatile(version) }
        fence(Release);
    }

    /// Says which firewall marks packets see with a set of services that they do not see yet.
    pub(super) fn set_marks(&mut self, bank: u8, generation: u32) {
        let settings = self.settings.pointer(0);
        // SAFETY: as above.
        unsafe { addr_of_mut!((*settings).marks[usize::from(bank & 1)]).write_volatile(generation) }
    }

    /// The commit of a change.
    pub(super) fn set_bank(&mut self, bank: u8) {
        fence(Release);
        // SAFETY: as above; the packet path only reads it.
        unsafe { addr_of_mut!((*self.settings.pointer(0)).bank).write_volatile(bank.into()) }
        fence(Release);
    }

    /// Says what the settings will be once their bank is the one that packets see.
    pub(super) fn announce(&mut self, settings: Settings) {
        self.set_announced(0);
        fence(Release);
        self.settings.set(1, Settings { layout: 0, ..settings });
        fence(Release);
        self.set_announced(settings.layout);
    }

    /// Settings that have been committed, and perhaps not yet been copied to where packets look.
    fn announced(&self) -> Option<Settings> {
        let settings = self.settings.get(1);
        (settings.layout == LAYOUT_VERSION && settings.bank as u8 == self.bank()).then_some(settings)
    }

    /// Copies committed settings to where packets look.
    pub(super) fn adopt(&mut self) {
        if let Some(new) = self.announced() {
            let old = self.settings.get(0);
            let (old, new) = ([old], [changed(old, &new)]);
            let words = bytemuck::cast_slice::<Settings, u32>;
            for (number, (old, &new)) in words(&old).iter().zip(words(&new)).enumerate() {
                if *old != new {
                    // SAFETY: an aligned word of the live element, which the packet path only reads.
                    unsafe { self.settings.pointer(0).cast::<u32>().add(number).write_volatile(new) }
                }
            }
        }
        self.set_announced(0);
    }

    fn set_announced(&mut self, layout: u32) {
        fence(Release);
        // SAFETY: as above.
        unsafe { addr_of_mut!((*self.settings.pointer(1)).layout).write_volatile(layout) }
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
