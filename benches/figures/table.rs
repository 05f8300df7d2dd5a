//! The rows of the table, and their goals.

use std::fmt::Write as _;

/// The goal of a row.
pub(crate) enum Goal {
    /// At most so many times another row.
    Times(f64, &'static str),
    /// At most so many of the row's unit.
    AtMost(f64),
    None,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    goal: Goal,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    notes: Vec<String>,
}

/// The row that every time is compared with.
pub(crate) const PLAIN: &str = "plain call through a pointer";

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, name: &'static str, value: f64, unit: &'static str, goal: Goal) {
        // A difference of two times that is below 0 is noise.
        let value = value.max(0.0);
        eprintln!("{name}: {value:.2} {unit}");
        self.rows.push(Row { name, value, unit, goal });
    }

    pub(crate) fn note(&mut self, note: String) {
        eprintln!("{note}");
        self.notes.push(note);
    }

    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.value)
    }

    fn goal(&self, row: &Row) -> String {
        let said = |met| if met { "met" } else { "missed" };
        match row.goal {
            Goal::None => String::new(),
            Goal::AtMost(most) => format!("<= {most} {}: {}", row.unit, said(row.value <= most)),
            Goal::Times(most, of) => {
                let Some(of) = self.value(of) else { return String::new() };
                format!("<= {most}x: {} ({:.2}x)", said(row.value / of <= most), row.value / of)
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", machine());
        let plain = self.value(PLAIN).unwrap_or(f64::NAN);
        writeln!(text, "{:<54} {:>10} {:<5} {:>9}  goal", "", "median", "", "x plain")
            .expect("text");
        for row in &self.rows {
            let times = match row.unit {
                "ns" => format!("{:.1}", row.value / plain),
                _ => String::new(),
            };
            let goal = self.goal(row);
            let line =
                format!("{:<54} {:>10.2} {:<5} {times:>9}  {goal}", row.name, row.value, row.unit);
            writeln!(text, "{}", line.trim_end()).expect("text");
        }
        for note in &self.notes {
            writeln!(text, "{note}").expect("text");
        }
        text
    }
}

/// The processor and the system, in a line.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or("?").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{} (family {}, model {}), {cores} cores, Linux {}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        read("/proc/sys/kernel/osrelease").trim()
    )
}
