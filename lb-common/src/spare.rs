//! Free slots of the connection table that a CPU has set aside, so that it does not meet the others for each new
//! connection.

use bytemuck::{Pod, Zeroable};

/// The most slots that a CPU sets aside; a power of two.
pub const SPARES: usize = 16;

/// The slots that a CPU has set aside, the next one last.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Spares {
    /// How many there are.
    pub count: u32,
    /// Their numbers; meaningless from `count` on.
    pub slots: [u32; SPARES],
}

/// How many slots each of `cpus` CPUs sets aside at a time. A table of `connections` may be called full while as many as
/// that are free for each of the other CPUs: at most a 1,024th part of it.
pub const fn spares(connections: u32, cpus: u32) -> u32 {
    let share = connections / cpus / 1024;
    if share < 1 {
        1
    } else if share > SPARES as u32 {
        SPARES as u32
    } else {
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_sets_none_aside_before_they_are_needed() {
        assert_eq!(spares(16, 300), 1);
        assert_eq!(spares(4_095, 2), 1);
        assert_eq!(spares(4_096, 2), 2);
        assert_eq!(spares(1 << 20, 2), 16);
    }
}
