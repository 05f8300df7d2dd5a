//! The plot that the README shows: times on a logarithmic scale.

use std::path::Path;

use plotters::prelude::*;

const WIDTH: u32 = 860;
const ROW: u32 = 26;
const NAMES: u32 = 360;

/// Colours that can be read on white and on black.
const INK: RGBColor = RGBColor(120, 125, 135);
const NEEDM: RGBColor = RGBColor(46, 140, 220);
const OTHERS: RGBColor = RGBColor(165, 150, 120);

fn is_other(name: &str) -> bool {
    ["plain", "corosensei", "two sig", "bare"].iter().any(|part| name.contains(part))
}

/// Bytes of a row's name in the table.
const NAME: usize = 54;

/// The rows of a table (`Table::text`) that are times: name, nanoseconds.
fn times(table: &str) -> impl Iterator<Item = (&str, f64)> {
    table.lines().filter_map(|line| {
        let (name, rest) = line.split_at_checked(NAME)?;
        let mut words = rest.split_whitespace();
        let value: f64 = words.next()?.parse().ok()?;
        (words.next() == Some("ns") && value > 0.0).then_some((name.trim_end(), value))
    })
}

/// Draws all rows of a table that are times.
///
/// # Panics
/// If the file cannot be written.
pub(crate) fn write(table: &str, path: &Path) {
    let rows: Vec<_> = times(table).collect();
    let height = ROW * u32::try_from(rows.len()).expect("a few") + 46;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let most = rows.iter().map(|row| row.1).fold(1.0, f64::max);
    let (low, high) = (1.0_f64.ln(), (most * 3.0).ln());
    let place = |value: f64| {
        let share = (value.max(1.0).ln() - low) / (high - low);
        #[allow(clippy::cast_possible_truncation)] // a pixel
        let pixels = (share * f64::from(WIDTH - NAMES - 10)) as i32;
        NAMES.cast_signed() + pixels
    };
    let bottom = (height - 34).cast_signed();
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    for power in [1.0, 10.0, 100.0, 1000.0] {
        let x = place(power);
        area.draw(&PathElement::new([(x, 0), (x, bottom)], INK.mix(0.35))).expect("a line");
        let label = format!("{power} ns");
        area.draw(&Text::new(label, (x - 8, bottom + 8), text(13))).expect("a label");
    }
    for (number, &(name, value)) in rows.iter().enumerate() {
        let top = i32::try_from(number).expect("a few") * ROW.cast_signed() + 10;
        let end = place(value);
        let fill = if is_other(name) { OTHERS } else { NEEDM };
        let bar = [(NAMES.cast_signed(), top), (end, top + ROW.cast_signed() - 8)];
        area.draw(&Rectangle::new(bar, fill.filled())).expect("a bar");
        let indent = if name.starts_with(' ') { 22 } else { 6 };
        let name = Text::new(name.trim().to_owned(), (indent, top + 2), text(14));
        area.draw(&name).expect("a name");
        let value = if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
        area.draw(&Text::new(value, (end + 6, top + 2), text(14))).expect("a value");
    }
    area.present().expect("the file can be written");
}
