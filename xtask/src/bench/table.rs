//! The rows for people.

use std::fmt::Write;

use super::{
    Part,
    bars::Bar,
    row::{Row, spread},
};

/// A table of a part's rows.
pub fn of(part: Part, rows: &[Row]) -> String {
    let mut table = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        table,
        "\n{:<48} {:<18} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        title(part),
        "whose",
        "least",
        "median",
        "most",
        "net",
        "of ours",
        "of limit"
    );
    let mut last = "";
    for row in rows {
        let case = if row.case == last { "" } else { &row.case };
        last = &row.case;
        let gross = row.gross();
        let net = spread(row.net()).median;
        let of = |who: Option<&str>| {
            let other = rows.iter().find(|other| other.case == row.case && Some(&*other.who) == who)?;
            row.times(other)
        };
        let ratio = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let _ = write!(
            table,
            "{case:<48} {:<18} {:>9} {:>9} {:>9} {:>9}",
            row.who,
            number(gross.least),
            number(gross.median),
            number(gross.most),
            number(net),
        );
        let _ = match row.delivered.filter(|_| !row.is_valid()) {
            Some(share) => writeln!(table, " invalid: {:.3} % arrived", share * 100.0),
            None => writeln!(table, " {:>8} {:>8}", ratio(of(Some("ours"))), ratio(of(limit(part)))),
        };
    }
    table
}

fn title(part: Part) -> &'static str {
    match part {
        Part::Micro => "ns per packet in the program",
        Part::Wire => "ns per packet through one core",
        Part::User => "processor time",
        Part::Ipvs => "ns per packet in one emulated machine",
        Part::Scale => "scale",
    }
}

/// Who does the least that can be done.
fn limit(part: Part) -> Option<&'static str> {
    match part {
        Part::Wire => Some("bare redirect"),
        Part::User | Part::Ipvs => Some("plain routing"),
        Part::Micro | Part::Scale => None,
    }
}

/// The bars beside what was measured; those without a value only if all are wanted.
pub fn bars(bars: &[Bar], all: bool) -> String {
    let mut table = format!("\n{:<66} {:<22} {:>10} {:>10}\n", "bar", "best peer", "wanted", "measured");
    for bar in bars.iter().filter(|bar| all || bar.value.is_some()) {
        let sign = if bar.at_most { "≤" } else { "≥" };
        let value = bar.value.map_or_else(|| "–".to_owned(), number);
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{:<66} {:<22} {:>10} {value:>10} {:<2} {}",
            bar.measure,
            bar.peer,
            format!("{sign} {}", bar.wanted),
            bar.unit,
            bar.verdict()
        );
        if let Some(because) = bar.because.as_ref().filter(|_| bar.is_reached() == Some(false)) {
            let _ = writeln!(table, "    {because}");
        }
    }
    table
}

/// With as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
