//! The core that a measurement runs on.

use std::{mem::zeroed, thread::sleep, time::Duration};

/// From now on this thread runs on the last core, before all others that want it: what is measured must
/// not contain the work of other programs.
pub fn take() {
    // SAFETY: plain data, for which zero is a value; the calls read it and change this thread alone.
    unsafe {
        let mut cores: libc::cpu_set_t = zeroed();
        let last = libc::sysconf(libc::_SC_NPROCESSORS_ONLN) as usize - 1;
        libc::CPU_SET(last, &mut cores);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&cores), &cores), 0, "pinning to core {last}");
        let first = libc::sched_param { sched_priority: 10 };
        if libc::sched_setscheduler(0, libc::SCHED_FIFO, &first) != 0 {
            eprintln!("no real-time priority here: other programs will disturb the measurement");
        }
    }
}

/// Leaves the core to others for a while, so that the kernel need not take it away in the middle of a
/// measurement.
pub fn rest(after: Duration) {
    sleep(after / 10 + Duration::from_millis(1));
}
