//! One line for each decision, through aya-log. Only a program loaded for tracing gets here: for
//! all others the verifier knows that the global is zero and removes the calls.

use super::{frame::Buffer, globals, maps::TRACED, tables::Maps};
use crate::shell::Context;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use core::{net::Ipv6Addr, ptr::null_mut};
use lb_common::address::Address;
use lb_ebpf::{Outcome, packet::Flow};

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
    if flow.destination == Address::UNSPECIFIED || !is_wanted(flow) {
        return 0;
    }
    info!(
        // aya-log looks at no context.
        &XdpContext::new(null_mut()),
        "{} {:i} {} {:i} {} {} {}",
        flow.protocol,
        Ipv6Addr::from(flow.source.octets()),
        u16::from_be(flow.source_port),
        Ipv6Addr::from(flow.destination.octets()),
        u16::from_be(flow.destination_port),
        reason,
        interface
    );
    1
}

#[inline(always)]
fn is_wanted(flow: &Flow) -> bool {
    let client = Address { words: bytemuck::cast(globals::TRACE_CLIENT.load()) };
    let service = Address { words: bytemuck::cast(globals::TRACE_SERVICE.load()) };
    let port = globals::TRACE_SERVICE_PORT.load();
    // A reply carries the backend's address, not the service's: with a client it is still found.
    (client == Address::UNSPECIFIED || client == flow.source || client == flow.destination)
        && (service == Address::UNSPECIFIED || service == flow.destination || service == flow.source)
        && (port == 0 || port == flow.destination_port || port == flow.source_port)
}
