//! Line charts: panels side by side, linear or logarithmic, with a legend on top or labels at the ends of the lines.

use crate::svg::{Anchor, COLORS, INK, PALE, Svg};
use crate::words::{power, short};

#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    Linear,
    Log,
}

#[derive(Clone, PartialEq)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
    pub low: f64,
    pub high: f64,
    /// Empty: chosen here.
    pub ticks: Vec<f64>,
}

/// Which points of a line have a mark.
#[derive(Clone, Copy, PartialEq)]
pub enum Marks {
    /// Some, and a line through all.
    Some,
    /// All, and no line.
    Only,
    /// None, only the line.
    None,
}

/// Values in the order of x. On a logarithmic axis a value of 0, on any axis one that is not finite, is a cross at the
/// border, and the line has a gap there.
pub struct Line {
    pub name: String,
    /// Colour and mark.
    pub style: usize,
    pub dashed: bool,
    pub marks: Marks,
    pub width: f64,
    pub points: Vec<(f64, f64)>,
}

pub struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

/// Where the names of lines stand.
#[derive(Clone, Copy, PartialEq)]
pub enum Names {
    /// In a row on top, for panels with the same lines.
    Top,
    /// At the right, beside the last point of each line.
    Ends,
}

pub struct Figure {
    pub title: String,
    pub columns: usize,
    /// Height of a panel without its labels.
    pub height: f64,
    pub names: Names,
    pub panels: Vec<Panel>,
}

const WIDTH: f64 = 960.0;
/// Room of a panel for its y axis with labels, without, and for its x axis.
const LEFT: f64 = 66.0;
const BETWEEN: f64 = 14.0;
const BELOW: f64 = 44.0;
const TITLE: f64 = 26.0;
const LEGEND: f64 = 30.0;
/// Width of a letter, roughly.
const LETTER: f64 = 7.0;
const BOLD_LETTER: f64 = 8.5;

impl Axis {
    pub fn new(label: &str, scale: Scale, low: f64, high: f64) -> Axis {
        Axis { label: label.into(), scale, low, high, ticks: Vec::new() }
    }

    /// Logarithmic, from the whole powers of ten around the values that are positive and finite.
    pub fn log_around(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        let (low, high) = extremes(values.filter(|v| v.is_finite() && *v > 0.0).map(f64::log10));
        let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        Axis::new(label, Scale::Log, 10f64.powf(low), 10f64.powf(high))
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).log10() / (self.high / self.low).log10(),
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.ticks.is_empty() {
            return self.ticks.clone();
        }
        let (low, high) = match self.scale {
            Scale::Linear => (self.low, self.high),
            Scale::Log => (self.low.log10(), self.high.log10()),
        };
        let steps: &[f64] = match self.scale {
            Scale::Linear => &[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0],
            Scale::Log => &[1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0],
        };
        let step = steps.iter().copied().find(|s| (high - low) / s <= 6.5).unwrap_or(high - low);
        let first = (low / step - 1e-6).ceil() as i64;
        let last = (high / step + 1e-6).floor() as i64;
        let tick = |i: i64| match self.scale {
            Scale::Linear => i as f64 * step,
            Scale::Log => 10f64.powf(i as f64 * step),
        };
        (first..=last).map(tick).collect()
    }

    fn tick_text(&self, tick: f64) -> String {
        match self.scale {
            Scale::Log if self.ticks.is_empty() => power(tick.log10().round() as i32),
            _ => short(tick),
        }
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A panel's place on the picture.
struct Place {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Place {
    fn point(&self, panel: &Panel, x: f64, y: f64) -> [f64; 2] {
        [self.left + self.width * panel.x.place(x), self.top + self.height * (1.0 - panel.y.place(y))]
    }
}

impl Figure {
    pub fn draw(&self) -> String {
        let rows = self.panels.len().div_ceil(self.columns);
        let top = if self.names == Names::Top { LEGEND + 6.0 } else { 4.0 };
        // Panels in a row and of a column share axes where they are equal; then inner ones have no labels.
        let shares_y = self.panels.iter().all(|p| p.y == self.panels[0].y);
        let shares_x = self.panels.iter().all(|p| p.x == self.panels[0].x);
        let ends = if self.names == Names::Ends { self.room_for_names() } else { 12.0 };
        let gap = if shares_y { BETWEEN } else { LEFT + 24.0 };
        let inner = WIDTH - LEFT - 12.0 - ends;
        let width = (inner - gap * (self.columns - 1) as f64) / self.columns as f64;
        let foot = if shares_x { 14.0 } else { BELOW };
        let pitch = TITLE + self.height + foot;
        let total = top + pitch * rows as f64 + if shares_x { BELOW - 10.0 } else { 0.0 };
        let mut svg = Svg::new(WIDTH, total);
        if self.names == Names::Top {
            self.legend(&mut svg);
        }
        for (i, panel) in self.panels.iter().enumerate() {
            let (row, column) = (i / self.columns, i % self.columns);
            let place = Place {
                left: LEFT + 12.0 + column as f64 * (width + gap),
                top: top + TITLE + row as f64 * pitch,
                width,
                height: self.height,
            };
            let x_labels = !shares_x || i + self.columns >= self.panels.len();
            let y_labels = !shares_y || column == 0;
            panel.draw(&mut svg, &place, x_labels, y_labels);
            if self.names == Names::Ends {
                panel.names(&mut svg, &place);
            }
        }
        svg.finish(&self.title)
    }

    fn room_for_names(&self) -> f64 {
        let longest = self.panels.iter().flat_map(|p| &p.lines).map(|l| l.name.chars().count()).max().unwrap_or(0);
        longest as f64 * BOLD_LETTER + 14.0
    }

    /// The names of the first panel's lines, in a row.
    fn legend(&self, svg: &mut Svg) {
        let mut x = LEFT + 12.0;
        for line in &self.panels[0].lines {
            let (color, y) = (COLORS[line.style % COLORS.len()], LEGEND / 2.0 + 2.0);
            if line.marks != Marks::Only {
                svg.polyline(&[[x, y], [x + 30.0, y]], color, line.width, dash(line));
            }
            if line.marks != Marks::None {
                svg.mark([x + 15.0, y], line.style, color, 4.0);
            }
            svg.text([x + 37.0, y + 4.5], Anchor::Start, "", &line.name);
            x += 37.0 + line.name.chars().count() as f64 * LETTER + 22.0;
        }
    }
}

fn dash(line: &Line) -> &'static str {
    if line.dashed { "6 4" } else { "" }
}

impl Panel {
    fn draw(&self, svg: &mut Svg, place: &Place, x_labels: bool, y_labels: bool) {
        let Place { left, top, width, height } = *place;
        let (right, bottom) = (left + width, top + height);
        svg.text([left, top - 9.0], Anchor::Start, "font-weight=\"600\"", &self.title);
        for tick in self.y.ticks() {
            let y = bottom - height * self.y.place(tick);
            svg.line([left, y], [right, y], PALE, 1.0);
            if y_labels {
                svg.text([left - 7.0, y + 4.5], Anchor::End, "", &self.y.tick_text(tick));
            }
        }
        for tick in self.x.ticks() {
            let x = left + width * self.x.place(tick);
            svg.line([x, bottom], [x, bottom + 4.0], INK, 1.0);
            if x_labels {
                svg.text([x, bottom + 19.0], Anchor::Middle, "", &self.x.tick_text(tick));
            }
        }
        svg.frame([left, top], [width, height]);
        if x_labels {
            svg.text([left + width / 2.0, bottom + 37.0], Anchor::Middle, "", &self.x.label);
        }
        if y_labels {
            svg.upward([left - LEFT + 6.0, top + height / 2.0], &self.y.label);
        }
        for line in &self.lines {
            self.line(svg, place, line);
        }
    }

    fn line(&self, svg: &mut Svg, place: &Place, line: &Line) {
        let color = COLORS[line.style % COLORS.len()];
        let shown = |y: f64| y.is_finite() && (self.y.scale == Scale::Linear || y > 0.0);
        let mut runs: Vec<Vec<[f64; 2]>> = vec![Vec::new()];
        let mut gap = false;
        for &(x, y) in &line.points {
            if shown(y) {
                let [px, py] = place.point(self, x, y);
                runs.last_mut().expect("one").push([px, py.clamp(place.top, place.top + place.height)]);
                gap = false;
            } else if !gap {
                let end = if y == 0.0 { self.y.low } else { self.y.high };
                svg.cross(place.point(self, x, end), color);
                runs.push(Vec::new());
                gap = true;
            }
        }
        let scattered = line.marks == Marks::Only;
        for run in runs.iter().filter(|_| !scattered) {
            svg.polyline(run, color, line.width, dash(line));
        }
        if line.marks == Marks::None {
            return;
        }
        // About seven marks a line, shifted from line to line so that they do not hide each other.
        let points: Vec<[f64; 2]> = runs.concat();
        let every = if scattered || points.len() <= 8 { 1 } else { (points.len() / 7).max(1) };
        let first = if every > 6 { line.style * every / 6 } else { 0 };
        for &point in points.iter().skip(first).step_by(every) {
            svg.mark(point, line.style, color, if place.width < 250.0 { 2.8 } else { 4.0 });
        }
    }

    /// Names at the right border, each beside its line's last point, moved apart where they would touch.
    fn names(&self, svg: &mut Svg, place: &Place) {
        const APART: f64 = 17.0;
        let height = |line: &Line| {
            let last =
                line.points.iter().rev().find(|(_, y)| y.is_finite() && (self.y.scale == Scale::Linear || *y > 0.0));
            last.map_or(place.top, |&(x, y)| place.point(self, x, y)[1])
        };
        let mut names: Vec<(f64, &Line)> = self.lines.iter().map(|l| (height(l), l)).collect();
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted: Vec<f64> = names.iter().map(|n| n.0).collect();
        for i in 1..names.len() {
            names[i].0 = names[i].0.max(names[i - 1].0 + APART);
        }
        // What was pushed past the bottom comes back up.
        let mut limit = place.top + place.height + 6.0;
        for name in names.iter_mut().rev() {
            name.0 = name.0.min(limit);
            limit = name.0 - APART;
        }
        let x = place.left + place.width;
        for (&(y, line), wanted) in names.iter().zip(wanted) {
            let color = COLORS[line.style % COLORS.len()];
            svg.line([x + 1.0, wanted], [x + 9.0, y], color, 1.0);
            let style = format!("fill=\"{color}\" font-weight=\"600\"");
            svg.text([x + 12.0, y + 4.5], Anchor::Start, &style, &line.name);
        }
    }
}
