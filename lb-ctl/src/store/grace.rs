//! Waiting for packets that still look at what has been replaced.

use std::{thread::sleep, time::Duration};

/// Returns once every packet that was in the packet path when this was called has left it.
///
/// `membarrier(MEMBARRIER_CMD_GLOBAL)` is `synchronize_rcu()` by another name, and an XDP program
/// runs inside one RCU read-side section. A kernel with `nohz_full` CPUs refuses it; there we wait
/// a thousand times as long as a packet takes.
pub fn wait() {
    // SAFETY: no pointers are passed.
    let status = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if status != 0 {
        sleep(Duration::from_millis(50));
    }
}
