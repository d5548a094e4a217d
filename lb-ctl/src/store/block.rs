//! Blocks of long member lists, in which the packet path remembers the best member
//! (`lb-ebpf/src/schedule/lightest.rs`).
//!
//! A backend knows the block of one version of its service only. So before any backend gets another block, the
//! packet path is told to look at whole lists, and afterwards that the new version's blocks are kept.
//! Whoever is killed in between leaves a service that is slower, not wrong.

use super::Store;
use lb_common::{
    backend::Member,
    block::{Block, FALL, MEMBERS, group, has_groups},
    scheduler::{Scheduler, Turn},
    service::Service,
};
use lb_ebpf::plan::{blocks_kept, has_blocks};
use std::{
    ptr::addr_of_mut,
    sync::atomic::{AtomicU64, Ordering::SeqCst, fence},
};

impl Store {
    /// Gives the members of a version that is about to be published their blocks.
    pub(super) fn prepare_blocks(&mut self, record: &Service, scheduler: Scheduler, members: &[Member]) {
        if !has_blocks(scheduler, members.len()) {
            return;
        }
        self.turns.set(record.id, Turn::default());
        fence(SeqCst);
        let first = record.first / MEMBERS;
        for number in first..first + record.count.div_ceil(MEMBERS) {
            self.blocks.set(number, Block::UNKNOWN);
            // Elsewhere it may be another list's.
            if has_groups(record.count) {
                self.blocks.set(group(number), Block::UNKNOWN);
            }
        }
        for (position, member) in (0..).zip(members) {
            let number = (first + position / MEMBERS + 1) as u16;
            // SAFETY: the pointer is to a live element; one aligned half-word that only lb-ctl writes.
            unsafe { addr_of_mut!((*self.backends.pointer(member.backend)).block).write_volatile(number) }
        }
        fence(SeqCst);
    }

    /// Says that the blocks of a published version are kept.
    pub(super) fn keep_blocks(&mut self, record: &Service, scheduler: Scheduler) {
        if has_blocks(scheduler, record.count as usize) {
            fence(SeqCst);
            self.turns.set(record.id, blocks_kept(record.generation));
        }
    }

    /// Whether a killed command left the blocks of a published version without use.
    pub(super) fn lacks_blocks(&self, record: &Service, scheduler: Scheduler) -> bool {
        has_blocks(scheduler, record.count as usize)
            && self.turns.get(record.id) != blocks_kept(record.generation)
    }

    /// Makes the packet path look anew at the block of a backend, and then at the block's group.
    pub(super) fn mark_changed(&self, slot: u32) {
        let Some(block) = u32::from(self.backends.get(slot).block).checked_sub(1) else { return };
        for number in [block, group(block)].into_iter().filter(|number| *number < self.blocks.len()) {
            // SAFETY: the pointer is to a live element; the packet path, too, adds to it.
            unsafe { AtomicU64::from_ptr(addr_of_mut!((*self.blocks.pointer(number)).changes)) }
                .fetch_add(FALL, SeqCst);
        }
    }
}
