//! The steps off the main road as global functions of BPF: each is verified once, by itself, with
//! nothing known of its arguments but their types.
//!
//! Such a function returns a number, and takes pointers that may be null as far as the verifier
//! knows.

use super::{frame::XdpFrame, tables::Maps};
use aya_ebpf::bindings::xdp_md;
use core::ptr::null_mut;
use lb_common::{scheduler::NO_BACKEND, service::Service};
use lb_ebpf::{
    Frame, Outcome, Reason, Steps,
    answer::{self, Answer},
    icmp, open,
    packet::Packet,
    schedule::{self, Request},
};

impl Steps for Maps {
    #[inline(always)]
    fn parse<F: Frame>(&self, _frame: &F) -> Result<Packet, Reason> {
        let mut packet = Packet::default();
        // SAFETY: the context is the packet's; the same holds for every call here.
        match unsafe { lb_parse(self.context, &mut packet) } {
            FINE => Ok(packet),
            failed => Err(reason(failed)),
        }
    }

    #[inline(always)]
    fn open(&self, packet: &Packet, hash: u64) -> Result<u32, Reason> {
        let mut slot = 0;
        match unsafe { lb_open(packet, hash, &mut slot) } {
            FINE => Ok(slot),
            failed => Err(reason(failed)),
        }
    }

    #[inline(always)]
    fn choose(&self, service: &Service, request: &Request) -> u32 {
        unsafe { lb_choose(service, request) }
    }

    #[inline(always)]
    fn icmp<F: Frame>(&self, _frame: &mut F, packet: &Packet) -> Outcome {
        unpack(unsafe { lb_icmp(self.context, packet) })
    }

    #[inline(always)]
    fn answer<F: Frame>(&self, _frame: &mut F, packet: &Packet, answer: Answer, mtu: u16) -> Outcome {
        unpack(unsafe { lb_answer(self.context, packet, answer as u32, mtu as u32) })
    }
}

/// What a step returns that did not fail; a step that did returns the number of its reason.
const FINE: u32 = u32::MAX;

#[inline(always)]
fn reason(number: u32) -> Reason {
    Reason::from_number(number).unwrap_or(Reason::Raced)
}

#[inline(always)]
fn pack(outcome: Outcome) -> u64 {
    (outcome.interface as u64) << 32 | outcome.reason as u64
}

#[inline(always)]
fn unpack(packed: u64) -> Outcome {
    Outcome { reason: reason(packed as u32), interface: (packed >> 32) as u32 }
}

/// Maps for a step that routes nothing.
const UNROUTED: Maps = Maps { context: null_mut() };

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_parse(context: *mut xdp_md, packet: *mut Packet) -> u32 {
    // SAFETY: valid unless null, here and below.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    match packet.fill(&XdpFrame::of(context), &UNROUTED) {
        Ok(()) => FINE,
        Err(reason) => reason as u32,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_open(packet: *const Packet, hash: u64, slot: *mut u32) -> u32 {
    let (Some(packet), Some(place)) = (unsafe { (packet.as_ref(), slot.as_mut()) }) else {
        return Reason::Raced as u32;
    };
    match open::open(&UNROUTED, packet, hash) {
        Ok(slot) => {
            *place = slot;
            FINE
        }
        Err(reason) => reason as u32,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_choose(service: *const Service, request: *const Request) -> u32 {
    match unsafe { (service.as_ref(), request.as_ref()) } {
        (Some(service), Some(request)) => schedule::position(&UNROUTED, service, request),
        _ => NO_BACKEND,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_icmp(context: *mut xdp_md, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(icmp::handle(&mut XdpFrame::of(context), &Maps { context }, packet))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_answer(context: *mut xdp_md, packet: *const Packet, answer: u32, mtu: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(answer::send(&mut XdpFrame::of(context), &UNROUTED, packet, Answer::from_number(answer), mtu as u16))
}
