//! Time in the packet path: the kernel's jiffies in 32 bits. They follow `CLOCK_MONOTONIC`, from another start.

/// One tick is 2^24 ns (16.8 ms) of jiffies. 32 bits of it wrap every 2.3 years, so instants are only ever
/// compared through [`remaining`].
pub const TICK_SHIFT: u32 = 24;

/// Ticks in `seconds`, rounded up, so that nothing ends early.
pub const fn ticks(seconds: u32) -> u32 {
    ((seconds as u64 * 1_000_000_000).div_ceil(1 << TICK_SHIFT)) as u32
}

/// Seconds in `ticks`, rounded down.
pub const fn seconds(ticks: u32) -> u32 {
    (((ticks as u64) << TICK_SHIFT) / 1_000_000_000) as u32
}

/// The tick of an instant, which is so many nanoseconds in jiffies.
#[inline(always)]
pub const fn tick_of(nanoseconds: u64) -> u32 {
    (nanoseconds >> TICK_SHIFT) as u32
}

/// Ticks from `now` until `expires`; zero or less once it has passed. Right across the wrap for
/// distances below 1.1 years; the longest timeout (persistence) is 31 days.
#[inline(always)]
pub const fn remaining(expires: u32, now: u32) -> i32 {
    expires.wrapping_sub(now) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_round_up_and_back_to_the_same_second() {
        for s in [0, 1, 2, 10, 60, 120, 300, 900, 31 * 86_400] {
            assert_eq!(seconds(ticks(s)), s);
        }
    }

    #[test]
    fn remaining_survives_the_wrap() {
        assert_eq!(remaining(5, u32::MAX - 4), 10);
        assert_eq!(remaining(u32::MAX - 4, 5), -10);
    }
}
