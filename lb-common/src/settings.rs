//! Settings that the packet path reads, and the state of the table as a whole.

use crate::{
    connection::state,
    hint,
    sysctl::{self, Sysctl},
    time::ticks,
};
use bytemuck::{Pod, Zeroable};

/// The settings of this balancer. Packets see the first element. The second is `lb-ctl`'s: what a
/// change is about to copy into the first; its `layout` is 0 when there is no such change.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Settings {
    /// [`crate::LAYOUT_VERSION`] of the maps.
    pub layout: u32,
    /// How many services there are. At 0 every packet passes, as when IPVS unregisters its hooks.
    pub services: u32,
    /// Timeout of each [`state`] in ticks.
    pub timeouts: [u32; state::COUNT],
    /// Secret of the connection index, random at load: hostile clients cannot aim at a bucket.
    pub secret: [u64; 2],
    /// Connection slots, a copy of the map's size.
    pub connections: u32,
    /// How many services take packets for other ports than their own: those on port 0 and on FTP's.
    pub catch_all: u32,
    /// Values of the [`Sysctl`]s, by number.
    pub sysctls: [u32; sysctl::COUNT],
    /// [`defense`]: which of them are in force. Written by the sweep.
    pub defense: u32,
    /// Which of the two sets in the map of services packets see, 0 or 1: a change of many services
    /// writes the other one and then this word.
    pub bank: u32,
    /// Which places of the pool of full NAT hold an address that new connections may get: a bit for
    /// each of [`crate::snat::ADDRESSES`], IPv4's, then IPv6's.
    pub pool: [u64; 2],
    /// The generation of the tables of firewall marks, 0 when there are no rules: for each of the two sets of
    /// services its own, so that one word changes both.
    pub marks: [u32; 2],
    /// Of what packets see of the map of services: raised before it is changed and after that, so that it is odd
    /// meanwhile. What a CPU remembers of an even version counts as long as that does.
    pub version: u32,
    /// Which bits of a flow's hash choose a set of hints ([`crate::hint::mask`]). Written by the sweep.
    pub hint_mask: u32,
}

const _: () = assert!(size_of::<Settings>() == 328);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Settings {}

impl Settings {
    /// IPVS's defaults (`tcp_timeouts`, `udp_timeouts`), no service yet.
    pub const fn new(connections: u32, secret: [u64; 2]) -> Self {
        let mut timeouts = [ticks(2); state::COUNT];
        timeouts[state::ESTABLISHED as usize] = ticks(900);
        timeouts[state::SYN_SENT as usize] = ticks(120);
        timeouts[state::SYN_RECV as usize] = ticks(60);
        timeouts[state::FIN_WAIT as usize] = ticks(120);
        timeouts[state::TIME_WAIT as usize] = ticks(120);
        timeouts[state::CLOSE as usize] = ticks(10);
        timeouts[state::CLOSE_WAIT as usize] = ticks(60);
        timeouts[state::LAST_ACK as usize] = ticks(30);
        timeouts[state::LISTEN as usize] = ticks(120);
        timeouts[state::SYNACK as usize] = ticks(120);
        timeouts[state::UDP as usize] = ticks(300);
        timeouts[sctp(1)] = ticks(4);
        let mut number = 2;
        while number <= state::SCTP_CLOSED - state::SCTP {
            timeouts[sctp(number)] = ticks(61);
            number += 1;
        }
        timeouts[state::SCTP_ESTABLISHED as usize] = ticks(900);
        timeouts[sctp(12)] = ticks(4);
        Self {
            layout: crate::LAYOUT_VERSION,
            services: 0,
            timeouts,
            secret,
            connections,
            catch_all: 0,
            sysctls: sysctl::DEFAULTS,
            defense: 0,
            bank: 0,
            pool: [0; 2],
            marks: [0; 2],
            version: 0,
            hint_mask: hint::MASK_MIN,
        }
    }

    /// The generation of the tables of firewall marks that packets see.
    #[inline(always)]
    pub const fn marks(&self) -> u32 {
        if self.bank & 1 == 0 { self.marks[0] } else { self.marks[1] }
    }

    /// The value of a sysctl.
    #[inline(always)]
    pub const fn sysctl(&self, of: Sysctl) -> u32 {
        self.sysctls[of as usize]
    }
}

/// Defences against floods that are in force (`update_defense_level`).
pub mod defense {
    /// Half-open connections end early.
    pub const DROP_ENTRY: u32 = 1;
    /// Some new connections are dropped.
    pub const DROP_PACKET: u32 = 2;
    /// TCP moves in the strict table of states.
    pub const SECURE_TCP: u32 = 4;
}

/// The place of a timeout by IPVS's number of the state: 1 is INIT1, 12 is REJECTED (`sctp_timeouts`).
const fn sctp(number: u8) -> usize {
    (state::SCTP + number) as usize
}

/// One element: how far the connection table has been used, and where the sweep stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Table {
    /// Slots ever handed out: all connections live below it. Atomic addition; may run past the end
    /// of the table when it is full.
    pub used: u64,
    /// Slot at which the sweep goes on.
    pub cursor: u32,
    /// Backend at which the estimator goes on.
    pub estimated: u32,
    /// Full rounds of the sweep.
    pub rounds: u64,
    /// Backend slots that may be in use: all lie below it. Written by `lb-ctl`.
    pub backends: u32,
    /// Tick at which the next estimate of all rates begins.
    pub estimate_due: u32,
    /// Live slots that this round of the sweep has met so far.
    pub counted: u32,
    /// Live slots that the last full round has met.
    pub live: u32,
}

const _: () = assert!(size_of::<Table>() == 40);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Table {}
