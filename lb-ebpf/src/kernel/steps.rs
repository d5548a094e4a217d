//! The steps off the main road as global functions of BPF: each is verified once, by itself, with
//! nothing known of its arguments but their types.
//!
//! Such a function returns a number, and takes pointers that may be null as far as the verifier
//! knows.

mod functions;
mod packed;

use super::tables::Maps;
use functions::*;
use lb_common::service::Service;
use lb_ebpf::{
    Frame, Outcome, Reason, Steps,
    answer::Answer,
    connection::Tracked,
    nexthop::Exit,
    open::Choice,
    packet::{Flow, Packet},
    schedule::weigh::Weigh,
};
use packed::*;

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
    fn choose(&self, service: &Service, flow: &Flow) -> Option<u32> {
        position(unsafe { lb_choose(service, flow) })
    }

    #[inline(always)]
    fn next_turn(&self, service: &Service, word: u64) -> u64 {
        unsafe { lb_next_turn(service, word) }
    }

    #[inline(always)]
    fn lightest_of_few(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        position(unsafe { lb_lightest_of_few(service, weigh.bits()) })
    }

    #[inline(always)]
    fn lightest_of_blocks(&self, service: &Service, weigh: Weigh) -> Option<u32> {
        position(unsafe { lb_lightest_of_blocks(service, weigh.bits()) })
    }

    #[inline(always)]
    fn look_into_block(&self, service: &Service, block: u32, weigh: Weigh) -> u32 {
        unsafe { lb_look_into_block(service, block, weigh.bits()) }
    }

    #[inline(always)]
    fn look_into_group(&self, service: &Service, group: u32, weigh: Weigh) -> u32 {
        unsafe { lb_look_into_group(service, group, weigh.bits()) }
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
    fn create_plain(&self, packet: &Packet, member: u32) -> Result<u32, Reason> {
        result(unsafe { lb_create_plain(packet, member) })
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
