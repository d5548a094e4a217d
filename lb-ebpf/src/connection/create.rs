//! Making a connection.
//!
//! With many connections each line that one needs comes from memory: its two buckets of the index, and two of its
//! slot. So all four are asked for in one go, and nothing waits for the first before the last is asked for. Atomic
//! operations, which wait for all, come last.

use super::{assures, next, reply_flow, weight_of};
use crate::{
    Reason, Steps, index,
    open::{Choice, how},
    packet::{Packet, bits},
    persistence,
    schedule::{self, lightest},
    snat,
    state::Side,
};
use bytemuck::Zeroable;
use lb_common::{
    backend::{Backend, Member, method},
    block::RISE,
    bucket::Direction,
    connection::{Connection, flags, next_use, state},
    protocol,
    time::ticks,
};

/// How long a connection lasts of which no packet but an error was seen yet (`ip_vs_conn_new`).
const UNSEEN: u32 = ticks(3);

/// Makes the connection that a client's packet opens where the choice says, and counts the packet in it. Its
/// slot; [`Reason::Raced`] when there is one already.
#[inline(always)]
pub fn create<T: Steps>(tables: &T, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
    let flow = &packet.flow;
    let member = tables.member(choice.member).ok_or(Reason::NoBackend)?;
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let backend = tables.backend(member.backend).ok_or(Reason::NoBackend)?;
    let made = head(packet, choice, member, backend);
    let is_lasting = choice.how & how::ONE_PACKET == 0;
    let replies = reply_flow(tables, &made);
    let mut home = index::home(tables, index::hash(flow, settings)).ok_or(Reason::TableFull)?;
    let mut reply_home = index::home(tables, index::hash(&replies, settings)).ok_or(Reason::TableFull)?;
    if is_lasting {
        home.touch(tables);
        reply_home.touch(tables);
    }
    let Some(slot) = tables.take_slot() else {
        persistence::release(tables, choice.template);
        if choice.source != 0 {
            let port = if made.flags & flags::ANY_PORT != 0 { 0 } else { made.backend_port };
            snat::give(tables, backend.address, port, flow.protocol as u8, choice.source);
        }
        return Err(Reason::TableFull);
    };
    let connection = tables.connection(slot).ok_or(Reason::TableFull)?;
    let before = connection.word;
    tables.touch(&connection.to_backend);
    connection.client = made.client;
    connection.service = made.service;
    connection.backend = made.backend;
    connection.client_port = made.client_port;
    connection.service_port = made.service_port;
    connection.backend_port = made.backend_port;
    connection.protocol = made.protocol;
    connection.flags = made.flags;
    connection.controlled = made.controlled;
    // Nothing else of a next hop counts without it.
    connection.to_backend.interface = 0;
    connection.to_client.interface = 0;
    connection.backend_index = member.backend;
    connection.template = choice.template;
    let mut current = match flow.protocol as u8 {
        protocol::UDP => state::UDP,
        protocol::SCTP => state::SCTP,
        _ => state::NONE,
    };
    let is_adopted = choice.how & how::ADOPTED != 0;
    let side = if made.flags & flags::NO_OUTPUT != 0 { Side::InputOnly } else { Side::Input };
    // Nor does an error, though it is counted, move it on.
    let is_moved = !is_adopted && !packet.is_quoted();
    if is_moved {
        current = next(packet, side, settings, current);
    }
    let time = if packet.is_quoted() { UNSEEN } else { settings.timeouts[state::timeout(current)] };
    connection.expires = tables.now().wrapping_add(time);
    if !is_lasting {
        // Never in the index: the slot is this packet's alone, and goes back once it has left.
        persistence::release(tables, choice.template);
        if let Some(traffic) = tables.traffic(member.backend) {
            traffic.connections += 1;
            traffic.count(true, packet.length() as u64);
        }
        return Ok(slot);
    }
    if packet.bits & bits::UNSOUGHT != 0 && home.find(tables, flow).is_some() {
        tables.give_slot(slot);
        return Err(Reason::Raced);
    }
    let word = next_use(before, current);
    // Nobody can find the slot before it is in the index, and entering it there is a full barrier.
    connection.word = word;
    tables.add(&mut backend.connections, weight_of(current));
    schedule::bound(member, backend);
    lightest::changed(tables, backend, RISE);

    if !reply_home.insert(tables, slot, Direction::Reply) || !home.insert(tables, slot, Direction::Forward) {
        tables.end(slot, word);
        return Err(Reason::TableFull);
    }
    // As `snat::take` has looked for, but another CPU may have been as fast.
    if made.is_full_nat() && reply_home.find(tables, &replies).is_some_and(|found| found.slot != slot) {
        tables.end(slot, word);
        return Err(Reason::Raced);
    }
    // Two CPUs may have made the same connection at once. Both are in the index now, and both look
    // from the same end: the one found first stays, and has the packet.
    if !home.leads_to(tables, flow, slot, Direction::Forward) {
        tables.end(slot, word);
        return Err(Reason::Raced);
    }
    if let Some(traffic) = tables.traffic(member.backend) {
        traffic.connections += 1;
        if !is_adopted {
            traffic.count(true, packet.length() as u64);
        }
    }
    if is_moved && assures(packet, side, current) {
        persistence::assure(tables, choice.template);
    }
    Ok(slot)
}

/// What of a new connection identifies it.
#[inline(always)]
fn head(packet: &Packet, choice: Choice, member: &Member, backend: &Backend) -> Connection {
    let flow = &packet.flow;
    let (port, is_any) = choice.port(backend, packet);
    let mut flags = member.method as u8 & flags::METHOD;
    let is_same = (backend.address, port) == (flow.destination, flow.destination_port);
    if member.method != method::NAT || is_same {
        flags |= flags::NO_OUTPUT;
    }
    if is_any {
        flags |= flags::ANY_PORT;
    }
    if choice.how & how::ONE_PACKET != 0 {
        flags |= flags::ONE_PACKET;
    }
    if choice.source != 0 {
        flags |= flags::FULL_NAT;
        if choice.how & how::TOLD != 0 {
            flags |= flags::UNTOLD;
        }
    }
    Connection {
        client: flow.source,
        service: flow.destination,
        backend: backend.address,
        client_port: flow.source_port,
        service_port: flow.destination_port,
        backend_port: port,
        protocol: flow.protocol as u8,
        flags,
        controlled: choice.source,
        ..Connection::zeroed()
    }
}
