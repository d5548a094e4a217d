//! What this project set out to reach, each beside what was measured.

use serde::Serialize;

use super::{
    Part,
    row::{Row, spread},
};

/// A bar.
#[derive(Serialize)]
pub struct Bar {
    pub measure: String,
    /// What today's best peer reaches.
    pub peer: &'static str,
    pub wanted: f64,
    /// Whether less is better.
    pub at_most: bool,
    pub unit: &'static str,
    /// None where it was not measured, or not validly.
    pub value: Option<f64>,
    /// What stands in the way, measured.
    pub because: Option<String>,
}

impl Bar {
    pub fn is_reached(&self) -> Option<bool> {
        self.value.map(|value| if self.at_most { value <= self.wanted } else { value >= self.wanted })
    }

    /// In one word.
    pub fn verdict(&self) -> &'static str {
        match self.is_reached() {
            Some(true) => "reached",
            Some(false) => "NOT reached",
            None => "not measured",
        }
    }
}

/// Flows on the wire that no memory is waited for.
const FEW: &str = "1,024 flows";

/// All of them, from whatever rows there are.
pub fn of(rows: &[Row]) -> Vec<Bar> {
    let rows = Rows(rows);
    let mut bars = Vec::new();
    let mut bar = |measure: &str, peer, at_most, wanted, unit, value, because| {
        bars.push(Bar { measure: measure.to_owned(), peer, wanted, at_most, unit, value, because });
    };
    let micro = |case: &str| rows.net(Part::Micro, case);
    bar(
        "established packet, IPv4, over the floor",
        "Katran 97 ns",
        true,
        70.0,
        "ns",
        micro("established, IPv4, 1 flow"),
        None,
    );
    for (flows, peer, wanted) in
        [("65,536 flows", "Katran 380 ns", 228.0), ("524,288 flows", "Katran 414 ns", 248.4)]
    {
        let memory = rows
            .of(Part::Micro, &format!("the memory alone, {flows}"), "nobody")
            .map(|row| spread(row.net()).median)
            .map(|floor| format!("the three cache lines of a connection alone take {floor:.0} ns"));
        let value = micro(&format!("established, IPv4, {flows}"));
        bar(&format!("the same, {flows}"), peer, true, wanted, "ns", value, memory);
    }
    let foreign = ["not ours: TCP to another port", "not ours: SYN to another port"];
    let worst = foreign.iter().map(|case| micro(case)).reduce(|one, other| Some(one?.max(other?))).flatten();
    bar("not ours, worse of two kinds", "Katran 50 ns", true, 40.0, "ns", worst, None);
    for (case, peer, wanted) in [(FEW, "Katran 0.73", 0.85), ("65,536 flows", "Katran 0.53", 0.70)] {
        let share = rows.times(Part::Wire, case, "bare redirect", "ours");
        let least = if case == FEW { None } else { rows.least_of_many(case) };
        let because = least.map(|least| {
            format!(
                "ours of 1,024 flows, and what reading a connection's three cache lines adds, are {least:.2}"
            )
        });
        bar(&format!("one core, share of a bare redirect, {case}"), peer, false, wanted, "", share, because);
    }
    let times = rows.times(Part::Wire, "new connections", "nftables", "ours");
    let limit = rows.times(Part::Wire, "new connections", "nftables", "bare redirect");
    let limit = limit.map(|limit| format!("a bare redirect is {limit:.1} times as fast"));
    bar("one core, new connections, times as fast as nftables", "nftables", false, 4.0, "×", times, limit);
    for case in ["a new connection", "a request, kept alive"] {
        for (peer, wanted) in [("nftables", 0.9), ("HAProxy", 0.65)] {
            for (who, hook, limit) in
                [("ours", "XDP", "bare redirect"), ("ours by tc", "tc", "plain routing")]
            {
                let least = rows.times(Part::User, case, limit, peer);
                let because = least.map(|share| format!("{limit}, without a balancer, needs {share:.2}"));
                let share = rows.times(Part::User, case, who, peer);
                let measure = format!("processor time of {case} by {hook}, share of {peer}'s");
                bar(&measure, peer, true, wanted, "×", share, because);
            }
        }
    }
    let times = rows.times(Part::Ipvs, "1,024 flows", "IPVS", "ours");
    bar("established packets in one boot, times as many as IPVS", "IPVS", false, 3.0, "×", times, None);
    let times = rows.times(Part::Ipvs, "new connections", "IPVS", "ours");
    bar("new connections in one boot, times as many as IPVS", "IPVS", false, 3.0, "×", times, None);
    let thousand = rows.of(Part::Micro, "new connection, wlc of 1000 backends", "ours");
    let two = rows.of(Part::Micro, "new connection, wlc of 2 backends", "ours");
    let times = thousand.and_then(|row| row.times(two?));
    bar("new connection, wlc, 1,000 backends against 2", "IPVS: linear", true, 2.0, "×", times, None);
    let scale = |case: &str| rows.net(Part::Scale, case);
    let bytes = scale("kernel memory of a connection");
    bar("kernel memory of a connection", "IPVS 300 + conntrack", true, 300.0, "B", bytes, None);
    let list = scale("listing a million connections").map(|time| time / 1e3);
    bar("a million connections listed", "", true, 2.0, "s", list, None);
    // What ends connections is the sweep; no packet is worked on where it runs. What else delays packets is the machine's.
    let late = |meanwhile: &str| {
        let of = |what: &str| scale(&format!("{meanwhile}: {what}"));
        let (late, all) = of("packets later than 1 ms").zip(of("packets"))?;
        let greatest = of("greatest delay")? / 1e3;
        Some(format!(
            "{:.1} of 1,000 packets were later than 1 ms, by up to {greatest:.2} ms",
            late / all * 1e3
        ))
    };
    let expiring = |what: &str| scale(&format!("a million connections expire: {what}"));
    let runs = expiring("runs of the sweep longer than 1 ms").zip(expiring("runs of the sweep"));
    let because = runs.zip(late("a million connections expire").zip(late("no connections"))).map(
        |((long, runs), (with, without))| {
            format!("{long} of {runs} runs were longer, and {with}; without a single connection {without}")
        },
    );
    let sweep = expiring("longest run of the sweep").map(|run| run / 1e3);
    bar(
        "greatest delay of a packet by a million connections that expire",
        "",
        true,
        1.0,
        "ms",
        sweep,
        because,
    );
    bars
}

struct Rows<'a>(&'a [Row]);

impl Rows<'_> {
    fn of(&self, part: Part, case: &str, who: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.part == part && row.case == case && row.who == who)
    }

    fn net(&self, part: Part, case: &str) -> Option<f64> {
        let row = self.of(part, case, "ours").filter(|row| row.is_valid())?;
        Some(spread(row.net()).median)
    }

    /// The share of a bare redirect that a forwarder has which does with so many flows what ours does with 1,024, and
    /// besides reads what a connection takes.
    fn least_of_many(&self, case: &str) -> Option<f64> {
        let median = |case, who| Some(spread(self.of(Part::Wire, case, who)?.net()).median);
        let memory = median(case, "redirect, remembering")? - median(FEW, "redirect, remembering")?;
        Some(median(case, "bare redirect")? / (median(FEW, "ours")? + memory))
    }

    /// How many times as much the one needs as the other.
    fn times(&self, part: Part, case: &str, one: &str, other: &str) -> Option<f64> {
        self.of(part, case, one)?.times(self.of(part, case, other)?)
    }
}
