//! One line for each decision, through aya-log. Only a program loaded for tracing gets here: for
//! all others the verifier knows that the global is zero and removes the calls.

use super::{frame::Buffer, globals, maps::TRACES, tables::Maps};
use crate::shell::Context;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use core::{net::Ipv6Addr, ptr::null_mut};
use lb_common::{address::Address, bucket::Direction};
use lb_ebpf::{
    Outcome, Tables as _,
    index::{self, Found},
    packet::{Flow, Packet},
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

/// A packet before it was rewritten, and afterwards what is known of its connection.
#[repr(C)]
pub struct Traced {
    packet: Packet,
    /// The backend, or of a reply the service.
    address: Address,
    port: u16,
    /// [`NO_CONNECTION`] where there is none.
    state: u8,
    is_reply: u8,
}

/// No state has this number.
const NO_CONNECTION: u8 = u8::MAX;

/// This CPU's.
#[inline(always)]
fn traced<'a>() -> Option<&'a mut Traced> {
    // SAFETY: the element is this CPU's, and one packet at a time is on it.
    TRACES.get_ptr_mut(0).map(|traced| unsafe { &mut *traced })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_trace_before(context: *mut Context) -> u32 {
    let Some(traced) = traced() else { return 0 };
    traced.packet.fill(&Buffer::of(context), &Maps { context: null_mut() }).is_ok() as u32
}

/// Finds the connection that the packet belonged to, or has opened. Whether the packet is to be told of.
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_trace_find() -> u32 {
    let Some(traced) = traced() else { return 0 };
    let flow = &traced.packet.flow;
    // A packet that was not understood has no addresses.
    if flow.destination == Address::UNSPECIFIED {
        return 0;
    }
    let maps = Maps { context: null_mut() };
    let Some(settings) = maps.settings() else { return 0 };
    let found = index::find(&maps, flow, index::hash(flow, settings));
    let is_wanted = is_wanted(flow, found.as_ref());
    traced.state = NO_CONNECTION;
    if let Some(found) = found {
        let connection = &found.connection;
        traced.state = found.word as u8;
        traced.is_reply = found.direction as u8;
        (traced.address, traced.port) = match found.direction {
            Direction::Forward => (connection.backend, connection.backend_port),
            Direction::Reply => (connection.service, connection.service_port),
        };
    }
    is_wanted as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_trace_after(reason: u32, interface: u32) -> u32 {
    // SAFETY: takes nothing.
    if unsafe { lb_trace_find() } == 0 {
        return 0;
    }
    let Some(traced) = traced() else { return 0 };
    let flow = &traced.packet.flow;
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
        traced.state,
        traced.is_reply,
        Ipv6Addr::from(traced.address.octets()),
        u16::from_be(traced.port)
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
