//! One line for each decision, through aya-log. Only a program loaded for tracing gets here: for
//! all others the verifier knows that the global is zero and removes the call.

use super::{frame::XdpFrame, globals, tables::Maps};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use core::net::Ipv6Addr;
use lb_common::address::Address;
use lb_ebpf::{
    Outcome, handle,
    packet::{Flow, Packet},
};

/// Handles a packet and says what became of it.
#[inline(always)]
pub fn traced(context: &XdpContext, frame: &mut XdpFrame, maps: &Maps) -> Outcome {
    // Before the packet is rewritten.
    let flow = Packet::parse(frame, maps).map(|packet| packet.flow);
    let outcome = handle(frame, maps);
    if let Ok(flow) = flow
        && is_wanted(&flow)
    {
        info!(
            context,
            "{} {:i} {} {:i} {} {} {}",
            flow.protocol,
            Ipv6Addr::from(flow.source.octets()),
            u16::from_be(flow.source_port),
            Ipv6Addr::from(flow.destination.octets()),
            u16::from_be(flow.destination_port),
            outcome.reason as u8,
            outcome.interface
        );
    }
    outcome
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
