//! Elements of SVG as text. Every picture stands alone: no style sheet, no font file, no script.

use std::fmt::Write;

/// The colours of Okabe and Ito, told apart with any colour vision, darkened where white is behind them.
pub const COLORS: [&str; 6] = ["#D55E00", "#0072B2", "#00805F", "#B0509A", "#333333", "#B07A00"];
pub const INK: &str = "#222222";
pub const PALE: &str = "#DDDDDD";

/// Where a text stands by its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { body: String::new(), width, height }
    }

    /// The whole picture; `title` is what a screen reader says.
    pub fn finish(self, title: &str) -> String {
        let Svg { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
             <title>{}</title>\n<rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{body}</svg>\n",
            escape(title)
        )
    }

    fn add(&mut self, arguments: std::fmt::Arguments) {
        self.body.write_fmt(arguments).expect("string");
        self.body.push('\n');
    }

    pub fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], color: &str, width: f64) {
        self.add(format_args!(
            "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{color}\" stroke-width=\"{width}\"/>"
        ));
    }

    pub fn polyline(&mut self, points: &[[f64; 2]], color: &str, width: f64, dash: &str) {
        let Some(([x, y], rest)) = points.split_first() else { return };
        let mut d = format!("M{x:.1} {y:.1}");
        for [x, y] in rest {
            write!(d, "L{x:.1} {y:.1}").expect("string");
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        self.add(format_args!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dash}/>"
        ));
    }

    pub fn frame(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2]) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" stroke=\"#999999\"/>"
        ));
    }

    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, style: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let style = if style.is_empty() { String::new() } else { format!(" {style}") };
        let text = escape(text);
        self.add(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{style}>{text}</text>"));
    }

    /// Text that reads upward, its middle at the point.
    pub fn upward(&mut self, [x, y]: [f64; 2], text: &str) {
        let text = escape(text);
        self.add(format_args!(
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=\"middle\">{text}</text>"
        ));
    }

    /// One of six marks, so that lines are told apart without colour too.
    pub fn mark(&mut self, [x, y]: [f64; 2], kind: usize, color: &str, r: f64) {
        let d = match kind % 6 {
            0 => format!("M{:.1} {y:.1}a{r} {r} 0 1 0 {} 0a{r} {r} 0 1 0 {} 0z", x - r, 2.0 * r, -2.0 * r),
            1 => format!("M{:.1} {:.1}h{}v{}h{}z", x - r, y - r, 2.0 * r, 2.0 * r, -2.0 * r),
            2 => format!("M{x:.1} {:.1}l{} {}h{}z", y - 1.2 * r, 1.2 * r, 2.1 * r, -2.4 * r),
            3 => format!("M{x:.1} {:.1}l{r2} {r2}l-{r2} {r2}l-{r2} -{r2}z", y - 1.3 * r, r2 = 1.3 * r),
            4 => format!("M{x:.1} {:.1}l-{} -{}h{}z", y + 1.2 * r, 1.2 * r, 2.1 * r, 2.4 * r),
            _ => format!("M{:.1} {:.1}h{}v{}h{}z", x - 1.3 * r, y - 0.5 * r, 2.6 * r, r, -2.6 * r),
        };
        self.add(format_args!("<path d=\"{d}\" fill=\"{color}\"/>"));
    }

    /// A cross: here a value left what can be shown.
    pub fn cross(&mut self, [x, y]: [f64; 2], color: &str) {
        self.add(format_args!(
            "<path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\" stroke=\"{color}\" stroke-width=\"2\"/>",
            x - 4.0,
            y - 4.0
        ));
    }
}

/// Text as SVG and HTML hold it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
