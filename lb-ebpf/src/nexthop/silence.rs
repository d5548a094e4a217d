//! Next hops that do not tell their MAC address: who sends to a backend behind one is told so.
//!
//! The kernel would tell, too, but of the packet that it got, which carries the backend's address, so
//! that the client would not know what is meant. IPVS sees that error on its way out and translates it
//! (`ip_vs_out_icmp`); XDP does not.

use crate::Tables;
use lb_common::{address::Address, neighbour::Silence, time::ticks};

/// Ticks until a silence is told of: the kernel asks three times, a second apart, and gives up after
/// the third. A client's third SYN comes when three seconds are over.
const PATIENCE: u32 = ticks(5) / 2;
/// Ticks without a packet after which nobody knows whether there was silence all the time.
const GAP: u32 = ticks(8);

/// Whether the sender of a packet, for whose next hop the kernel knows no MAC address, is to be told. If
/// not, the packet is for the kernel, which asks for the address and keeps the packet meanwhile.
#[inline(always)]
pub fn is_told<T: Tables>(tables: &T, destination: Address, now: u32) -> bool {
    let Some(silence) = tables.silence(Silence::place(destination)) else { return false };
    let is_recent = now.wrapping_sub(silence.last) < GAP;
    if silence.destination != destination {
        if !is_recent || silence.destination == Address::UNSPECIFIED {
            *silence = Silence { destination, since: now, last: now, asked: now, answered: 0 };
        }
        return false;
    }
    if !is_recent {
        silence.since = now;
    }
    silence.last = now;
    // While there is silence, the kernel has to go on asking.
    let is_due = silence.answered != 0 && now.wrapping_sub(silence.asked) >= PATIENCE;
    if now.wrapping_sub(silence.since) < PATIENCE || is_due {
        silence.asked = now;
        silence.answered = 0;
        return false;
    }
    silence.answered = silence.answered.saturating_add(1);
    true
}

/// The next hop of a destination is known.
#[inline(always)]
pub fn end<T: Tables>(tables: &T, destination: Address) {
    if let Some(silence) = tables.silence(Silence::place(destination))
        && silence.destination == destination
    {
        silence.destination = Address::UNSPECIFIED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostTables;

    const SILENT: Address = Address { words: [1, 2] };

    /// What becomes of packets to one destination at these tenths of a second.
    fn told(tables: &HostTables, times: &[u32]) -> std::vec::Vec<bool> {
        times.iter().map(|tenths| is_told(tables, SILENT, 5_000 + ticks(*tenths) / 10)).collect()
    }

    #[test]
    fn who_repeats_is_told_once_the_kernel_has_asked_three_times() {
        let tables = HostTables::new(16, 16);
        assert_eq!(told(&tables, &[0, 10, 30]), [false, false, true]);
        // The kernel asks again, by a packet that is not answered.
        assert_eq!(told(&tables, &[31, 36, 37, 38, 61, 63]), [true, false, true, true, false, true]);
    }

    #[test]
    fn who_comes_seldom_is_told_every_other_time() {
        let tables = HostTables::new(16, 16);
        assert_eq!(told(&tables, &[0, 50, 100, 150]), [false, true, false, true]);
        assert_eq!(told(&tables, &[240, 250]), [false, false], "nobody knows what was meanwhile");
    }

    #[test]
    fn an_answer_ends_the_silence() {
        let tables = HostTables::new(16, 16);
        assert_eq!(told(&tables, &[0, 10]), [false, false]);
        end(&tables, SILENT);
        assert_eq!(told(&tables, &[30, 40, 54, 56]), [false, false, false, true]);
    }

    #[test]
    fn of_two_destinations_in_one_place_the_first_has_it() {
        let tables = HostTables::new(16, 16);
        let twin = (3..)
            .map(|word| Address { words: [1, word] })
            .find(|twin| Silence::place(*twin) == Silence::place(SILENT));
        let twin = twin.unwrap();
        assert_eq!(told(&tables, &[0, 10]), [false, false]);
        assert!(!is_told(&tables, twin, 5_000 + ticks(2)));
        end(&tables, twin);
        assert_eq!(told(&tables, &[30]), [true]);
        assert!(!is_told(&tables, twin, 5_000 + ticks(60)), "the place is free again");
        assert!(is_told(&tables, twin, 5_000 + ticks(63)));
    }
}
