//! The report as an SVG picture: bars for ratios, and panels of curves for growth. It
//! is written by hand, because plotting crates use fixed colours: this style sheet has
//! colours for a light and a dark background.

use super::report::{Curve, Line, Point, Report, Subject, Target, digits, time};
use super::table::count;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 16.0;

/// The classes `a`, `b` and `c` are the colours of the curves in a panel.
const STYLE: &str = "\
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-weight: 600; font-size: 14px }
  .small { font-size: 10px; fill: #57606a }
  .axis { stroke: #8c959f; stroke-width: 1; fill: none }
  .grid { stroke: #d0d7de; stroke-width: 1; fill: none }
  .target { stroke: #bf3989; stroke-width: 2; fill: none }
  .bar { fill: #0969da }
  .a { stroke: #0969da; fill: #0969da } .b { stroke: #bc4c00; fill: #bc4c00 }
  .c { stroke: #1a7f37; fill: #1a7f37 }
  path.curve { fill: none; stroke-width: 2 }
  text.label { stroke: none; font-size: 10px }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .axis { stroke: #6e7681 } .grid { stroke: #30363d } .target { stroke: #f778ba }
    .bar { fill: #4493f8 }
    .a { stroke: #4493f8; fill: #4493f8 } .b { stroke: #f0883e; fill: #f0883e }
    .c { stroke: #3fb950; fill: #3fb950 }
  }";

/// The picture as the text of an SVG file.
pub fn svg(report: &Report) -> String {
    let mut picture = Picture {
        body: String::new(),
        y: MARGIN,
    };
    let bars_of = |group: &'static str, head: &str, picture: &mut Picture| {
        let lines = report.lines.iter().filter(|line| line.group == group);
        let bars: Vec<Bar> = lines.filter_map(Bar::faster).collect();
        picture.bars(head, &bars);
    };
    bars_of("JSON", "JSON: times faster than lua-cjson", &mut picture);
    bars_of(
        "Loopback",
        "Messages and timers: times faster than the C bindings",
        &mut picture,
    );
    let real = report
        .lines
        .iter()
        .filter(|line| line.group == "Real broker");
    let bars: Vec<Bar> = real.filter_map(Bar::floor).collect();
    picture.bars("Real broker: times the C floor (less is better)", &bars);
    picture.panels(&report.curves);
    let height = picture.y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" \
         aria-label=\"How fast flux-lua is, and how times grow\">\n\
         <style>\n{STYLE}\n</style>\n{}</svg>\n",
        picture.body
    )
}

/// A bar of a bar chart.
struct Bar {
    name: String,
    ratio: f64,
    target: Option<f64>,
    /// The ratio and the two figures, shown at the end of the bar.
    label: String,
}

impl Bar {
    /// How many times faster our module is than the one it replaces.
    fn faster(line: &Line) -> Option<Bar> {
        let other = line
            .figure(Subject::Original)
            .or(line.figure(Subject::Cjson))?;
        let target = match line.target {
            Some(Target::FasterThan(_, times)) => Some(times),
            _ => None,
        };
        Bar::new(line, line.times_faster_than_rival()?, target, other)
    }

    /// How many times the time of the C floor our module takes.
    fn floor(line: &Line) -> Option<Bar> {
        let target = match line.target {
            Some(Target::WithinFloor(times)) => Some(times),
            _ => None,
        };
        Bar::new(
            line,
            line.times_floor()?,
            target,
            line.figure(Subject::Floor)?,
        )
    }

    fn new(line: &Line, ratio: f64, target: Option<f64>, other: f64) -> Option<Bar> {
        let ours = line.quantity.show(line.figure(Subject::Ours)?);
        let other = line.quantity.show(other);
        let name = match line.group {
            "Real broker" => format!("{}, {}", line.name, line.quantity.name()),
            _ => line.name.clone(),
        };
        Some(Bar {
            name,
            ratio,
            target,
            label: format!("{} × ({ours} vs. {other})", digits(ratio)),
        })
    }
}

/// A picture that grows downwards.
struct Picture {
    /// The SVG elements.
    body: String,
    /// The y coordinate of the next element.
    y: f64,
}

impl Picture {
    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>\n"
        );
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.body += &format!("<path class=\"{class}\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>\n");
    }

    /// Draw a bar chart. Each bar has a mark at its target; a line marks the ratio 1.
    fn bars(&mut self, head: &str, bars: &[Bar]) {
        const LEFT: f64 = 280.0;
        const RIGHT: f64 = 190.0;
        const ROW: f64 = 18.0;
        if bars.is_empty() {
            return;
        }
        self.y += 14.0;
        self.text(MARGIN, self.y, "head", "start", head);
        self.y += 10.0;
        let ends = bars
            .iter()
            .map(|bar| bar.ratio.max(bar.target.unwrap_or(1.0)));
        let end = ends.fold(1.0, f64::max);
        let scale = (WIDTH - LEFT - RIGHT) / end;
        let top = self.y;
        let bottom = top + ROW * bars.len() as f64;
        for step in 0..=end as usize {
            let x = LEFT + step as f64 * scale;
            let class = if step == 1 { "axis" } else { "grid" };
            self.line(class, (x, top), (x, bottom + 2.0));
            let label = format!("{step} ×");
            self.text(x, bottom + 14.0, "small", "middle", &label);
        }
        for bar in bars {
            let x = LEFT + bar.ratio * scale;
            self.text(LEFT - 8.0, self.y + 12.0, "", "end", &bar.name);
            self.body += &format!(
                "<rect class=\"bar\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
                self.y + 2.0,
                bar.ratio * scale,
                ROW - 5.0
            );
            let mark = bar.target.map(|target| LEFT + target * scale);
            if let Some(mark) = mark {
                self.line("target", (mark, self.y), (mark, self.y + ROW - 1.0));
            }
            let beside = x.max(mark.unwrap_or(x)) + 6.0;
            self.text(beside, self.y + 12.0, "small", "start", &bar.label);
            self.y += ROW;
        }
        self.line(
            "target",
            (WIDTH - 60.0, top - 14.0),
            (WIDTH - 60.0, top - 4.0),
        );
        self.text(WIDTH - 54.0, top - 5.0, "small", "start", "target");
        self.y += 30.0;
    }

    /// Draw the curves, in rows of panels.
    fn panels(&mut self, curves: &[Curve]) {
        const BESIDE: usize = 4;
        const HEIGHT: f64 = 190.0;
        let mut panels: Vec<Vec<&Curve>> = Vec::new();
        for curve in curves.iter().filter(|curve| !curve.points.is_empty()) {
            match panels
                .iter_mut()
                .find(|panel| panel[0].panel == curve.panel)
            {
                Some(panel) => panel.push(curve),
                None => panels.push(vec![curve]),
            }
        }
        if panels.is_empty() {
            return;
        }
        self.y += 14.0;
        let head = "Growth: CPU time of one operation by number or size (logarithmic axes)";
        self.text(MARGIN, self.y, "head", "start", head);
        self.y += 12.0;
        let width = (WIDTH - 2.0 * MARGIN) / BESIDE as f64;
        for row in panels.chunks(BESIDE) {
            for (n, panel) in row.iter().enumerate() {
                self.panel(MARGIN + n as f64 * width, width, panel);
            }
            self.y += HEIGHT;
        }
    }

    /// Draw the curves of a panel, with axes and a key.
    fn panel(&mut self, x: f64, width: f64, curves: &[&Curve]) {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let axis =
            |of: fn(&Point) -> f64, from: f64, to: f64| Axis::over(points().map(of), from, to);
        let (left, right) = (x + 44.0, x + width - 22.0);
        let (top, bottom) = (self.y + 34.0, self.y + 148.0);
        let across = axis(|point| point.size, left, right);
        let up = axis(|point| point.nanoseconds, bottom, top);
        self.text(left - 8.0, self.y + 14.0, "", "start", curves[0].panel);
        for decade in up.decades() {
            let y = up.place(decade);
            self.line("grid", (left, y), (right, y));
            self.text(left - 4.0, y + 3.0, "small", "end", &round_time(decade));
        }
        for decade in [across.low, across.high] {
            let label = short_count(decade);
            self.text(
                across.place(decade),
                bottom + 13.0,
                "small",
                "middle",
                &label,
            );
        }
        self.line("axis", (left, bottom), (right, bottom));
        let label = format!("{}; time of one {}", curves[0].count, curves[0].per);
        self.text(left - 8.0, bottom + 27.0, "small", "start", &label);
        let mut key = left - 8.0;
        for (curve, class) in curves.iter().zip(["a", "b", "c"]) {
            self.curve(curve, class, &across, &up);
            self.text(
                key,
                self.y + 28.0,
                &format!("label {class}"),
                "start",
                curve.name,
            );
            key += 8.0 + 6.2 * curve.name.chars().count() as f64;
        }
    }

    /// Draw a curve, with a tooltip for each point.
    fn curve(&mut self, curve: &Curve, class: &str, across: &Axis, up: &Axis) {
        let mut path = String::new();
        for (n, point) in curve.points.iter().enumerate() {
            let (x, y) = (across.place(point.size), up.place(point.nanoseconds));
            path += &format!("{}{x:.1} {y:.1}", if n == 0 { 'M' } else { 'L' });
            self.body += &format!(
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"><title>{} {}: {}</title></circle>\n",
                count(point.size),
                curve.count,
                time(point.nanoseconds)
            );
        }
        self.body += &format!("<path class=\"{class} curve\" d=\"{path}\"/>\n");
    }
}

/// A logarithmic axis over whole decades.
struct Axis {
    /// The smallest value.
    low: f64,
    /// The largest value.
    high: f64,
    /// The coordinate of `low`.
    from: f64,
    /// The coordinate of `high`.
    to: f64,
}

impl Axis {
    /// An axis that covers the values.
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Axis {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let low = 10f64.powf(least.max(0.001).log10().floor());
        let high = 10f64.powf(most.max(0.001).log10().ceil());
        Axis {
            low,
            high: if high > low { high } else { low * 10.0 },
            from,
            to,
        }
    }

    /// The coordinate of a value.
    fn place(&self, value: f64) -> f64 {
        let part = (value.max(self.low) / self.low).log10() / (self.high / self.low).log10();
        self.from + part * (self.to - self.from)
    }

    /// The powers of ten on the axis.
    fn decades(&self) -> impl Iterator<Item = f64> + use<> {
        let (low, high) = (self.low, self.high * 1.01);
        std::iter::successors(Some(low), |decade| Some(decade * 10.0))
            .take_while(move |decade| *decade <= high)
    }
}

/// A label for a power of ten of nanoseconds.
fn round_time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 0.9 => format!("{} ns", (n * 1000.0).round() / 1000.0),
        n if n < 900.0 => format!("{n:.0} ns"),
        n if n < 9e5 => format!("{:.0} µs", n / 1e3),
        n if n < 9e8 => format!("{:.0} ms", n / 1e6),
        n => format!("{:.0} s", n / 1e9),
    }
}

/// A label for a number or size.
fn short_count(number: f64) -> String {
    match number {
        n if n >= 9e5 => format!("{:.0} M", n / 1e6),
        n => count(n),
    }
}
