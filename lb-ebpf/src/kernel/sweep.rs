//! The timer of the sweep: connections expire and rates move without any process of ours.

use super::{
    maps::{self, Sweep},
    tables::Maps,
};
use aya_ebpf::helpers::{
    bpf_map_lookup_percpu_elem, bpf_timer_cancel, bpf_timer_init, bpf_timer_set_callback, bpf_timer_start,
};
use core::{ffi::c_void, ptr};
use lb_common::{
    backend::state,
    hint,
    settings::Table,
    sysctl::Sysctl,
    time::{remaining, ticks},
    traffic::{Rates, Traffic},
};
use lb_ebpf::{
    Tables,
    sweep::{self, Visit},
};

/// Slots visited by one run of the timer: packets wait so long on its CPU, a tenth of a millisecond at most, so that it
/// stays below a whole one where neighbours slow memory down severalfold.
const CHUNK: u32 = 1024;
/// Connections ended by one run, for the same reason: an end costs far more than a look.
const ENDS: u32 = 256;
/// Backends visited by one run; each costs a look at every CPU's counters.
const BACKENDS: u32 = 1024;
/// Nanoseconds between two rounds over a small table.
const ROUND: u64 = 250_000_000;
/// The least nanoseconds between two runs; a large table's round takes longer instead.
const PAUSE: u64 = 1_000_000;
/// The same after a run that had to stop short: waiting packets are let through, and no more.
const BREATH: u64 = 300_000;
/// `CLOCK_MONOTONIC`.
const MONOTONIC: u64 = 1;
/// More CPUs than any kernel has; the loop ends at the first that is missing.
const CPUS: u32 = 8192;

/// Starts the timer with this program's callback, whether or not another program's was there.
#[inline(always)]
pub fn arm() -> bool {
    let Some(place) = maps::SWEEP.get_ptr_mut(0) else { return false };
    let map: *mut c_void = ptr::from_ref(&maps::SWEEP).cast_mut().cast();
    // SAFETY: the element holds the timer, and the callback has the signature of a timer's.
    unsafe {
        let timer = ptr::from_mut(&mut (*place).timer);
        // Fails when it has been initialized before, which is as good.
        bpf_timer_init(timer, map, MONOTONIC);
        bpf_timer_set_callback(timer, run as *mut c_void) == 0 && bpf_timer_start(timer, PAUSE, 0) == 0
    }
}

/// Stops the timer.
#[inline(always)]
pub fn disarm() -> bool {
    let Some(place) = maps::SWEEP.get_ptr_mut(0) else { return false };
    // SAFETY: the element holds the timer.
    unsafe { bpf_timer_cancel(ptr::from_mut(&mut (*place).timer)) >= 0 }
}

/// One run: a piece of the connection table, a piece of the backends, and the next start.
unsafe extern "C" fn run(_map: *mut c_void, _key: *mut u32, sweep: *mut Sweep) -> i32 {
    let mut pause = ROUND;
    let maps = Maps { context: ptr::null_mut() };
    if let Some(table) = maps::TABLE.get_ptr_mut(0) {
        // SAFETY: the element is there; packets touch only `used`, by atomic addition.
        let table = unsafe { &mut *table };
        let now = maps.now();
        pause = expire(&maps, table, now);
        estimate(&maps, table, now);
    }
    // SAFETY: the timer is the one that called.
    unsafe { bpf_timer_start(ptr::from_mut(&mut (*sweep).timer), pause, 0) };
    0
}

/// Visits the next slots; nanoseconds until the next run.
#[inline(always)]
fn expire(maps: &Maps, table: &mut Table, now: u32) -> u64 {
    let Some(settings) = maps::SETTINGS.get_ptr_mut(0) else { return ROUND };
    // SAFETY: the element is there; lb-ctl writes other words of it, each by itself.
    let settings = unsafe { &mut *settings };
    let used =
        if table.used < settings.connections as u64 { table.used as u32 } else { settings.connections };
    let start = table.cursor;
    let (mut next, mut ends) = (start, 0);
    maps.each(CHUNK, |step| {
        let slot = start + step;
        if slot >= used {
            return false;
        }
        next = slot + 1;
        match sweep::visit(maps, slot, now) {
            Visit::Live => table.counted += 1,
            Visit::Ended => ends += 1,
            Visit::Idle => {}
        }
        ends < ENDS
    });
    if next >= used {
        table.cursor = 0;
        table.rounds += 1;
        table.live = table.counted;
        table.counted = 0;
        settings.defense = sweep::defense(settings, table);
        settings.hint_mask = hint::mask(settings.hint_mask, table.live);
    } else {
        table.cursor = next;
    }
    if ends == ENDS {
        return BREATH;
    }
    let pause = ROUND / (used / CHUNK + 1) as u64;
    if pause > PAUSE { pause } else { PAUSE }
}

/// Estimates the rates of the next backends, when two seconds have passed since the last start.
#[inline(always)]
fn estimate(maps: &Maps, table: &mut Table, now: u32) {
    let backends = table.backends;
    let start = table.estimated;
    let is_on = maps.settings().is_some_and(|settings| settings.sysctl(Sysctl::RunEstimation) != 0);
    if start == 0 {
        if remaining(table.estimate_due, now) > 0 {
            return;
        }
        let due = table.estimate_due.wrapping_add(ticks(2));
        // After a long silence (the first run, a suspended machine) it does not catch up.
        table.estimate_due = if remaining(due, now) > 0 { due } else { now.wrapping_add(ticks(2)) };
    }
    maps.each(BACKENDS, |step| {
        let index = start + step;
        if index >= backends {
            return false;
        }
        let Some(backend) = maps.backend(index) else { return false };
        if backend.state == state::FREE {
            return true;
        }
        let Some(rates) = maps::RATES.get_ptr_mut(index) else { return false };
        let total = total(maps, index);
        // SAFETY: the element is there, and only this timer writes it.
        let rates = unsafe { &mut *rates };
        if is_on {
            sweep::estimate(rates, &total);
        } else {
            *rates = Rates { last: total, ..Rates::default() };
        }
        true
    });
    table.estimated = if start + BACKENDS >= backends { 0 } else { start + BACKENDS };
}

/// A backend's traffic over all CPUs.
#[inline(always)]
fn total(maps: &Maps, index: u32) -> Traffic {
    let mut total = Traffic::default();
    let map: *mut c_void = ptr::from_ref(&maps::TRAFFIC).cast_mut().cast();
    maps.each(CPUS, |cpu| {
        // SAFETY: the helper gives null or that CPU's element.
        let place = unsafe { bpf_map_lookup_percpu_elem(map, ptr::from_ref(&index).cast(), cpu) };
        let Some(traffic) = (unsafe { place.cast::<Traffic>().as_ref() }) else { return false };
        total.connections += traffic.connections;
        total.packets_in += traffic.packets_in;
        total.packets_out += traffic.packets_out;
        total.bytes_in += traffic.bytes_in;
        total.bytes_out += traffic.bytes_out;
        true
    });
    total
}
