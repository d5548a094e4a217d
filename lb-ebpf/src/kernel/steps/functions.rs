//! The steps as BPF sees them.

use super::packed::*;
use crate::{
    kernel::{frame::Buffer, tables::Maps},
    shell::Context,
};
use core::{hint::black_box, ptr::null_mut};
use lb_common::{scheduler::NO_BACKEND, service::Service};
use lb_ebpf::{
    Reason, Tables as _, accept,
    answer::{self, Answer},
    arrival,
    checksum::crc32c,
    connection::{self, Tracked},
    forward::{self, plain, toa},
    icmp, mark, nexthop,
    open::{self, Choice},
    packet::{Flow, Packet},
    persistence,
    schedule::{self, lightest, locality, weigh::Weigh},
    sip, snat,
};

/// Maps for a step that routes nothing.
const UNROUTED: Maps = Maps { context: null_mut() };

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_parse(context: *mut Context, packet: *mut Packet) -> u32 {
    // SAFETY: valid unless null, here and below.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    exit_code(packet.fill(&Buffer::of(context), &UNROUTED))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_check_arrival(context: *mut Context, packet: *const Packet, now: u32) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u32 };
    exit_code(arrival::check(&Buffer::of(context), &Maps { context }, packet, now))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_mark(packet: *const Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    mark::of(&UNROUTED, packet)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_schedule(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return FAILED | Reason::Raced as u64 };
    pack_choice(open::schedule(&Buffer::of(context), &Maps { context }, packet))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_choose(service: *const Service, flow: *const Flow) -> u32 {
    let (Some(service), Some(flow)) = (unsafe { (service.as_ref(), flow.as_ref()) }) else {
        return NO_BACKEND;
    };
    schedule::choose(&UNROUTED, service, flow).unwrap_or(NO_BACKEND)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_next_turn(service: *const Service, word: u64) -> u64 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    schedule::next_turn(&UNROUTED, service, word)
}

// The compiler would find these four short enough to be repeated wherever they are called.
#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_lightest_of_few(service: *const Service, weigh: u64) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return NO_BACKEND };
    lightest::of_few(&UNROUTED, service, Weigh::from_bits(weigh)).unwrap_or(NO_BACKEND)
}

#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_lightest_of_blocks(service: *const Service, weigh: u64) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return NO_BACKEND };
    lightest::of_blocks(&UNROUTED, service, Weigh::from_bits(weigh)).unwrap_or(NO_BACKEND)
}

#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_look_into_block(service: *const Service, block: u32, weigh: u64) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    lightest::look_into_block(&UNROUTED, service, block, Weigh::from_bits(weigh))
}

#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_look_into_group(service: *const Service, group: u32, weigh: u64) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    lightest::look_into_group(&UNROUTED, service, group, Weigh::from_bits(weigh))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_recall(service: *const Service, flow: *const Flow) -> u32 {
    let (Some(service), Some(flow)) = (unsafe { (service.as_ref(), flow.as_ref()) }) else {
        return NO_BACKEND;
    };
    locality::known(&UNROUTED, service, flow).unwrap_or(NO_BACKEND)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_learn(service: *const Service, flow: *const Flow, chosen: u32) -> u32 {
    if let (Some(service), Some(flow)) = unsafe { (service.as_ref(), flow.as_ref()) } {
        locality::learn(&UNROUTED, service, flow, chosen);
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_call(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    sip::call(&Buffer::of(context), &UNROUTED, packet).unwrap_or(0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_follow(packet: *const Packet, call: u64) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return FAILED | Reason::Raced as u64 };
    pack_choice(persistence::follow(&UNROUTED, packet, call))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_begin(packet: *const Packet, call: u64, member: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(persistence::begin(&UNROUTED, packet, call, member))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_create(packet: *const Packet, packed: u64, source: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(connection::create(&UNROUTED, packet, Choice { source, ..unpack_choice(packed) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_create_plain(packet: *const Packet, member: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(accept::create(&UNROUTED, packet, member))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_take_source(packet: *const Packet, packed: u64) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(snat::take(&UNROUTED, packet, unpack_choice(packed)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_is_known(packet: *const Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    connection::is_known(&UNROUTED, packet) as u32
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_end(slot: u32, word: u64) -> u32 {
    connection::end(&UNROUTED, slot, word);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_track(packet: *const Packet, now: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(connection::track(&UNROUTED, packet, now).map(Tracked::code))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_track_quoted(context: *mut Context, packet: *mut Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u64 };
    pack_result(icmp::track(&Buffer::of(context), &UNROUTED, packet).map(Tracked::code))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_restore(context: *mut Context, packet: *mut Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    exit_code(icmp::restore(&Buffer::of(context), packet))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_refresh(
    context: *mut Context,
    packet: *const Packet,
    code: u32,
    now: u32,
) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u32 };
    exit_code(nexthop::refresh(
        &Buffer::of(context),
        &Maps { context },
        packet,
        Tracked::from_code(code),
        now,
    ))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_tell(context: *mut Context, packet: *mut Packet, code: u32, number: u32) -> u32 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    // With tc it does not matter how the packet leaves. The compiler would pass nothing; the verifier minds.
    let exit = exit(black_box(number));
    exit_code(toa::insert(&mut Buffer::of(context), &UNROUTED, packet, Tracked::from_code(code), exit))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_forward(
    context: *mut Context,
    packet: *const Packet,
    code: u32,
    number: u32,
) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(forward::forward(
        &mut Buffer::of(context),
        &UNROUTED,
        packet,
        Tracked::from_code(code),
        exit(number),
    ))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_forward_plain(context: *mut Context, packet: *const Packet, code: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    let Tracked { slot, direction } = Tracked::from_code(code);
    let Some(connection) = UNROUTED.connection(slot) else { return LEFT };
    plain::forward(&mut Buffer::of(context), &UNROUTED, packet, connection, direction).map_or(LEFT, pack)
}

#[inline(never)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_update_crc(field: u32, old: u32, new: u32, length: u32) -> u32 {
    crc32c::update(field, old, new, length)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_translate(
    context: *mut Context,
    packet: *const Packet,
    code: u32,
    number: u32,
) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(icmp::translate(&mut Buffer::of(context), &UNROUTED, packet, Tracked::from_code(code), exit(number)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_unwrap(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(icmp::unwrap(&mut Buffer::of(context), packet))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_answer(
    context: *mut Context,
    packet: *const Packet,
    answer: u32,
    mtu: u32,
) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(answer::send(&mut Buffer::of(context), &UNROUTED, packet, Answer::from_number(answer), mtu))
}
