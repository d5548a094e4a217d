//! The schedulers against IPVS: what it was recorded to do, and what its sources say.

use lb_common::{
    address::Address,
    backend::{ACTIVE, Backend, INACTIVE, Member, flags::OVERLOAD, state},
    limits::BACKENDS_PER_SERVICE,
    scheduler::{NO_BACKEND, Scheduler, Turn, flags},
    service::Service,
    time::ticks,
};
use lb_ebpf::{
    host::HostTables,
    plan::{Plan, plan, start},
    schedule::{Request, bound, choose, fold},
};
use proptest::prelude::*;
use std::net::IpAddr;

/// A balancer with one service, whose members are published as `lb-ctl` does.
struct Balancer {
    tables: HostTables,
    service: Service,
}

impl Balancer {
    fn new(scheduler: Scheduler, scheduler_flags: u8) -> Self {
        let service = Service { scheduler: scheduler as u8, scheduler_flags, ..Service::default() };
        Self { tables: HostTables::new(16, 8_192), service }
    }

    /// A service with backends of these weights, in the order of its list: the newest first.
    fn listed(scheduler: Scheduler, weights: &[u32]) -> Self {
        let mut balancer = Self::new(scheduler, 0);
        balancer.publish((0..).zip(weights).map(|(backend, &weight)| member(backend, weight)).collect());
        balancer
    }

    fn scheduler(&self) -> Scheduler {
        Scheduler::from_number(self.service.scheduler).unwrap()
    }

    fn members(&self) -> Vec<Member> {
        self.tables.members[self.service.first as usize..][..self.service.count as usize].to_vec()
    }

    fn publish(&mut self, members: Vec<Member>) {
        let known: Vec<_> = members
            .iter()
            .map(|&member| {
                let backend = self.backend(member.backend);
                (member, backend.address, backend.port)
            })
            .collect();
        let Plan { divisor, greatest, table } = plan(self.scheduler(), &known);
        let turn = Turn { word: self.tables.turns.at(self.service.id).unwrap().word };
        let old_members = self.members();
        let old = (self.service.generation != 0).then_some((&self.service, turn, &old_members[..]));
        let start = start(self.scheduler(), old, &members);
        self.service = Service {
            generation: self.service.generation + 1,
            first: self.tables.members.len() as u32,
            count: members.len() as u32,
            table: self.tables.lookup.len() as u32,
            divisor,
            greatest,
            start,
            ..self.service
        };
        self.tables.members.extend(members);
        self.tables.lookup.extend(table);
    }

    /// Adds a backend, which comes to the head of the list.
    fn add(&mut self, backend: u32, weight: u32) {
        let mut members = self.members();
        members.insert(0, member(backend, weight));
        self.publish(members);
    }

    fn edit(&mut self, position: usize, change: impl Fn(&mut Member)) {
        let mut members = self.members();
        change(&mut members[position]);
        self.publish(members);
    }

    fn remove(&mut self, position: usize) {
        let mut members = self.members();
        let removed = members.remove(position);
        self.backend(removed.backend).state = state::REMOVED;
        self.publish(members);
    }

    fn backend(&self, index: u32) -> &mut Backend {
        self.tables.backends.at(index).unwrap()
    }

    /// Active and inactive connections of a backend.
    fn set_connections(&self, index: u32, active: u64, inactive: u64) {
        self.backend(index).connections = active * ACTIVE + inactive * INACTIVE;
    }

    fn choose(&self, request: &Request) -> Option<Member> {
        let place = choose(&self.tables, &self.service, request)?;
        self.tables.members.get(place as usize).copied()
    }

    /// The backend that the next connection of a client goes to. It counts as what `counted` says.
    fn connect(&self, request: &Request, counted: u64) -> Option<u32> {
        let member = self.choose(request)?;
        let backend = self.backend(member.backend);
        backend.connections += counted;
        bound(&member, backend);
        Some(member.backend)
    }

    /// The backends of the next connections as letters, `-` for none. They are not counted.
    fn letters(&self, connections: usize) -> String {
        (0..connections)
            .map(|_| self.choose(&request()).map_or('-', |member| (b'A' + member.backend as u8) as char))
            .collect()
    }
}

fn member(backend: u32, weight: u32) -> Member {
    Member { backend, weight, last_weight: weight, ..Member::default() }
}

fn ip(octets: [u8; 4]) -> Address {
    IpAddr::from(octets).into()
}

fn request() -> Request {
    from(ip([192, 168, 2, 10]), 20_001)
}

fn from(client: Address, port: u16) -> Request {
    Request {
        client,
        destination: ip([192, 168, 2, 200]),
        client_port: port.to_be(),
        destination_port: 8080_u16.to_be(),
        reserved: 0,
    }
}

/// One line of the recording.
struct Recorded<'a> {
    line: &'a str,
    scheduler: Scheduler,
    flags: u8,
    service: &'a str,
    weights: Vec<u32>,
    pattern: &'a str,
    sources: &'a str,
    sequence: &'a str,
}

fn recorded() -> Vec<Recorded<'static>> {
    let lines = include_str!("recorded/sched.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap();
            let (scheduler, names) = (Scheduler::from_name(next()).unwrap(), next());
            Recorded {
                line,
                scheduler,
                flags: if names.contains("fallback") { flags::FALLBACK } else { 0 }
                    | if names.contains("port") { flags::PORT } else { 0 },
                service: next(),
                weights: next().split(':').map(|weight| weight.parse().unwrap()).collect(),
                pattern: next(),
                sources: next(),
                sequence: next(),
            }
        })
        .collect()
}

impl Recorded<'_> {
    /// The same service and the same connections here.
    fn replay(&self) -> String {
        let mut balancer = Balancer::new(self.scheduler, self.flags);
        for (backend, &weight) in (0..).zip(&self.weights) {
            let port = if self.service.starts_with("fwm") { 0 } else { 8080_u16 };
            *balancer.backend(backend) = Backend {
                address: ip([192, 168, 33, 111 + backend as u8]),
                port: port.to_be(),
                state: state::AVAILABLE,
                ..Backend::default()
            };
            balancer.add(backend, weight);
        }
        let mut open = [None; 60];
        let close = |backend: u32| {
            let backend = balancer.backend(backend);
            backend.connections = backend.connections - ACTIVE + INACTIVE;
        };
        let mut sequence = String::new();
        for number in 0..60 {
            if self.pattern == "A" && number == 30 {
                open.iter_mut().step_by(6).filter_map(Option::take).for_each(close);
            }
            let last = number as u8;
            let source = if self.sources == "many" { 20 + last } else { 10 };
            let mut request = from(ip([192, 168, 2, source]), 20_001 + number as u16);
            if self.service == "fwmd" {
                request.destination = ip([10, 9, 0, 1 + last]);
            }
            let counted = if self.service == "udp" { INACTIVE } else { ACTIVE };
            let backend = balancer.connect(&request, counted);
            if let Some(backend) = backend.filter(|_| self.service != "udp") {
                match self.pattern {
                    "C" => (),
                    "A" if number % 3 == 0 => open[number] = Some(backend),
                    _ => close(backend),
                }
            }
            sequence.push(backend.map_or('!', |backend| (b'1' + backend as u8) as char));
        }
        sequence
    }
}

#[test]
fn every_recorded_sequence_is_repeated() {
    let recorded: Vec<_> = recorded().into_iter().filter(|row| row.scheduler != Scheduler::Twos).collect();
    let wrong: Vec<String> = recorded
        .iter()
        .filter_map(|row| {
            let here = row.replay();
            (here != row.sequence).then(|| format!("{}\n  here: {here}", row.line))
        })
        .collect();
    assert_eq!(recorded.len(), 186);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}

#[test]
fn among_equals_the_backend_added_last_is_taken() {
    for scheduler in
        [Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed, Scheduler::Nq, Scheduler::Fo, Scheduler::Ovf]
    {
        assert_eq!(Balancer::listed(scheduler, &[1, 1, 1]).letters(1), "A", "{}", scheduler.name());
    }
}

#[test]
fn nobody_is_chosen_when_nobody_can_take_it() {
    for (scheduler, name) in Scheduler::NAMES {
        assert_eq!(Balancer::listed(scheduler, &[]).letters(1), "-", "{name} without backends");
        assert_eq!(Balancer::listed(scheduler, &[0, 0]).letters(1), "-", "{name} with weights of 0");
        let balancer = Balancer::listed(scheduler, &[1, 2]);
        for index in 0..2 {
            balancer.backend(index).flags = OVERLOAD;
            balancer.set_connections(index, 5, 5);
        }
        let mut balancer = balancer;
        for position in 0..2 {
            balancer.edit(position, |member| (member.upper, member.lower) = (10, 5));
        }
        assert_eq!(balancer.letters(1), "-", "{name} with everything overloaded");
    }
}

#[test]
fn the_only_backend_available_is_found_in_the_longest_list() {
    let last = BACKENDS_PER_SERVICE - 1;
    for (scheduler, name) in Scheduler::NAMES {
        if matches!(scheduler, Scheduler::Dh | Scheduler::Sh | Scheduler::Mh) {
            continue;
        }
        let mut weights = vec![0; last as usize];
        weights.push(1);
        let balancer = Balancer::listed(scheduler, &weights);
        for _ in 0..3 {
            assert_eq!(balancer.connect(&request(), 0), Some(last), "{name}");
        }
    }
}

#[test]
fn wrr_walks_down_the_levels() {
    // Weights in the order of the list.
    let vectors: [(&[u32], &str); 6] = [
        (&[4, 3, 2], "AABABCABC"),
        (&[3, 1], "AAAB"),
        (&[1, 3], "BBAB"),
        (&[2, 3, 4], "CBCABCABC"),
        (&[6, 4, 2], "AABABC"),
        (&[0, 5, 0], "BBBB"),
    ];
    for (weights, round) in vectors {
        let mut balancer = Balancer::listed(Scheduler::Wrr, weights);
        balancer.service.start = 0;
        assert_eq!(balancer.letters(3 * round.len()), round.repeat(3), "{weights:?}");
    }
}

#[test]
fn wrr_goes_back_to_the_head_at_an_edit_but_keeps_its_level() {
    let mut balancer = Balancer::listed(Scheduler::Wrr, &[4, 3, 2]);
    balancer.service.start = 0;
    assert_eq!(balancer.letters(3), "AAB");
    balancer.edit(2, |member| member.weight = 1);
    // At level 3 still, from the head.
    assert_eq!(balancer.letters(8), "ABABABCA");
    // No weight reaches level 4 any more, so the new highest counts.
    balancer.edit(0, |member| member.weight = 2);
    assert_eq!(balancer.letters(6), "BABABC");
}

#[test]
fn wrr_skips_a_level_that_only_an_overloaded_backend_reaches() {
    let mut balancer = Balancer::listed(Scheduler::Wrr, &[65_535, 2, 1]);
    balancer.edit(0, |member| member.upper = 1);
    balancer.set_connections(0, 1, 0);
    balancer.backend(0).flags = OVERLOAD;
    assert_eq!(balancer.letters(9), "BCBBCBBCB");
}

#[test]
fn rr_keeps_its_place_when_the_list_changes() {
    let mut balancer = Balancer::listed(Scheduler::Rr, &[1, 1, 1, 1]);
    assert_eq!(balancer.letters(2), "AB");
    balancer.add(4, 1);
    assert_eq!(balancer.letters(4), "CDEA");
    assert_eq!(balancer.letters(2), "BC");
    // C, used last, goes: the one before it counts.
    balancer.remove(3);
    assert_eq!(balancer.letters(4), "DEAB");
    balancer.edit(0, |member| member.weight = 0);
    assert_eq!(balancer.letters(4), "DABD");
    // Two edits without a connection between them.
    balancer.add(5, 1);
    balancer.edit(0, |member| member.weight = 7);
    assert_eq!(balancer.letters(4), "FABD");
}

#[test]
fn wlc_weighs_an_active_connection_as_257_inactive_ones() {
    let balancer = Balancer::listed(Scheduler::Wlc, &[1, 100]);
    balancer.set_connections(0, 3, 128);
    balancer.set_connections(1, 65_536, 7);
    assert_eq!(balancer.letters(1), "A");
    let balancer = Balancer::listed(Scheduler::Wlc, &[2, 1]);
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    let balancer = Balancer::listed(Scheduler::Wlc, &[1, 1]);
    balancer.set_connections(0, 1, 0);
    balancer.set_connections(1, 0, 256);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 0, 257);
    assert_eq!(balancer.letters(1), "A");
}

#[test]
fn a_load_beyond_32_bits_is_compared_right() {
    let balancer = Balancer::listed(Scheduler::Wlc, &[65_535, 65_534]);
    balancer.set_connections(0, u32::MAX.into(), u32::MAX.into());
    balancer.set_connections(1, u32::MAX.into(), u32::MAX.into());
    assert_eq!(balancer.letters(1), "A");
}

#[test]
fn nq_prefers_any_idle_backend_and_ovf_overflows_past_the_weight() {
    let balancer = Balancer::listed(Scheduler::Nq, &[100, 1]);
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 1, 0);
    assert_eq!(balancer.letters(1), "A");
    let balancer = Balancer::listed(Scheduler::Ovf, &[1, 2]);
    let chosen: Vec<_> = (0..6).map(|_| balancer.connect(&request(), ACTIVE)).collect();
    assert_eq!(chosen, [Some(1), Some(1), Some(1), Some(0), Some(0), None]);
}

#[test]
fn an_overloaded_backend_comes_back_below_the_lower_threshold() {
    // Upper and lower threshold, and the most connections with which it comes back.
    for (upper, lower, back) in [(10, 4, 3), (10, 0, 7), (4, 0, 2), (10, 10, 9)] {
        let mut balancer = Balancer::listed(Scheduler::Rr, &[1]);
        balancer.edit(0, |member| (member.upper, member.lower) = (upper, lower));
        for _ in 0..upper {
            assert_eq!(balancer.connect(&request(), INACTIVE), Some(0));
        }
        for total in (back + 1..=upper).rev() {
            balancer.set_connections(0, 0, total.into());
            assert_eq!(balancer.letters(1), "-", "-x {upper} -y {lower}, {total} connections");
        }
        balancer.set_connections(0, back.into(), 0);
        assert_eq!(balancer.letters(1), "A", "-x {upper} -y {lower}, {back} connections");
        // Once back, it is full at the upper threshold only.
        balancer.set_connections(0, 0, (upper - 1).into());
        assert_eq!(balancer.connect(&request(), ACTIVE), Some(0));
        assert_eq!(balancer.letters(1), "-");
        balancer.edit(0, |member| (member.upper, member.lower) = (0, 0));
        assert_eq!(balancer.letters(1), "A");
    }
}

#[test]
fn dh_and_sh_fill_their_buckets_in_the_order_of_the_list() {
    let members: Vec<_> =
        [3, 0, 1].iter().zip(0..).map(|(&weight, index)| (member(index, weight), ip([0; 4]), 0)).collect();
    assert_eq!(plan(Scheduler::Dh, &members).table[..7], [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(plan(Scheduler::Sh, &members).table[..7], [0, 0, 0, 1, 2, 0, 0]);
    for scheduler in [Scheduler::Dh, Scheduler::Sh, Scheduler::Mh] {
        let empty = plan(scheduler, &[]).table;
        assert_eq!(empty, vec![NO_BACKEND; scheduler.table_length() as usize], "{}", scheduler.name());
    }
}

#[test]
fn a_quiesced_backend_refuses_its_clients_unless_they_fall_back() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let clients = || (0..=255).map(|last| from(ip([10, 1, 2, last]), 40_000));
        let mut balancer = Balancer::listed(scheduler, &[1, 1, 1]);
        let before: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        balancer.edit(1, |member| member.weight = 0);
        let after: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        balancer.service.scheduler_flags = flags::FALLBACK;
        let falling_back: Vec<_> = clients().map(|client| balancer.connect(&client, 0)).collect();
        assert!(before.contains(&Some(1)));
        for ((before, after), falling_back) in before.iter().zip(after).zip(falling_back) {
            let expected = before.filter(|&index| index != 1);
            assert_eq!(after, expected, "{}", scheduler.name());
            assert!(if expected.is_some() { falling_back == expected } else { falling_back.is_some() });
        }
    }
}

#[test]
fn the_four_words_of_an_ipv6_address_are_hashed_as_one() {
    let address: IpAddr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
    assert_eq!(fold(address.into()), 0x2001_0db8 ^ 0x0001_0002 ^ 0x0003_0004 ^ 0x0005_0006);
    assert_eq!(fold(ip([192, 168, 2, 10])), 0xc0a8_020a);
}

#[test]
fn mh_gives_slots_by_weight() {
    // Weights, and the slots that each may have: at most 63 in turn, at least 1.
    for (weights, turns) in [([1, 1], [1, 1]), ([30, 10], [3, 1]), ([65_535, 1], [63, 1]), ([7, 0], [7, 0])] {
        let members: Vec<_> = [111, 112]
            .iter()
            .zip(weights)
            .zip(0..)
            .map(|((&last, weight), index)| {
                (member(index, weight), ip([192, 168, 33, last]), 8080_u16.to_be())
            })
            .collect();
        let table = plan(Scheduler::Mh, &members).table;
        let first = table.iter().filter(|&&position| position == 0).count() as u32;
        assert_eq!(first + table.iter().filter(|&&position| position == 1).count() as u32, 4_093);
        let round = turns[0] + turns[1];
        let expected = 4_093 / round * turns[0] + (4_093 % round).min(turns[0]);
        assert_eq!(first, expected, "{weights:?}");
    }
}

#[test]
fn mh_leaves_out_those_who_come_when_all_slots_are_taken() {
    let members: Vec<_> = (0..BACKENDS_PER_SERVICE)
        .map(|index| (member(index, 1), Address::from_ipv4((index + 1).to_be()), 0))
        .collect();
    let mut positions = plan(Scheduler::Mh, &members).table;
    positions.sort_unstable();
    assert!(positions.into_iter().eq(3..BACKENDS_PER_SERVICE));
}

#[test]
fn twos_draws_by_weight_and_takes_the_less_loaded() {
    let balancer = Balancer::listed(Scheduler::Twos, &[3, 0, 1]);
    let drawn = balancer.letters(4_000);
    let share = drawn.matches('A').count();
    // 0 and 1 of the 5 numbers both fall on the first: 4 of 5, and at equal loads the first stays.
    assert!((3_000..3_400).contains(&share), "{share}");
    assert!(!drawn.contains('B'));
    balancer.set_connections(0, 1_000, 0);
    let share = balancer.letters(4_000).matches('A').count();
    // Only where both draws fall on it: 16 of 25.
    assert!((2_400..2_720).contains(&share), "{share}");
}

#[test]
fn lblc_keeps_a_destination_for_a_day_and_across_edits() {
    let mut balancer = Balancer::listed(Scheduler::Lblc, &[1, 1]);
    assert_eq!(balancer.letters(1), "A");
    balancer.set_connections(0, 1, 9);
    balancer.add(2, 1);
    assert_eq!(balancer.letters(2), "AA");
    // The mark of overload is not asked for once a destination is known.
    balancer.backend(0).flags = OVERLOAD;
    balancer.edit(1, |member| member.upper = 5);
    assert_eq!(balancer.letters(1), "A");
    balancer.edit(1, |member| member.weight = 0);
    assert_eq!(balancer.letters(1), "C");
    balancer.edit(1, |member| member.weight = 1);
    balancer.set_connections(2, 1, 9);
    assert_eq!(balancer.letters(1), "C");
    balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400) - 1);
    assert_eq!(balancer.letters(1), "C");
    balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400));
    assert_eq!(balancer.letters(1), "B");
    balancer.remove(2);
    assert_eq!(balancer.letters(1), "C");
}

#[test]
fn lblcr_spreads_a_busy_destination_and_gathers_it_after_a_day() {
    let mut balancer = Balancer::listed(Scheduler::Lblcr, &[2, 2, 2]);
    assert_eq!(balancer.letters(2), "AA");
    balancer.set_connections(0, 3, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.set_connections(1, 3, 0);
    assert_eq!(balancer.letters(1), "C");
    // All three now. The least loaded of the set is taken, of equals the one that joined last.
    balancer.set_connections(2, 3, 0);
    assert_eq!(balancer.letters(2), "CC");
    balancer.set_connections(1, 2, 0);
    balancer.add(3, 2);
    balancer.set_connections(3, 1, 0);
    assert_eq!(balancer.letters(1), "B");
    balancer.remove(2);
    balancer.set_connections(0, 4, 0);
    assert_eq!(balancer.letters(1), "C");
    // A day without a change, but with use: the most loaded leaves, which is A.
    for _ in 0..2 {
        balancer.tables.now.set(balancer.tables.now.get() + ticks(86_400) - 1);
        balancer.letters(1);
    }
    balancer.set_connections(0, 1, 0);
    assert_eq!(balancer.letters(1), "C");
}

/// What IPVS's weighted round robin does, level by level as it does it.
struct Walk {
    last: usize,
    level: u32,
}

impl Walk {
    fn next(&mut self, weights: &[u32], available: &[bool]) -> Option<usize> {
        let top = weights.iter().max()? - (divisor(weights) - 1);
        let (start, first_level) = (self.last, self.level);
        let mut wraps = 0;
        loop {
            for position in self.last..weights.len() {
                if available[position] && weights[position] >= self.level {
                    self.last = position + 1;
                    return Some(position);
                }
            }
            self.last = 0;
            if self.level > divisor(weights) {
                self.level -= divisor(weights);
            } else {
                self.level = top;
                wraps += 1;
            }
            if wraps == 2 {
                if start != 0 && first_level <= divisor(weights) {
                    (self.last, self.level) = (start, first_level);
                }
                return None;
            }
        }
    }
}

fn divisor(weights: &[u32]) -> u32 {
    (1..)
        .take_while(|d| weights.iter().any(|w| w >= d))
        .filter(|d| weights.iter().all(|w| w % d == 0))
        .last()
        .unwrap_or(1)
}

proptest! {
    #[test]
    fn wrr_is_the_walk_down_the_levels(
        weights in prop::collection::vec(0_u32..12, 1..7),
        factor in 1_u32..4,
        masks in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let weights: Vec<u32> = weights.iter().map(|weight| weight * factor).collect();
        let mut balancer = Balancer::listed(Scheduler::Wrr, &weights);
        balancer.service.start = 0;
        for position in 0..weights.len() {
            balancer.edit(position, |member| member.upper = 1);
        }
        let top = weights.iter().max().unwrap() - (divisor(&weights) - 1);
        let mut walk = Walk { last: 0, level: top };
        balancer.service.start = 0;
        for mask in masks {
            // Most are available most of the time.
            let available: Vec<bool> = (0..weights.len()).map(|bit| mask & 0x80 == 0 || mask >> bit & 1 == 1).collect();
            for (index, &available) in (0..).zip(&available) {
                balancer.set_connections(index, u64::from(!available), 0);
                balancer.backend(index).flags = if available { 0 } else { OVERLOAD };
            }
            let here = balancer.choose(&request()).map(|member| member.backend as usize);
            prop_assert_eq!(here, walk.next(&weights, &available));
        }
    }

    #[test]
    fn wrr_stands_the_same_whether_added_one_by_one_or_at_once(weights in prop::collection::vec(0_u32..20, 0..8)) {
        let at_once = Balancer::listed(Scheduler::Wrr, &weights);
        let mut one_by_one = Balancer::new(Scheduler::Wrr, 0);
        for (index, &weight) in weights.iter().enumerate().rev() {
            one_by_one.add(index as u32, weight);
        }
        prop_assert_eq!(one_by_one.service.start, at_once.service.start);
        prop_assert_eq!(one_by_one.letters(30), at_once.letters(30));
    }

    #[test]
    fn rr_serves_every_available_backend_once_a_round(weights in prop::collection::vec(0_u32..3, 1..30)) {
        let balancer = Balancer::listed(Scheduler::Rr, &weights);
        let expected: Vec<u32> = (0..).zip(&weights).filter(|(_, weight)| **weight > 0).map(|(index, _)| index).collect();
        for _ in 0..3 {
            let round: Vec<u32> = expected.iter().filter_map(|_| balancer.connect(&request(), 0)).collect();
            prop_assert_eq!(&round, &expected);
        }
    }

    #[test]
    fn wlc_takes_the_first_of_the_least_loaded(
        backends in prop::collection::vec((0_u32..5, 0_u64..4, 0_u64..600), 1..20),
    ) {
        let weights: Vec<u32> = backends.iter().map(|(weight, ..)| *weight).collect();
        let balancer = Balancer::listed(Scheduler::Wlc, &weights);
        for (index, &(_, active, inactive)) in (0..).zip(&backends) {
            balancer.set_connections(index, active, inactive);
        }
        let load = |&(weight, active, inactive): &(u32, u64, u64)| (active * 257 + inactive) as f64 / f64::from(weight);
        let least = (0..).zip(&backends).filter(|(_, backend)| backend.0 > 0).min_by(|a, b| load(a.1).total_cmp(&load(b.1)));
        prop_assert_eq!(balancer.connect(&request(), 0), least.map(|(index, _)| index));
    }

    #[test]
    fn a_member_that_cannot_take_a_connection_is_never_chosen(
        scheduler in 0_usize..14,
        fallback in any::<bool>(),
        backends in prop::collection::vec((0_u32..4, any::<bool>(), 0_u64..9), 1..12),
        clients in prop::collection::vec(any::<[u8; 4]>(), 1..30),
    ) {
        let (scheduler, _) = Scheduler::NAMES[scheduler];
        let weights: Vec<u32> = backends.iter().map(|(weight, ..)| *weight).collect();
        let mut balancer = Balancer::listed(scheduler, &weights);
        balancer.service.scheduler_flags = if fallback { flags::FALLBACK } else { 0 };
        for (index, &(_, overloaded, active)) in (0..).zip(&backends) {
            balancer.set_connections(index, active, 0);
            if overloaded {
                balancer.backend(index).flags = OVERLOAD;
                balancer.edit(index as usize, |member| (member.upper, member.lower) = (1, 1));
                balancer.set_connections(index, active + 1, 0);
            }
        }
        for client in clients {
            let mut request = from(ip(client), 1);
            request.destination = ip(client);
            if let Some(chosen) = balancer.choose(&request) {
                prop_assert!(chosen.weight > 0);
                prop_assert!(!backends[chosen.backend as usize].1, "{} chose an overloaded one", scheduler.name());
            }
        }
    }
}
