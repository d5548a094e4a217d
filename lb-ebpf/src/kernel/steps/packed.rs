//! What steps return, in a number.

use lb_common::scheduler::NO_BACKEND;
use lb_ebpf::{Outcome, Reason, nexthop::Exit, open::Choice};

/// What a step returns that did not fail, or stands above what it returns; a step that failed
/// returns the number of its reason.
pub const FINE: u32 = u32::MAX;

#[inline(always)]
pub fn reason(number: u32) -> Reason {
    Reason::from_number(number).unwrap_or(Reason::Raced)
}

#[inline(always)]
pub fn exit(number: u32) -> Exit {
    if number == FINE { Ok(()) } else { Err(reason(number)) }
}

#[inline(always)]
pub fn exit_code(exit: Exit) -> u32 {
    match exit {
        Ok(()) => FINE,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
pub fn result(packed: u64) -> Result<u32, Reason> {
    if (packed >> 32) as u32 == FINE { Ok(packed as u32) } else { Err(reason(packed as u32)) }
}

#[inline(always)]
pub fn pack_result(result: Result<u32, Reason>) -> u64 {
    match result {
        Ok(value) => (FINE as u64) << 32 | value as u64,
        Err(reason) => reason as u64,
    }
}

#[inline(always)]
pub fn position(number: u32) -> Option<u32> {
    if number == NO_BACKEND { None } else { Some(number) }
}

/// A choice that was not made stands above the number of its reason; it is no slot of a template.
pub const FAILED: u64 = (u32::MAX as u64) << 32;

/// A choice without its source: the template, eight bits of how, and the member, of which there are less than 2^24.
#[inline(always)]
pub fn pack_choice(choice: Result<Choice, Reason>) -> u64 {
    match choice {
        Ok(choice) => (choice.template as u64) << 32 | (choice.how as u64) << 24 | choice.member as u64,
        Err(reason) => FAILED | reason as u64,
    }
}

#[inline(always)]
pub fn unpack_choice(packed: u64) -> Choice {
    let (member, how) = (packed as u32 & 0xff_ffff, packed as u32 >> 24);
    Choice { member, template: (packed >> 32) as u32, how, source: 0 }
}

#[inline(always)]
pub fn choice(packed: u64) -> Result<Choice, Reason> {
    if packed >= FAILED { Err(reason(packed as u32)) } else { Ok(unpack_choice(packed)) }
}

#[inline(always)]
pub fn pack(outcome: Outcome) -> u64 {
    (outcome.detail as u64) << 32 | outcome.reason as u64
}

#[inline(always)]
pub fn unpack(packed: u64) -> Outcome {
    Outcome { reason: reason(packed as u32), detail: (packed >> 32) as u32 }
}

/// No outcome.
pub const LEFT: u64 = u64::MAX;
