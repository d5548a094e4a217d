//! One line for each decision, through aya-log. Only a program loaded for tracing gets here: for
//! all others the verifier knows that the global is zero and removes the calls.

use super::{frame::Buffer, globals, maps::TRACED, tables::Maps};
use crate::shell::Context;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use core::{net::Ipv6Addr, ptr::null_mut};
use lb_common::{address::Address, bucket::Direction};
use lb_ebpf::{
    Outcome, Tables as _,
    index::{self, Found},
    packet::Flow,
};

/// Remembers the flow of a packet before it is rewritten.
#[inline(always)]
pub fn before(context: *mut Context) {
    // SAFETY: the context is the packet's.
    unsafe { lb_trace_before(context) };
}

/// Says what became of it.
#[inline(always)]
pub fn after(outcome: Outcome) {
    // SAFETY: takes plain numbers.
    unsafe { lb_trace_after(outcome.reason as u32, outcome.detail) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_trace_before(context: *mut Context) -> u32 {
    let Some(place) = TRACED.get_ptr_mut(0) else { return 0 };
    // SAFETY: the element is this CPU's.
    let packet = unsafe { &mut *place };
    packet.fill(&Buffer::of(context), &Maps { context: null_mut() }).is_ok() as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_trace_after(reason: u32, interface: u32) -> u32 {
    let Some(packet) = TRACED.get(0) else { return 0 };
    let flow = &packet.flow;
    // A packet that was not understood has no addresses.
    if flow.destination == Address::UNSPECIFIED {
        return 0;
    }
    let maps = Maps { context: null_mut() };
    let Some(settings) = maps.settings() else { return 0 };
    // The one that the packet belonged to, or has opened.
    let found = index::find(&maps, flow, index::hash(flow, settings));
    if !is_wanted(flow, found.as_ref()) {
        return 0;
    }
    let (state, address, port) = match &found {
        None => (u8::MAX, Address::UNSPECIFIED, 0),
        Some(Found { connection, word, direction: Direction::Forward, .. }) => {
            (*word as u8, connection.backend, connection.backend_port)
        }
        Some(Found { connection, word, direction: Direction::Reply, .. }) => {
            (*word as u8, connection.service, connection.service_port)
        }
    };
    let is_reply = found.is_some_and(|found| found.direction == Direction::Reply);
    info!(
        // aya-log looks at no context.
        &XdpContext::new(null_mut()),
        "{} {:i} {} {:i} {} {} {} {} {} {:i} {}",
        flow.protocol,
        Ipv6Addr::from(flow.source.octets()),
        u16::from_be(flow.source_port),
        Ipv6Addr::from(flow.destination.octets()),
        u16::from_be(flow.destination_port),
        reason,
        interface,
        state,
        is_reply as u8,
        Ipv6Addr::from(address.octets()),
        u16::from_be(port)
    );
    1
}

/// Whether a packet is of the client and the service that are asked for. A reply carries the backend's address;
/// its connection knows the service's.
#[inline(always)]
fn is_wanted(flow: &Flow, found: Option<&Found>) -> bool {
    let client = Address { words: bytemuck::cast(globals::TRACE_CLIENT.load()) };
    let service = Address { words: bytemuck::cast(globals::TRACE_SERVICE.load()) };
    let port = globals::TRACE_SERVICE_PORT.load();
    let (of, to, at) = match found {
        Some(found) => (found.connection.client, found.connection.service, found.connection.service_port),
        None => (flow.source, flow.destination, flow.destination_port),
    };
    (client == Address::UNSPECIFIED || client == of || client == flow.destination)
        && (service == Address::UNSPECIFIED || service == to || service == flow.source)
        && (port == 0 || port == at || port == flow.source_port)
}
