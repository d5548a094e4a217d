//! The kernel's side of the two traits, and the timer.

mod bare;
pub mod frame;
pub mod globals;
pub mod maps;
mod route;
mod spare;
pub mod steps;
pub mod sweep;
pub mod tables;
pub mod trace;

use frame::Buffer;
use lb_common::stage::Stage;
use lb_ebpf::{Next, shortcut};
use tables::Maps;

/// What `balance` does with a packet. What is traced goes through the stages, which do the same: there is stack for it.
/// Before Linux 6.8 a call needs its stack even where it is never made, so that `balance` has none.
#[inline(always)]
pub fn begin(frame: &mut Buffer, maps: &Maps) -> Next {
    match globals::TRACE.load() {
        0 => shortcut::handle(frame, maps),
        _ => Next::Stage(Stage::Find),
    }
}
