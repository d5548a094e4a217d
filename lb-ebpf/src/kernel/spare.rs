//! Slots that this CPU has set aside for its next connections.

use super::{
    globals, maps,
    tables::{Maps, element},
};
use core::arch::asm;
use lb_common::spare::{SPARES, Spares};
use lb_ebpf::Tables as _;

impl Maps {
    /// Sets free slots aside for this CPU: some that were given back, else some that nobody has used yet.
    #[inline(never)]
    pub fn set_aside(&self, spares: &mut Spares) {
        let wanted = globals::SPARE_SLOTS.load();
        // Not through `each`, here and below: there is no stack for its callback.
        for _ in 0..wanted {
            match maps::FREE.pop() {
                Ok(Some(slot)) => put_aside(spares, slot),
                _ => break,
            }
        }
        if spares.count != 0 {
            return;
        }
        let Some(table) = element!(maps::TABLE.get_ptr_mut(0)) else { return };
        let Some(limit) = self.settings().map(|settings| settings.connections as u64) else { return };
        // Looked at before it is raised, so that a full table does not count on for ever.
        if table.used >= limit {
            return;
        }
        let first = self.add(&mut table.used, wanted as u64);
        // The last one first, so that they are used in their order.
        for step in 1..=wanted {
            let slot = first + (wanted - step) as u64;
            if slot < limit {
                put_aside(spares, slot as u32);
            }
        }
    }
}

#[inline(always)]
fn put_aside(spares: &mut Spares, slot: u32) {
    *last(spares) = slot;
    spares.count += 1;
}

/// The place behind those that are set aside: once their number is taken down by one, that of the last.
#[inline(always)]
pub fn last(spares: &mut Spares) -> &mut u32 {
    let mut index = spares.count as usize;
    // Changes nothing, as long as no more are set aside than there is room for; the verifier needs to see it.
    // SAFETY: touches nothing but the register.
    unsafe { asm!("{0} &= {mask}", inout(reg) index, mask = const SPARES - 1) };
    // SAFETY: in bounds.
    unsafe { spares.slots.get_unchecked_mut(index) }
}
