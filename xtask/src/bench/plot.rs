//! Bars as pictures.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::{
    Part,
    row::{Row, spread},
};

const SIZE: (u32, u32) = (860, 360);
const OURS: RGBColor = RGBColor(0x1b, 0x6e, 0xc2);
const THEIRS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const LIMIT: RGBColor = RGBColor(0xd5, 0xdb, 0xe1);

/// A picture for each part that compares; the names of their files.
pub fn all(directory: &Path, rows: &[Row]) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for (name, title, part, wanted) in [
        ("micro", "Nanoseconds per packet in the program, over the floor", Part::Micro, "established"),
        ("backends", "Nanoseconds to open a connection, over the floor", Part::Micro, "new connection"),
        ("wire", "Nanoseconds per packet through one core", Part::Wire, ""),
        ("user", "Processor time as a user sees it (µs, ms per gigabyte)", Part::User, ""),
        ("ipvs", "Nanoseconds per packet in one emulated machine", Part::Ipvs, ""),
    ] {
        let chosen: Vec<_> = rows
            .iter()
            .filter(|row| row.part == part && row.case.contains(wanted) && row.is_valid())
            .collect();
        if !chosen.is_empty() {
            let file = format!("{name}.svg");
            draw(&directory.join(&file), title, &chosen).map_err(|error| anyhow!("{file}: {error}"))?;
            files.push((file, title.to_owned()));
        }
    }
    Ok(files)
}

/// A bar for each row, with the spread of its rounds.
fn draw(path: &Path, title: &str, rows: &[&Row]) -> Result<(), Box<dyn std::error::Error>> {
    let height = SIZE.1.max(70 + 22 * rows.len() as u32);
    let root = SVGBackend::new(path, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let spreads: Vec<_> = rows.iter().map(|row| spread(row.net())).collect();
    let most = spreads.iter().map(|spread| spread.most).fold(0.0, f64::max) * 1.12;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(360)
        .build_cartesian_2d(0.0..most, (0..rows.len() as i32).into_segmented())?;
    let label = |at: &SegmentValue<i32>| match at {
        SegmentValue::CenterOf(number) => {
            let row = rows.len().checked_sub(*number as usize + 1).and_then(|index| rows.get(index));
            row.map_or_else(String::new, |row| format!("{}: {}", row.case, row.who))
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len() + 1)
        .y_label_formatter(&label)
        .y_label_style(("sans-serif", 12))
        .x_label_style(("sans-serif", 12))
        .draw()?;
    for (number, (row, spread)) in
        rows.iter().zip(&spreads).rev().enumerate().map(|(number, pair)| (number as i32, pair))
    {
        let color = match row.who.as_str() {
            who if who.starts_with("ours") => OURS,
            "bare redirect" | "plain routing" => LIMIT,
            _ => THEIRS,
        };
        let (from, to) = (SegmentValue::Exact(number), SegmentValue::Exact(number + 1));
        let mut bar = Rectangle::new([(0.0, from), (spread.median, to)], color.filled());
        bar.set_margin(3, 3, 0, 0);
        let middle = SegmentValue::CenterOf(number);
        let range = PathElement::new([(spread.least, middle.clone()), (spread.most, middle.clone())], BLACK);
        let text = super::table::number(spread.median);
        let value = Text::new(text, (spread.most + most * 0.005, middle), ("sans-serif", 12));
        chart.draw_series([bar])?;
        chart.draw_series([range])?;
        chart.draw_series([value])?;
    }
    root.present()?;
    Ok(())
}
