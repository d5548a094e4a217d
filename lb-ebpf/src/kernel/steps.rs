//! The steps off the main road as global functions of BPF: each is verified once, by itself, with
//! nothing known of its arguments but their types.
//!
//! Such a function returns a number, and takes pointers that may be null as far as the verifier
//! knows.

use super::{frame::Buffer, tables::Maps};
use crate::shell::Context;
use core::{hint::black_box, ptr::null_mut};
use lb_common::{scheduler::NO_BACKEND, service::Service};
use lb_ebpf::{
    Frame, Outcome, Reason, Steps,
    answer::{self, Answer},
    arrival,
    checksum::crc32c,
    connection::{self, Tracked},
    forward::{self, plain, toa},
    icmp, mark, nexthop,
    nexthop::Exit,
    open::{self, Choice},
    packet::{Flow, Packet},
    persistence,
    schedule::{
        self,
        lightest::{self, Weigh},
        locality,
    },
    sip, snat,
};

impl Steps for Maps {
    #[inline(always)]
    fn fill<F: Frame>(&self, _frame: &F, packet: &mut Packet) -> Result<(), Reason> {
        // SAFETY: the context is the packet's; the same holds for every call here.
        exit(unsafe { lb_parse(self.context, packet) })
    }

    #[inline(always)]
    fn check_arrival<F: Frame>(&self, _frame: &F, packet: &Packet, now: u32) -> Result<(), Reason> {
        exit(unsafe { lb_check_arrival(self.context, packet, now) })
    }

    #[inline(always)]
    fn mark(&self, packet: &Packet) -> u32 {
        unsafe { lb_mark(packet) }
    }

    #[inline(always)]
    fn schedule<F: Frame>(&self, _frame: &F, packet: &Packet) -> Result<Choice, Reason> {
        choice(unsafe { lb_schedule(self.context, packet) })
    }

    #[inline(always)]
    fn next_turn(&self, service: &Service, word: u64) -> u64 {
        unsafe { lb_next_turn(service, word) }
    }

    #[inline(always)]
    fn lightest_of_few(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        position(unsafe { lb_lightest_of_few(service, weigh as u32) })
    }

    #[inline(always)]
    fn lightest_of_blocks(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        position(unsafe { lb_lightest_of_blocks(service, weigh as u32) })
    }

    #[inline(always)]
    fn look_into_block(&self, service: &Service, block: u32, weigh: Weigh) -> u32 {
        unsafe { lb_look_into_block(service, block, weigh as u32) }
    }

    #[inline(always)]
    fn look_into_group(&self, service: &Service, group: u32, weigh: Weigh) -> u32 {
        unsafe { lb_look_into_group(service, group, weigh as u32) }
    }

    #[inline(always)]
    fn recall(&self, service: &Service, flow: &Flow) -> Option<u32> {
        position(unsafe { lb_recall(service, flow) })
    }

    #[inline(always)]
    fn learn(&self, service: &Service, flow: &Flow, chosen: u32) {
        unsafe { lb_learn(service, flow, chosen) };
    }

    #[inline(always)]
    fn call<F: Frame>(&self, _frame: &F, packet: &Packet) -> Result<u64, Reason> {
        match unsafe { lb_call(self.context, packet) } {
            0 => Err(Reason::NoCall),
            digest => Ok(digest),
        }
    }

    #[inline(always)]
    fn follow(&self, packet: &Packet, call: u64) -> Result<Choice, Reason> {
        choice(unsafe { lb_follow(packet, call) })
    }

    #[inline(always)]
    fn begin(&self, packet: &Packet, call: u64, member: u32) -> Result<u32, Reason> {
        result(unsafe { lb_begin(packet, call, member) })
    }

    #[inline(always)]
    fn take_source(&self, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
        result(unsafe { lb_take_source(packet, pack_choice(Ok(choice))) })
    }

    #[inline(always)]
    fn create(&self, packet: &Packet, choice: Choice) -> Result<u32, Reason> {
        result(unsafe { lb_create(packet, pack_choice(Ok(choice)), choice.source) })
    }

    #[inline(always)]
    fn is_known(&self, packet: &Packet) -> bool {
        unsafe { lb_is_known(packet) != 0 }
    }

    #[inline(always)]
    fn end(&self, slot: u32, word: u64) {
        unsafe { lb_end(slot, word) };
    }

    #[inline(always)]
    fn track(&self, packet: &Packet, now: u32) -> Result<Tracked, Reason> {
        result(unsafe { lb_track(packet, now) }).map(Tracked::from_code)
    }

    #[inline(always)]
    fn track_quoted<F: Frame>(&self, _frame: &F, packet: &mut Packet) -> Result<Tracked, Reason> {
        result(unsafe { lb_track_quoted(self.context, packet) }).map(Tracked::from_code)
    }

    #[inline(always)]
    fn restore<F: Frame>(&self, _frame: &F, packet: &mut Packet) -> Result<(), Reason> {
        exit(unsafe { lb_restore(self.context, packet) })
    }

    #[inline(always)]
    fn refresh<F: Frame>(&self, _frame: &F, packet: &Packet, tracked: Tracked, now: u32) -> Exit {
        exit(unsafe { lb_refresh(self.context, packet, tracked.code(), now) })
    }

    #[inline(always)]
    fn tell<F: Frame>(
        &self,
        _frame: &mut F,
        packet: &mut Packet,
        tracked: Tracked,
        exit: Exit,
    ) -> Result<(), Reason> {
        self::exit(unsafe { lb_tell(self.context, packet, tracked.code(), exit_code(exit)) })
    }

    #[inline(always)]
    fn forward<F: Frame>(&self, _frame: &mut F, packet: &Packet, tracked: Tracked, exit: Exit) -> Outcome {
        unpack(unsafe { lb_forward(self.context, packet, tracked.code(), exit_code(exit)) })
    }

    #[inline(always)]
    fn forward_plain<F: Frame>(&self, _frame: &mut F, packet: &Packet, tracked: Tracked) -> Option<Outcome> {
        match unsafe { lb_forward_plain(self.context, packet, tracked.code()) } {
            LEFT => None,
            packed => Some(unpack(packed)),
        }
    }

    #[inline(always)]
    fn update_crc(&self, field: u32, old: u32, new: u32, length: u32) -> u32 {
        unsafe { lb_update_crc(field, old, new, length) }
    }

    #[inline(always)]
    fn translate<F: Frame>(&self, _frame: &mut F, packet: &Packet, tracked: Tracked, exit: Exit) -> Outcome {
        unpack(unsafe { lb_translate(self.context, packet, tracked.code(), exit_code(exit)) })
    }

    #[inline(always)]
    fn unwrap<F: Frame>(&self, _frame: &mut F, packet: &Packet) -> Outcome {
        unpack(unsafe { lb_unwrap(self.context, packet) })
    }

    #[inline(always)]
    fn answer<F: Frame>(&self, _frame: &mut F, packet: &Packet, answer: Answer, mtu: u32) -> Outcome {
        unpack(unsafe { lb_answer(self.context, packet, answer as u32, mtu) })
    }
}

/// What a step returns that did not fail, or stands above what it returns; a step that failed
/// returns the number of its reason.
const FINE: u32 = u32::MAX;

#[inline(always)]
fn reason(number: u32) -> Reason {
    Reason::from_number(number).unwrap_or(Reason::Raced)
}

#[inline(always)]
fn exit(number: u32) -> Exit {
    if number == FINE { Ok(()) } else { Err(reason(number)) }
}

#[inline(always)]
fn exit_code(exit: Exit) -> u32 {
    match exit {
        Ok(()) => FINE,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn result(packed: u64) -> Result<u32, Reason> {
    if (packed >> 32) as u32 == FINE { Ok(packed as u32) } else { Err(reason(packed as u32)) }
}

#[inline(always)]
fn pack_result(result: Result<u32, Reason>) -> u64 {
    match result {
        Ok(value) => (FINE as u64) << 32 | value as u64,
        Err(reason) => reason as u64,
    }
}

#[inline(always)]
fn position(number: u32) -> Option<u32> {
    if number == NO_BACKEND { None } else { Some(number) }
}

/// A choice that was not made stands above the number of its reason; it is no slot of a template.
const FAILED: u64 = (u32::MAX as u64) << 32;

/// A choice without its source: the template, eight bits of how, and the member, of which there are less than 2^24.
#[inline(always)]
fn pack_choice(choice: Result<Choice, Reason>) -> u64 {
    match choice {
        Ok(choice) => (choice.template as u64) << 32 | (choice.how as u64) << 24 | choice.member as u64,
        Err(reason) => FAILED | reason as u64,
    }
}

#[inline(always)]
fn unpack_choice(packed: u64) -> Choice {
    let (member, how) = (packed as u32 & 0xff_ffff, packed as u32 >> 24);
    Choice { member, template: (packed >> 32) as u32, how, source: 0 }
}

#[inline(always)]
fn choice(packed: u64) -> Result<Choice, Reason> {
    if packed >= FAILED { Err(reason(packed as u32)) } else { Ok(unpack_choice(packed)) }
}

#[inline(always)]
fn pack(outcome: Outcome) -> u64 {
    (outcome.detail as u64) << 32 | outcome.reason as u64
}

#[inline(always)]
fn unpack(packed: u64) -> Outcome {
    Outcome { reason: reason(packed as u32), detail: (packed >> 32) as u32 }
}

/// No outcome.
const LEFT: u64 = u64::MAX;

/// Maps for a step that routes nothing.
const UNROUTED: Maps = Maps { context: null_mut() };

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_parse(context: *mut Context, packet: *mut Packet) -> u32 {
    // SAFETY: valid unless null, here and below.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    exit_code(packet.fill(&Buffer::of(context), &UNROUTED))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_check_arrival(context: *mut Context, packet: *const Packet, now: u32) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u32 };
    exit_code(arrival::check(&Buffer::of(context), &Maps { context }, packet, now))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_mark(packet: *const Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    mark::of(&UNROUTED, packet)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_schedule(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return FAILED | Reason::Raced as u64 };
    pack_choice(open::schedule(&Buffer::of(context), &Maps { context }, packet))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_next_turn(service: *const Service, word: u64) -> u64 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    schedule::next_turn(&UNROUTED, service, word)
}

// The compiler would find these four short enough to be repeated wherever they are called.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_lightest_of_few(service: *const Service, weigh: u32) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return NO_BACKEND };
    lightest::of_few(&UNROUTED, service, Weigh::from_number(weigh)).unwrap_or(NO_BACKEND)
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_lightest_of_blocks(service: *const Service, weigh: u32) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return NO_BACKEND };
    lightest::of_blocks(&UNROUTED, service, Weigh::from_number(weigh)).unwrap_or(NO_BACKEND)
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_look_into_block(service: *const Service, block: u32, weigh: u32) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    lightest::look_into_block(&UNROUTED, service, block, Weigh::from_number(weigh))
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_look_into_group(service: *const Service, group: u32, weigh: u32) -> u32 {
    let Some(service) = (unsafe { service.as_ref() }) else { return 0 };
    lightest::look_into_group(&UNROUTED, service, group, Weigh::from_number(weigh))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_recall(service: *const Service, flow: *const Flow) -> u32 {
    let (Some(service), Some(flow)) = (unsafe { (service.as_ref(), flow.as_ref()) }) else {
        return NO_BACKEND;
    };
    locality::known(&UNROUTED, service, flow).unwrap_or(NO_BACKEND)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_learn(service: *const Service, flow: *const Flow, chosen: u32) -> u32 {
    if let (Some(service), Some(flow)) = unsafe { (service.as_ref(), flow.as_ref()) } {
        locality::learn(&UNROUTED, service, flow, chosen);
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_call(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    sip::call(&Buffer::of(context), &UNROUTED, packet).unwrap_or(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_follow(packet: *const Packet, call: u64) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return FAILED | Reason::Raced as u64 };
    pack_choice(persistence::follow(&UNROUTED, packet, call))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_begin(packet: *const Packet, call: u64, member: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(persistence::begin(&UNROUTED, packet, call, member))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_create(packet: *const Packet, packed: u64, source: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(connection::create(&UNROUTED, packet, Choice { source, ..unpack_choice(packed) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_take_source(packet: *const Packet, packed: u64) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(snat::take(&UNROUTED, packet, unpack_choice(packed)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_is_known(packet: *const Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
    connection::is_known(&UNROUTED, packet) as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_end(slot: u32, word: u64) -> u32 {
    connection::end(&UNROUTED, slot, word);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_track(packet: *const Packet, now: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack_result(connection::track(&UNROUTED, packet, now).map(Tracked::code))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_track_quoted(context: *mut Context, packet: *mut Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u64 };
    pack_result(icmp::track(&Buffer::of(context), &UNROUTED, packet).map(Tracked::code))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_restore(context: *mut Context, packet: *mut Packet) -> u32 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    exit_code(icmp::restore(&Buffer::of(context), packet))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_refresh(context: *mut Context, packet: *const Packet, code: u32, now: u32) -> u32 {
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
unsafe extern "C" fn lb_tell(context: *mut Context, packet: *mut Packet, code: u32, number: u32) -> u32 {
    let Some(packet) = (unsafe { packet.as_mut() }) else { return Reason::Raced as u32 };
    // With tc it does not matter how the packet leaves. The compiler would pass nothing; the verifier minds.
    let exit = exit(black_box(number));
    exit_code(toa::insert(&mut Buffer::of(context), &UNROUTED, packet, Tracked::from_code(code), exit))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_forward(context: *mut Context, packet: *const Packet, code: u32, number: u32) -> u64 {
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
unsafe extern "C" fn lb_forward_plain(context: *mut Context, packet: *const Packet, code: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    let frame = &mut Buffer::of(context);
    plain::forward(frame, &UNROUTED, packet, Tracked::from_code(code)).map_or(LEFT, pack)
}

#[inline(never)]
#[unsafe(no_mangle)]
unsafe extern "C" fn lb_update_crc(field: u32, old: u32, new: u32, length: u32) -> u32 {
    crc32c::update(field, old, new, length)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_translate(
    context: *mut Context,
    packet: *const Packet,
    code: u32,
    number: u32,
) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(icmp::translate(&mut Buffer::of(context), &UNROUTED, packet, Tracked::from_code(code), exit(number)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_unwrap(context: *mut Context, packet: *const Packet) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(icmp::unwrap(&mut Buffer::of(context), packet))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn lb_answer(context: *mut Context, packet: *const Packet, answer: u32, mtu: u32) -> u64 {
    let Some(packet) = (unsafe { packet.as_ref() }) else { return Reason::Raced as u64 };
    pack(answer::send(&mut Buffer::of(context), &UNROUTED, packet, Answer::from_number(answer), mtu))
}
