//! Persistence (`-p`): a client's connections follow its first one (`ip_vs_sched_persist`).
//!
//! What is remembered of a client is its template: a slot of the connection table with the client's
//! masked address and port 0, which only this file looks for. It lives for the service's timeout from
//! the client's last new connection on, and as long as one of the connections that it controls. With a
//! persistence engine there is one for each of the client's calls.

use crate::{
    Reason, Tables, connection, index,
    open::Choice,
    packet::{Flow, Packet},
};
use lb_common::{
    address::Address,
    backend::state::AVAILABLE,
    bucket::Direction,
    connection::{
        Connection, NextHop, next_use,
        state::{ASSURED, DEAD, INVALID, TEMPLATE, is_template, is_valid_template},
        with_state,
    },
    service::Service,
    settings::Settings,
    sysctl::Sysctl,
    time::{remaining, ticks},
};

/// Ticks that a template gets when its time is over while it controls connections.
const AGAIN: u32 = ticks(60);
/// FTP's control port, network order.
pub const FTP: u16 = 21_u16.to_be();
/// Where the port of a template goes whose backend takes no more connections.
const NOWHERE: u16 = 0xffff;

/// What stands for all flows of a client to a service: its masked address, and no port where the
/// service is for more ports than one.
#[inline(always)]
pub fn key(service: &Service, flow: &Flow) -> Flow {
    let is_own_port = flow.destination_port == service.key.port && service.key.port != FTP;
    let is_marked = service.key.mark != 0;
    Flow {
        source: flow.source.masked(service.mask),
        destination: if is_marked { mark(service.key.mark, flow.source) } else { flow.destination },
        source_port: 0,
        destination_port: if is_own_port { flow.destination_port } else { 0 },
        protocol: if is_marked { 0 } else { flow.protocol },
    }
}

/// A firewall mark in the place of an address, as IPVS keeps it.
#[inline(always)]
fn mark(mark: u32, client: Address) -> Address {
    let raw = mark.to_be();
    if client.is_ipv4() { Address::from_ipv4(raw) } else { Address::from_first(raw) }
}

#[inline(always)]
fn hash(key: &Flow, call: u64, settings: &Settings) -> u64 {
    index::hash(key, settings) ^ call
}

/// The choice that a client's template has made already, and holds the template. Its `template` is 0
/// where there is none.
#[inline(always)]
pub fn follow<T: Tables>(tables: &T, packet: &Packet, call: u64) -> Result<Choice, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let service = tables.record(packet.service).ok_or(Reason::NotBalanced)?;
    let key = key(service, &packet.flow);
    let mut choice = Choice::default();
    let Some(found) = index::find_template(tables, &key, call, hash(&key, call, settings)) else {
        return Ok(choice);
    };
    let now = tables.now();
    let template = found.connection;
    if remaining(template.expires, now) <= 0 {
        if template.controlled == 0 {
            invalidate(tables, found.slot, found.word);
            return Ok(choice);
        }
        template.template = AGAIN;
    }
    let backend = template.backend_index;
    let is_there = tables.backend(backend).is_some_and(|backend| backend.state == AVAILABLE);
    let place = place(tables, service, backend);
    let Some(member) = tables.member(place).filter(|_| is_there) else {
        invalidate(tables, found.slot, found.word);
        return Ok(choice);
    };
    if member.weight == 0 && settings.sysctl(Sysctl::ExpireQuiescentTemplate) != 0 {
        invalidate(tables, found.slot, found.word);
        return Ok(choice);
    }
    if hold(tables, template, found.word) {
        template.expires = now.wrapping_add(template.template);
        choice.member = place;
        choice.template = found.slot + 1;
    }
    Ok(choice)
}

/// Where a backend's member lies in the service's list; beyond the map when it is not there.
#[inline(always)]
fn place<T: Tables>(tables: &T, service: &Service, backend: u32) -> u32 {
    let Some(&[one, other]) = tables.places(backend) else { return u32::MAX };
    // The other is of a version that is not published yet, and perhaps never will be, or no longer.
    let is_right = |place: u32| {
        place.wrapping_sub(service.first) < service.count
            && tables.member(place).is_some_and(|member| member.backend == backend)
    };
    match (is_right(one), is_right(other)) {
        (true, _) => one,
        (_, true) => other,
        _ => u32::MAX,
    }
}

/// Makes the template of a client whose connection goes to a member, and holds it. Its slot, from 1.
#[inline(always)]
pub fn begin<T: Tables>(tables: &T, packet: &Packet, call: u64, member: u32) -> Result<u32, Reason> {
    let settings = tables.settings().ok_or(Reason::NoServices)?;
    let service = tables.record(packet.service).ok_or(Reason::NotBalanced)?;
    let member = tables.member(member).ok_or(Reason::NoBackend)?;
    let backend = tables.backend(member.backend).ok_or(Reason::NoBackend)?;
    let slot = tables.take_slot().ok_or(Reason::TableFull)?;
    let template = tables.connection(slot).ok_or(Reason::TableFull)?;
    let key = key(service, &packet.flow);
    template.client = key.source;
    template.service = key.destination;
    template.backend = backend.address;
    template.client_port = 0;
    template.service_port = key.destination_port;
    template.backend_port = if key.destination_port == 0 { 0 } else { backend.port };
    template.protocol = key.protocol as u8;
    template.flags = member.method as u8;
    template.to_backend = NextHop::default();
    template.to_client = Connection::keeping_call(call);
    template.backend_index = member.backend;
    template.template = ticks(service.persistence);
    template.controlled = 1;
    template.expires = tables.now().wrapping_add(template.template);
    let word = next_use(template.word, TEMPLATE);
    template.word = word;
    tables.add32(&mut backend.persistent, 1);
    let hash = hash(&key, call, settings);
    if !index::insert(tables, hash, slot, Direction::Forward) {
        template.controlled = 0;
        end(tables, slot, word);
        return Err(Reason::TableFull);
    }
    // Two CPUs may have made one at once: the one found first stays, as with connections.
    if let Some(first) = index::find_template(tables, &key, call, hash)
        && first.slot != slot
        && hold(tables, first.connection, first.word)
    {
        template.controlled = 0;
        end(tables, slot, word);
        return Ok(first.slot + 1);
    }
    Ok(slot + 1)
}

/// Counts one more connection that a template controls. `false` when the template has ended.
#[inline(always)]
fn hold<T: Tables>(tables: &T, template: &mut Connection, word: u64) -> bool {
    tables.add32(&mut template.controlled, 1);
    // After the count, so that either this or `expire` sees the other. The same word is put back.
    let is_held = match tables.compare_exchange(&mut template.word, word, word) {
        Ok(()) => true,
        Err(now) => now >> 8 == word >> 8 && is_template(now),
    };
    if !is_held {
        tables.add32(&mut template.controlled, 1u32.wrapping_neg());
    }
    is_held
}

/// Counts one connection less that a template controls; `template` is its slot from 1, 0 is none.
#[inline(always)]
pub fn release<T: Tables>(tables: &T, template: u32) {
    if template != 0
        && let Some(template) = tables.connection(template - 1)
    {
        tables.add32(&mut template.controlled, 1u32.wrapping_neg());
    }
}

/// Notes that a connection which a template controls was established; `template` as for [`release`].
#[inline(always)]
pub fn assure<T: Tables>(tables: &T, template: u32) {
    if template != 0
        && let Some(template) = tables.connection(template - 1)
    {
        let word = template.word;
        if is_template(word) {
            // Lost against another CPU it is noted with the next connection.
            let _ = tables.compare_exchange(&mut template.word, word, word | ASSURED as u64);
        }
    }
}

/// Takes a template out of the index whose backend takes no more connections: the client gets
/// another one, and this one lives on for the connections that it controls (`ip_vs_check_template`).
#[inline(always)]
fn invalidate<T: Tables>(tables: &T, slot: u32, word: u64) {
    let Some(settings) = tables.settings() else { return };
    let Some(template) = tables.connection(slot) else { return };
    if tables.compare_exchange(&mut template.word, word, word | INVALID as u64).is_err() {
        return;
    }
    let hash = hash(&connection::forward_flow(template), template.call(), settings);
    index::remove(tables, hash, slot, Direction::Forward);
    template.service_port = NOWHERE;
    template.backend_port = NOWHERE;
}

/// Ends a template whose time is over, or gives it more while it controls connections. Called by the
/// sweep alone.
#[inline(always)]
pub fn expire<T: Tables>(tables: &T, slot: u32, word: u64, now: u32) {
    let Some(template) = tables.connection(slot) else { return };
    if template.controlled != 0 || !end(tables, slot, word) {
        template.template = AGAIN;
        template.expires = now.wrapping_add(AGAIN);
    }
}

/// Ends a template that controls nothing; `false` when it does.
#[inline(always)]
fn end<T: Tables>(tables: &T, slot: u32, word: u64) -> bool {
    let Some(settings) = tables.settings() else { return true };
    let Some(template) = tables.connection(slot) else { return true };
    if tables.compare_exchange(&mut template.word, word, with_state(word, DEAD)).is_err() {
        return false;
    }
    // A packet that has found it counts first and then looks at the word; see `hold`. Read by an
    // addition, which no compiler leaves out.
    if tables.add32(&mut template.controlled, 0) != 0 {
        let _ = tables.compare_exchange(&mut template.word, with_state(word, DEAD), word);
        return false;
    }
    if let Some(backend) = tables.backend(template.backend_index) {
        tables.add32(&mut backend.persistent, 1u32.wrapping_neg());
    }
    if is_valid_template(word) {
        let hash = hash(&connection::forward_flow(template), template.call(), settings);
        index::remove(tables, hash, slot, Direction::Forward);
    }
    true
}
