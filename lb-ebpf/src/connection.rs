//! The life of a connection: made, moved from state to state, ended.

use crate::{
    Reason, Steps, Tables,
    index::{self, Found},
    packet::{Flow, NO_CHUNK, Packet},
    persistence,
    schedule::lightest,
    snat,
    state::{
        Side, sctp,
        tcp::{self, Rows},
    },
    wire::tcp::flags::SYN,
};
use lb_common::{
    backend::{ACTIVE, Backend, INACTIVE, state::AVAILABLE},
    bucket::{self, Direction},
    connection::{Connection, flags, state, with_state},
    protocol,
    settings::{Settings, defense},
    sysctl::Sysctl,
    time::remaining,
};

mod create;

pub use create::create;

/// A packet's connection, found and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The connection's slot.
    pub slot: u32,
    /// Which of its packets this is.
    pub direction: Direction,
}

impl Tracked {
    /// Both in one number.
    #[inline(always)]
    pub const fn code(self) -> u32 {
        self.slot << 1 | self.direction as u32
    }

    /// What [`Tracked::code`] made.
    #[inline(always)]
    pub const fn from_code(code: u32) -> Self {
        Self { slot: code >> 1, direction: bucket::direction(code as u64) }
    }
}

/// Finds a packet's connection, counts the packet, and moves the connection on.
/// [`Reason::MidStream`] when there is none that the packet belongs to.
#[inline(always)]
pub fn track<T: Steps>(tables: &T, packet: &Packet, now: u32) -> Result<Tracked, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let hash = index::hash(&packet.flow, settings);
    let mut found = index::find(tables, &packet.flow, hash).ok_or(Reason::MidStream)?;
    if found.is_expired(now) || found.is_renewed_by(tables, packet, settings) {
        tables.end(found.slot, found.word);
        return Err(Reason::MidStream);
    }
    let forward = found.direction == Direction::Forward;
    let backend = found.connection.backend_index;
    if tables.backend(backend).is_some_and(|backend| backend.state == AVAILABLE) {
        if let Some(traffic) = tables.traffic(backend) {
            traffic.count(forward, packet.length() as u64);
        }
    } else if forward && settings.sysctl(Sysctl::ExpireNodestConn) != 0 {
        tables.end(found.slot, found.word);
        return Err(Reason::MidStream);
    } else if forward {
        // As IPVS does: silently, and without restarting the timer. Replies still get through.
        return Err(Reason::BackendRemoved);
    }
    found.advance(tables, packet, settings, now);
    Ok(Tracked { slot: found.slot, direction: found.direction })
}

impl Found<'_> {
    /// Whether its time is over, though the sweep has not come by yet.
    #[inline(always)]
    fn is_expired(&self, now: u32) -> bool {
        remaining(self.connection.expires, now) <= 0
    }

    /// Whether a client's SYN or INIT starts a new connection in this one's place (`conn_reuse_mode`,
    /// `is_new_conn_expected`).
    #[inline(always)]
    fn is_renewed_by<T: Tables>(&self, tables: &T, packet: &Packet, settings: &Settings) -> bool {
        let mode = settings.sysctl(Sysctl::ConnReuseMode);
        let is_first = packet.tcp_flags & SYN != 0 || packet.chunk == sctp::Event::Init as u8;
        if mode == 0 || !is_first || self.direction != Direction::Forward {
            return false;
        }
        if settings.sysctl(Sysctl::ExpireNodestConn) != 0 && self.is_quiesced(tables) {
            return true;
        }
        let is_over = match self.word as u8 {
            state::TIME_WAIT | state::CLOSE | state::SCTP_CLOSED => true,
            state::FIN_WAIT => mode & 2 != 0 && self.connection.flags & flags::NO_OUTPUT != 0,
            _ => false,
        };
        is_over && self.connection.template == 0
    }

    /// Whether its backend has weight 0, while a change is made also in the version that comes.
    #[inline(always)]
    fn is_quiesced<T: Tables>(&self, tables: &T) -> bool {
        let backend = self.connection.backend_index;
        let Some(&[one, other]) = tables.places(backend) else { return false };
        let has_none = |place: u32| {
            tables.member(place).is_some_and(|member| member.backend == backend && member.weight == 0)
        };
        has_none(one) && has_none(other)
    }

    /// Moves the connection to the state after `packet` and restarts its timer.
    #[inline(always)]
    fn advance<T: Tables>(&mut self, tables: &T, packet: &Packet, settings: &Settings, now: u32) {
        let mut current = self.word as u8;
        let side = self.side(packet);
        // A plain ACK in ESTABLISHED, which nearly every packet is, changes nothing on any side.
        if current != state::ESTABLISHED || tcp::event(packet.tcp_flags) != tcp::Event::Ack {
            current = self.transition(tables, |current| next(packet, side, settings, current));
            if assures(packet, side, current) {
                persistence::assure(tables, self.connection.template);
            }
        }
        let timeout = settings.timeouts[state::timeout(current)];
        let expires = now.wrapping_add(timeout);
        // Within one tick the line stays clean: most packets of a busy connection write nothing.
        if self.connection.expires != expires {
            self.connection.expires = expires;
        }
    }

    /// The rows of the state table that a packet moves in. A reply shows that replies are seen.
    #[inline(always)]
    fn side(&mut self, packet: &Packet) -> Side {
        let is_unanswered = self.connection.flags & flags::NO_OUTPUT != 0;
        match self.direction {
            Direction::Forward if is_unanswered => Side::InputOnly,
            Direction::Forward => Side::Input,
            Direction::Reply => {
                if is_unanswered {
                    self.connection.flags &= !flags::NO_OUTPUT;
                }
                // It has got a packet after the SYN.
                if self.connection.flags & flags::UNTOLD != 0 && packet.tcp_flags & SYN == 0 {
                    self.connection.flags &= !flags::UNTOLD;
                }
                Side::Output
            }
        }
    }

    /// The next state is computed from the present one, each time another CPU was faster.
    #[inline(always)]
    fn transition<T: Tables>(&mut self, tables: &T, after: impl Fn(u8) -> u8) -> u8 {
        for _ in 0..RETRIES {
            let current = self.word as u8;
            let next = after(current);
            if next == current {
                break;
            }
            match tables.compare_exchange(&mut self.connection.word, self.word, with_state(self.word, next)) {
                Ok(()) => {
                    self.word = with_state(self.word, next);
                    let change = weight_of(next).wrapping_sub(weight_of(current));
                    if change != 0
                        && let Some(backend) = tables.backend(self.connection.backend_index)
                    {
                        count(tables, backend, change);
                    }
                    break;
                }
                // Another CPU moved the same connection: go on from there, unless the slot is another's.
                Err(other) if other >> 8 == self.word >> 8 && state::is_connection(other) => {
                    self.word = other
                }
                Err(_) => break,
            }
        }
        self.word as u8
    }
}

/// The state that a packet makes of the present one.
#[inline(always)]
fn next(packet: &Packet, side: Side, settings: &Settings, current: u8) -> u8 {
    match packet.flow.protocol as u8 {
        _ if packet.is_later_fragment() => current,
        protocol::TCP => {
            let is_secure = settings.defense & defense::SECURE_TCP != 0;
            tcp::next(Rows { side, is_secure }, tcp::event(packet.tcp_flags), current)
        }
        protocol::SCTP if packet.chunk != NO_CHUNK => sctp::next(side, packet.chunk, current),
        _ => current,
    }
}

/// Whether a packet after which a connection is in a state tells its template that it is established.
#[inline(always)]
fn assures(packet: &Packet, side: Side, current: u8) -> bool {
    match packet.flow.protocol as u8 {
        _ if packet.is_later_fragment() => false,
        protocol::TCP => current == state::ESTABLISHED,
        protocol::SCTP if packet.chunk != NO_CHUNK => current == state::SCTP_ESTABLISHED,
        _ => side == Side::Output,
    }
}

/// How often a lost race is tried again; more than two CPUs at one connection are rare.
const RETRIES: u32 = 4;

/// What a connection in a state adds to its backend's counters.
#[inline(always)]
pub const fn weight_of(current: u8) -> u64 {
    if state::is_active(current) { ACTIVE } else { INACTIVE }
}

/// Changes the number of a backend's connections.
#[inline(always)]
pub fn count<T: Tables>(tables: &T, backend: &mut Backend, change: u64) {
    tables.add(&mut backend.connections, change);
    lightest::changed(tables, backend, lightest::effect(change));
}

/// Ends the connection in `slot`, if its word still is `word`: takes it out of the index and off its
/// backend's counters. Of several CPUs that try, one does it. The sweep gives the slot back.
#[inline(always)]
pub fn end<T: Tables>(tables: &T, slot: u32, word: u64) {
    let Some(settings) = tables.settings() else { return };
    let Some(connection) = tables.connection(slot) else { return };
    if tables.compare_exchange(&mut connection.word, word, with_state(word, state::DEAD)).is_err() {
        return;
    }
    persistence::release(tables, connection.template);
    if let Some(backend) = tables.backend(connection.backend_index) {
        count(tables, backend, weight_of(word as u8).wrapping_neg());
    }
    let forward = index::hash(&forward_flow(connection), settings);
    index::remove(tables, forward, slot, Direction::Forward);
    let reply = index::hash(&reply_flow(tables, connection), settings);
    index::remove(tables, reply, slot, Direction::Reply);
    if connection.is_full_nat() {
        let port = if connection.flags & flags::ANY_PORT != 0 { 0 } else { connection.backend_port };
        snat::give(tables, connection.backend, port, connection.protocol, connection.controlled);
    }
}

/// The flow of a connection's packets from the client.
#[inline(always)]
pub fn forward_flow(connection: &Connection) -> Flow {
    Flow {
        source: connection.client,
        destination: connection.service,
        source_port: connection.client_port,
        destination_port: connection.service_port,
        protocol: connection.protocol as u32,
    }
}

/// Whether a packet has a connection.
#[inline(always)]
pub fn is_known<T: Tables>(tables: &T, packet: &Packet) -> bool {
    tables.settings().is_some_and(|settings| {
        index::find(tables, &packet.flow, index::hash(&packet.flow, settings)).is_some()
    })
}

/// The flow of a connection's packets from the backend.
#[inline(always)]
pub fn reply_flow<T: Tables>(tables: &T, connection: &Connection) -> Flow {
    let (source, source_port) = connection.replies_from();
    let (destination, destination_port) = snat::replies_to(tables, connection);
    Flow { source, destination, source_port, destination_port, protocol: connection.protocol as u32 }
}
