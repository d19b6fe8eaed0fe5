//! The report as Markdown with aligned columns, for the terminal and for
//! doc/performance.md, where it replaces the text between two marks.

use std::fs;
use std::io;
use std::path::Path;

use super::report::{Curve, Line, Report, Subject, Target, digits, time};

const BEGIN: &str = "<!-- Written by cargo bench -- --update: begin -->";
const END: &str = "<!-- Written by cargo bench -- --update: end -->";

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("{}.\n", report.conditions);
    for what in &report.skipped {
        text += &format!("Not measured: {what}.\n");
    }
    if report.is_quick {
        text += "A quick run: everything ran only once, so the times are those of first uses.\n";
    }
    if !report.lines.is_empty() {
        text += "\n";
        text += &aligned(&lines(&report.lines, !report.is_quick));
    }
    for curves in by_sizes(&report.curves) {
        text += "\n";
        text += &aligned(&growth(&curves));
    }
    text
}

/// Replace the text between the marks of a file.
pub fn update(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(path)?;
    let missing = || io::Error::other(format!("{}: the marks are missing", path.display()));
    let (head, rest) = old.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(path, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}"))
}

type Cells = Vec<String>;

/// The rows of the table of lines, with a head.
fn lines(lines: &[Line], show_verdicts: bool) -> Vec<Cells> {
    let is_present = |subject: &Subject| lines.iter().any(|line| line.figure(*subject).is_some());
    let columns: Vec<Subject> = Subject::ALL.into_iter().filter(is_present).collect();
    let mut head = vec![String::new(), "quantity".to_owned()];
    head.extend(columns.iter().map(|subject| subject.name().to_owned()));
    head.extend(["times faster", "times floor", "target", ""].map(str::to_owned));
    let mut table = vec![head];
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            table.push(vec![format!("**{group}**")]);
        }
        let mut cells = vec![line.name.clone(), line.quantity.name().to_owned()];
        cells.extend(columns.iter().map(|&subject| {
            let figure = line.figure(subject);
            figure.map_or_else(String::new, |figure| line.quantity.show(figure))
        }));
        cells.push(times(line.times_faster_than_rival()));
        cells.push(times(line.times_floor()));
        cells.push(target(line));
        let met = line.is_target_met().filter(|_| show_verdicts);
        cells.push(
            met.map_or("", |met| if met { "met" } else { "missed" })
                .to_owned(),
        );
        table.push(cells);
    }
    table
}

fn times(factor: Option<f64>) -> String {
    factor.map_or_else(String::new, |factor| format!("{} ×", digits(factor)))
}

fn target(line: &Line) -> String {
    match line.target {
        Some(Target::FasterThan(subject, times)) => format!("≥ {times} × {}", subject.name()),
        Some(Target::WithinFloor(times)) => format!("≤ {times} × floor"),
        Some(Target::AtMost(limit)) => format!("≤ {}", line.quantity.show(limit)),
        None => String::new(),
    }
}

/// The curves, grouped by the sizes at which they were measured.
fn by_sizes(curves: &[Curve]) -> Vec<Vec<&Curve>> {
    let mut groups: Vec<Vec<&Curve>> = Vec::new();
    for curve in curves.iter().filter(|curve| !curve.points.is_empty()) {
        let found = groups
            .iter_mut()
            .find(|group| sizes(group[0]) == sizes(curve));
        match found {
            Some(group) => group.push(curve),
            None => groups.push(vec![curve]),
        }
    }
    groups
}

fn sizes(curve: &Curve) -> Vec<f64> {
    curve.points.iter().map(|point| point.size).collect()
}

/// The rows of a table of growth, with a head. All curves have the same sizes.
fn growth(curves: &[&Curve]) -> Vec<Cells> {
    let mut head = vec!["**Growth**".to_owned(), "CPU time per".to_owned()];
    head.push("number of".to_owned());
    head.extend(sizes(curves[0]).into_iter().map(count));
    head.extend(["largest / cheapest", "memory each"].map(str::to_owned));
    let mut table = vec![head];
    for curve in curves {
        let mut cells = vec![format!("{}, {}", curve.panel, curve.name)];
        cells.extend([curve.per, curve.count].map(str::to_owned));
        cells.extend(curve.points.iter().map(|point| time(point.nanoseconds)));
        cells.push(times(curve.growth()));
        let bytes = curve.points.last().and_then(|point| point.bytes);
        cells.push(bytes.map_or_else(String::new, |bytes| format!("{} B", digits(bytes))));
        table.push(cells);
    }
    table
}

/// A number as text with a comma between groups of three digits.
pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A Markdown table from rows of cells. All columns but the first two are aligned to
/// the right.
fn aligned(table: &[Cells]) -> String {
    let width = |column: usize| {
        let cells = table.iter().filter_map(|cells| cells.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..table[0].len()).map(width).collect();
    let mut text = String::new();
    for (n, cells) in table.iter().enumerate() {
        for (column, &width) in widths.iter().enumerate() {
            let cell = cells.get(column).map_or("", String::as_str);
            text += &match column {
                0 | 1 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            };
        }
        text += "|\n";
        if n == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let end = if column < 2 { '-' } else { ':' };
                text += &format!("| {}{end} ", "-".repeat(width - 1));
            }
            text += "|\n";
        }
    }
    text
}
