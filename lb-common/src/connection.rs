//! A connection: one slot of the connection table.

use crate::{address::Address, backend::method};
use bytemuck::{Pod, Zeroable};

/// Everything a packet of either direction needs. Two cache lines: what identifies the connection,
/// and what forwarding it needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Connection {
    /// The client's address.
    pub client: Address,
    /// The service's address, as the client wrote it.
    pub service: Address,
    /// The backend's address.
    pub backend: Address,
    /// The client's port, network order.
    pub client_port: u16,
    /// The service's port, network order.
    pub service_port: u16,
    /// The backend's port, network order.
    pub backend_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`flags`]; the lowest two bits are the [`crate::backend::method`].
    pub flags: u8,
    /// Bits 0..8 the [`State`], 8..64 how often the slot has been used. Changed by
    /// compare-and-exchange, so that of two CPUs one wins and counts.
    pub word: u64,

    /// Next hop towards the backend.
    pub to_backend: NextHop,
    /// Next hop towards the client.
    pub to_client: NextHop,
    /// Index of the backend.
    pub backend_index: u32,
    /// Tick at which it ends, unless a packet comes first.
    pub expires: u32,
    /// Slot of the persistence template that controls it, from 1; 0 is none. Of a template: its
    /// timeout in ticks.
    pub template: u32,
    /// Connections that a template controls; changed by atomic addition. Of a connection by full NAT:
    /// what [`Connection::keeping_source`] makes of its source.
    pub controlled: u32,
}

const _: () = assert!(size_of::<Connection>() == 128);
// SAFETY: plain old data, as bytemuck has checked.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Connection {}

impl Connection {
    /// Its state.
    #[inline(always)]
    pub const fn state(&self) -> u8 {
        self.word as u8
    }

    /// Of a template: the digest of the Call-ID that it stands for, 0 for every packet of its client.
    /// It lies where connections have their next hop towards the client.
    #[inline(always)]
    pub fn call(&self) -> u64 {
        bytemuck::cast::<NextHop, [u64; 3]>(self.to_client)[0]
    }

    /// The [`NextHop`] that keeps a digest for [`Connection::call`].
    #[inline(always)]
    pub fn keeping_call(call: u64) -> NextHop {
        bytemuck::cast([call, 0, 0])
    }

    /// Whether the backend sees an address of the balancer as the client.
    #[inline(always)]
    pub const fn is_full_nat(&self) -> bool {
        self.flags & flags::FULL_NAT != 0
    }

    /// By full NAT: where the pool has the address that the backend sees.
    #[inline(always)]
    pub const fn source_place(&self) -> u32 {
        self.controlled >> 16
    }

    /// By full NAT: the port that the backend sees, network order.
    #[inline(always)]
    pub const fn source_port(&self) -> u16 {
        self.controlled as u16
    }

    /// What [`Connection::controlled`] keeps for [`Connection::source_place`] and
    /// [`Connection::source_port`].
    #[inline(always)]
    pub const fn keeping_source(place: u32, port: u16) -> u32 {
        place << 16 | port as u32
    }

    /// Its [`crate::backend::method`].
    #[inline(always)]
    pub const fn method(&self) -> u32 {
        (self.flags & flags::METHOD) as u32
    }

    /// The address and port that the backend's packets carry as their source: its own where NAT hides
    /// the service from it, else the service's (`ip_vs_conn_out_get`).
    #[inline(always)]
    pub const fn replies_from(&self) -> (Address, u16) {
        match self.method() {
            method::NAT => (self.backend, self.backend_port),
            _ => (self.service, self.service_port),
        }
    }
}

/// A word of the same use of the slot, with another state.
#[inline(always)]
pub const fn with_state(word: u64, state: u8) -> u64 {
    word & !0xff | state as u64
}

/// A word of the next use of the slot.
#[inline(always)]
pub const fn next_use(word: u64, state: u8) -> u64 {
    (word & !0xff).wrapping_add(0x100) | state as u64
}

/// Flags of a connection.
pub mod flags {
    /// The bits that hold the forwarding method.
    pub const METHOD: u8 = 0b11;
    /// Made for one datagram (`IP_VS_CONN_F_ONE_PACKET`).
    pub const ONE_PACKET: u8 = 1 << 2;
    /// No packet of the backend has been seen (`IP_VS_CONN_F_NOOUTPUT`).
    pub const NO_OUTPUT: u8 = 1 << 3;
    /// The client's address is rewritten as well.
    pub const FULL_NAT: u8 = 1 << 4;
    /// The backend has yet to be told who the client is.
    pub const UNTOLD: u8 = 1 << 5;
    /// It keeps its port, because its service is for more ports than one.
    pub const ANY_PORT: u8 = 1 << 6;
}

/// States of a connection. TCP's are numbered as IPVS numbers them.
pub mod state {
    /// Being made.
    pub const NONE: u8 = 0;
    /// `IP_VS_TCP_S_ESTABLISHED`.
    pub const ESTABLISHED: u8 = 1;
    /// `IP_VS_TCP_S_SYN_SENT`.
    pub const SYN_SENT: u8 = 2;
    /// `IP_VS_TCP_S_SYN_RECV`.
    pub const SYN_RECV: u8 = 3;
    /// `IP_VS_TCP_S_FIN_WAIT`.
    pub const FIN_WAIT: u8 = 4;
    /// `IP_VS_TCP_S_TIME_WAIT`.
    pub const TIME_WAIT: u8 = 5;
    /// `IP_VS_TCP_S_CLOSE`.
    pub const CLOSE: u8 = 6;
    /// `IP_VS_TCP_S_CLOSE_WAIT`.
    pub const CLOSE_WAIT: u8 = 7;
    /// `IP_VS_TCP_S_LAST_ACK`.
    pub const LAST_ACK: u8 = 8;
    /// `IP_VS_TCP_S_LISTEN`.
    pub const LISTEN: u8 = 9;
    /// `IP_VS_TCP_S_SYNACK`.
    pub const SYNACK: u8 = 10;
    /// Any UDP flow.
    pub const UDP: u8 = 11;
    /// SCTP's states start here (`IP_VS_SCTP_S_NONE`), in IPVS's order.
    pub const SCTP: u8 = 16;
    /// `IP_VS_SCTP_S_ESTABLISHED`.
    pub const SCTP_ESTABLISHED: u8 = SCTP + 8;
    /// `IP_VS_SCTP_S_CLOSED`, the last.
    pub const SCTP_CLOSED: u8 = SCTP + 13;
    /// How many states have a timeout; a power of two, so that a state can be masked.
    pub const COUNT: usize = 32;
    /// A persistence template (`IP_VS_CONN_F_TEMPLATE`): no packet finds it, only [`TEMPLATE`] with
    /// these bits.
    pub const TEMPLATE: u8 = 0xf0;
    /// Of a template: a connection that it controls was established (`IP_VS_CTPL_S_ASSURED`).
    pub const ASSURED: u8 = 1;
    /// Of a template: its backend takes no more connections; it has left the index.
    pub const INVALID: u8 = 2;
    /// The slot is in no index any more; the sweep lets it rest for a round.
    pub const DEAD: u8 = 0xfd;
    /// The slot has rested since the sweep's last round, so that no CPU still holds it.
    pub const RESTING: u8 = 0xfe;
    /// The slot is on the free list. Also the state of a slot never used: see [`is_live`].
    pub const FREE: u8 = 0xff;

    /// The words of `ipvsadm -Lc`, by number.
    pub const NAMES: [&str; 30] = [
        "NONE",
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "SYNACK",
        "UDP",
        "ERR!",
        "ERR!",
        "ERR!",
        "ERR!",
        "NONE",
        "INIT1",
        "INIT",
        "C-SENT",
        "C-REPLIED",
        "C-WAIT",
        "COOKIE",
        "C-ECHOED",
        "ESTABLISHED",
        "S-SENT",
        "S-RECEIVED",
        "S-ACK-SENT",
        "REJECTED",
        "CLOSED",
    ];

    /// Whether a word belongs to a connection or a template. A slot never used is all zero; a used
    /// one has counted its use in the upper bits.
    #[inline(always)]
    pub const fn is_live(word: u64) -> bool {
        word > 0xff && (word as u8) < DEAD
    }

    /// The place of a state's timeout.
    #[inline(always)]
    pub const fn timeout(state: u8) -> usize {
        state as usize & (COUNT - 1)
    }

    /// Whether a word belongs to a connection that packets can find.
    #[inline(always)]
    pub const fn is_connection(word: u64) -> bool {
        word > 0xff && (word as u8) < TEMPLATE
    }

    /// Whether a word belongs to a template.
    #[inline(always)]
    pub const fn is_template(word: u64) -> bool {
        word as u8 & !(ASSURED | INVALID) == TEMPLATE
    }

    /// Whether a word belongs to a template that clients can find.
    #[inline(always)]
    pub const fn is_valid_template(word: u64) -> bool {
        word as u8 & !ASSURED == TEMPLATE
    }

    /// Whether a state counts as an active connection (`tcp_state_active_table`, `set_sctp_state`).
    #[inline(always)]
    pub const fn is_active(state: u8) -> bool {
        matches!(state, ESTABLISHED | SYN_SENT | SYN_RECV | SYNACK | SCTP_ESTABLISHED)
    }
}

/// Where packets of one direction leave, as the kernel's routing said.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct NextHop {
    /// Interface index; 0 when never looked up.
    pub interface: u32,
    /// In the lowest 24 bits those of the tick of the last look-up; in the others the lowest of the tick at which
    /// another connection last vouched for what it told. In one word, so that of two CPUs which write it at the same time
    /// the slower one makes it older at worst.
    pub ticks: u32,
    /// MAC address of the neighbour.
    pub destination: [u8; 6],
    /// MAC address of the interface.
    pub source: [u8; 6],
    /// The route's MTU in bytes: the longest IP packet.
    pub mtu: u16,
    /// [`exit`]: how a packet leaves.
    pub exit: u8,
    /// Low bits of the [`crate::neighbour::Vouch::generation`] at that time, or
    /// [`crate::neighbour::vouch::NONE`].
    pub generation: u8,
}

const _: () = assert!(size_of::<NextHop>() == 24);

impl NextHop {
    const CHECKED: u32 = 0xff_ffff;

    /// The `ticks` of a look-up at a tick.
    #[inline(always)]
    pub const fn checked_at(tick: u32) -> u32 {
        tick & Self::CHECKED
    }

    /// Ticks since the last look-up, modulo 2^24: three days.
    #[inline(always)]
    pub const fn age(&self, now: u32) -> u32 {
        now.wrapping_sub(self.ticks) & Self::CHECKED
    }

    /// Remembers that it was vouched for at a tick.
    #[inline(always)]
    pub const fn vouched_at(&mut self, tick: u32) {
        self.ticks = self.ticks & Self::CHECKED | tick << 24;
    }

    /// Whether that was at this tick, or 256 ticks before it, or 512 …
    #[inline(always)]
    pub const fn was_vouched_at(&self, tick: u32) -> bool {
        self.ticks >> 24 == tick & 0xff
    }
}

/// How a packet leaves.
pub mod exit {
    /// The kernel forwards the rewritten packet.
    pub const KERNEL: u8 = 0;
    /// `XDP_REDIRECT` to the interface.
    pub const REDIRECT: u8 = 1;
    /// `XDP_TX`: the interface is the one that the packet came in by.
    pub const TRANSMIT: u8 = 2;
}
