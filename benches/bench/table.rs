//! The report as text: Markdown whose columns are aligned, for a terminal and
//! for doc/performance.md, where it goes between two marks.

use std::fs;
use std::io;
use std::path::Path;

use super::report::{Aim, Curve, Line, Report, Who, digits, time};

const BEGIN: &str = "<!-- What cargo bench -- --update writes begins here. -->";
const END: &str = "<!-- And ends here. -->";

pub fn markdown(report: &Report) -> String {
    let mut text = format!("{}.\n", report.conditions);
    for what in &report.skipped {
        text += &format!("Not measured: {what}.\n");
    }
    if report.is_quick {
        text += "A quick run: all of it once, so that the times are those of first uses.\n";
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

/// Put the text between the marks of a file.
pub fn update(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(path)?;
    let missing = || io::Error::other(format!("{}: its marks are missing", path.display()));
    let (head, rest) = old.split_once(BEGIN).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(path, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}"))
}

type Cells = Vec<String>;

fn lines(lines: &[Line], is_judged: bool) -> Vec<Cells> {
    let is_there = |who: &Who| lines.iter().any(|line| line.figure(*who).is_some());
    let columns: Vec<Who> = Who::ALL.into_iter().filter(is_there).collect();
    let mut head = vec![String::new(), "of one".to_owned()];
    head.extend(columns.iter().map(|who| who.name().to_owned()));
    head.extend(["times faster", "of the floor", "aim", ""].map(str::to_owned));
    let mut table = vec![head];
    let mut group = "";
    for line in lines {
        if line.group != group {
            group = line.group;
            table.push(vec![format!("**{group}**")]);
        }
        let mut cells = vec![line.name.clone(), line.quantity.name().to_owned()];
        cells.extend(columns.iter().map(|&who| {
            let figure = line.figure(who);
            figure.map_or_else(String::new, |figure| line.quantity.show(figure))
        }));
        cells.push(times(line.times_faster_than_rival()));
        cells.push(times(line.times_floor()));
        cells.push(aim(line));
        let met = line.is_aim_met().filter(|_| is_judged);
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

fn aim(line: &Line) -> String {
    match line.aim {
        Some(Aim::Faster(who, times)) => format!("≥ {times} × {}", who.name()),
        Some(Aim::WithinFloor(times)) => format!("≤ {times} × floor"),
        Some(Aim::AtMost(most)) => format!("≤ {}", line.quantity.show(most)),
        None => String::new(),
    }
}

/// Curves that were measured at the same sizes, together.
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

fn growth(curves: &[&Curve]) -> Vec<Cells> {
    let mut head = vec!["**Growth**".to_owned(), "CPU time of one".to_owned()];
    head.push("with".to_owned());
    head.extend(sizes(curves[0]).into_iter().map(count));
    head.extend(["last, of the cheapest", "memory for one"].map(str::to_owned));
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

/// A number by thousands.
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

/// A table of Markdown. All but the first two columns are of figures.
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
