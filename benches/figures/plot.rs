//! The plot that the README shows: times on a logarithmic scale.

use std::path::Path;

use plotters::prelude::*;

use super::table::Table;

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

/// Draws all rows that are times.
///
/// # Panics
/// If the file cannot be written.
pub(crate) fn write(table: &Table, path: &Path) {
    let rows: Vec<_> =
        table.rows.iter().filter(|row| row.unit == "ns" && row.value > 0.0).collect();
    let height = ROW * u32::try_from(rows.len()).expect("a few") + 46;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let most = rows.iter().map(|row| row.value).fold(1.0, f64::max);
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
    for (number, row) in rows.iter().enumerate() {
        let top = i32::try_from(number).expect("a few") * ROW.cast_signed() + 10;
        let end = place(row.value);
        let fill = if is_other(row.name) { OTHERS } else { NEEDM };
        let bar = [(NAMES.cast_signed(), top), (end, top + ROW.cast_signed() - 8)];
        area.draw(&Rectangle::new(bar, fill.filled())).expect("a bar");
        let indent = if row.name.starts_with(' ') { 22 } else { 6 };
        let name = Text::new(row.name.trim().to_owned(), (indent, top + 2), text(14));
        area.draw(&name).expect("a name");
        let value = if row.value < 100.0 {
            format!("{:.1}", row.value)
        } else {
            format!("{:.0}", row.value)
        };
        area.draw(&Text::new(value, (end + 6, top + 2), text(14))).expect("a value");
    }
    area.present().expect("the file can be written");
}
