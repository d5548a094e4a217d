//! What connections tell each other of the neighbours that they send by.

use super::{FRESH, neighbour};
use crate::Tables;
use lb_common::{
    connection::NextHop,
    neighbour::{Vouch, vouch},
};

/// Whether another connection got the same answer a short time ago, and none has got a different one.
#[inline(always)]
pub fn is_vouched<T: Tables>(tables: &T, hop: &mut NextHop, now: u32) -> bool {
    // Nearly all packets of a busy connection find that one of the same tick has looked.
    if hop.was_vouched_at(now) {
        return true;
    }
    let is_vouched = tables.vouch(neighbour(hop).place()).is_some_and(|vouch| {
        now.wrapping_sub(vouch.checked) < FRESH
            && vouch.generation as u8 == hop.generation
            && hop.generation != vouch::NONE
    });
    if is_vouched {
        hop.vouched_at(now);
    }
    is_vouched
}

/// Tells the other connections what one that sent by `before` has heard just now. The generation that
/// counts for it.
#[inline(always)]
pub fn vouch<T: Tables>(tables: &T, before: &NextHop, after: &NextHop, now: u32) -> u8 {
    if before.interface != 0
        && !is_same(before, after)
        && let Some(vouch) = tables.vouch(neighbour(before).place())
        // Not when another has said so already.
        && vouch.generation as u8 == before.generation
    {
        vouch.generation = vouch.next();
    }
    if after.interface == 0 {
        return vouch::NONE;
    }
    let neighbour = neighbour(after);
    let Some(vouch) = tables.vouch(neighbour.place()) else { return vouch::NONE };
    if vouch.neighbour != neighbour {
        if now.wrapping_sub(vouch.checked) < FRESH {
            return vouch::NONE;
        }
        // Its neighbour is hardly used any more. Whoever still sends by it asks for itself.
        *vouch = Vouch { neighbour, checked: now, generation: vouch.next() };
    }
    vouch.checked = now;
    vouch.generation as u8
}

/// Whether two answers are the same, whenever they were given.
#[inline(always)]
fn is_same(before: &NextHop, after: &NextHop) -> bool {
    neighbour(before) == neighbour(after)
        && (before.source, before.mtu, before.exit) == (after.source, after.mtu, after.exit)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LASTING, counts, words},
        *,
    };
    use crate::host::{HostFrame, HostTables};
    use lb_common::{connection::exit, neighbour::Neighbour};
    use std::vec;

    /// An answer that a connection got at a tick, and told the others.
    fn heard(tables: &HostTables, before: &NextHop, host: u8, now: u32) -> NextHop {
        let destination = [2, 0, 0, 0, 0, host];
        let mut after =
            NextHop { interface: 7, destination, ticks: now, exit: exit::REDIRECT, ..NextHop::default() };
        after.generation = vouch(tables, before, &after, now);
        after
    }

    fn is_good(tables: &HostTables, hop: &NextHop, now: u32) -> bool {
        counts(&HostFrame::new(vec![]), tables, &mut hop.clone(), now)
    }

    #[test]
    fn an_answer_lasts_while_others_get_the_same() {
        let tables = HostTables::new(16, 16);
        let (none, start) = (NextHop::default(), 1000);
        let (first, mut second) = (heard(&tables, &none, 1, start), heard(&tables, &none, 1, start));
        assert!(is_good(&tables, &first, start + FRESH - 1));
        assert!(!is_good(&tables, &first, start + FRESH), "nobody has asked since");
        for now in (start..start + LASTING + FRESH).step_by(FRESH as usize - 1) {
            second = heard(&tables, &second, 1, now);
            assert_eq!(is_good(&tables, &first, now + 1), now + 1 < start + LASTING, "{now}");
        }
    }

    #[test]
    fn when_one_hears_of_another_neighbour_all_ask() {
        let tables = HostTables::new(16, 16);
        let (none, start) = (NextHop::default(), 1000);
        let (first, second) = (heard(&tables, &none, 1, start), heard(&tables, &none, 1, start));
        let later = start + FRESH;
        heard(&tables, &second, 2, later);
        assert!(!is_good(&tables, &first, later));
        let third = heard(&tables, &none, 1, later);
        assert!(!is_good(&tables, &first, later), "the third's answer is its own");
        let first = heard(&tables, &first, 1, later);
        heard(&tables, &third, 1, later + FRESH);
        assert!(is_good(&tables, &first, later + FRESH), "asked, and heard the same");
    }

    #[test]
    fn of_two_neighbours_in_one_place_the_busy_one_is_vouched_for() {
        let tables = HostTables::new(16, 16);
        let mac = |number: u32| [2, 0, 0, 0, (number >> 8) as u8, number as u8];
        let hop = |number, now| {
            let mut hop = NextHop {
                interface: 7,
                destination: mac(number),
                ticks: now,
                exit: exit::REDIRECT,
                ..NextHop::default()
            };
            hop.generation = vouch(&tables, &NextHop::default(), &hop, now);
            hop
        };
        let place = |number| Neighbour { interface: 7, mac: words(mac(number)), reserved: 0 }.place();
        let twin = (2..u32::from(u16::MAX)).find(|&number| place(number) == place(1)).unwrap();
        let (first, second) = (hop(1, 1000), hop(twin, 1000));
        hop(1, 1000 + FRESH - 1);
        hop(twin, 1000 + FRESH - 1);
        assert!(is_good(&tables, &first, 1000 + FRESH) && !is_good(&tables, &second, 1000 + FRESH));
        let second = hop(twin, 1000 + 3 * FRESH);
        hop(twin, 1000 + 4 * FRESH);
        assert!(is_good(&tables, &second, 1000 + 4 * FRESH), "the place was free");
        assert!(!is_good(&tables, &first, 1000 + 4 * FRESH));
    }

    #[test]
    fn a_connection_looks_once_a_tick() {
        let tables = HostTables::new(16, 16);
        let (none, start, later) = (NextHop::default(), 1000, 1000 + FRESH);
        let (mut first, second) = (heard(&tables, &none, 1, start), heard(&tables, &none, 1, start));
        let second = heard(&tables, &second, 1, later);
        let mut counts = |now| counts(&HostFrame::new(vec![]), &tables, &mut first, now);
        assert!(counts(later));
        heard(&tables, &second, 2, later);
        assert!(counts(later), "it has looked in this tick");
        assert!(!counts(later + 1));
    }
}
