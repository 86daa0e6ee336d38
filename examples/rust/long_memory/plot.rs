//! Two plots beside each other, as SVG: gradient norms over time, and their rate against the spectral radius.

use plotters::prelude::*;

const SIZE: (u32, u32) = (1200, 560);
/// Told apart by readers with any colour vision.
const COLORS: [RGBColor; 3] = [RGBColor(213, 94, 0), RGBColor(0, 138, 98), RGBColor(0, 90, 181)];

pub struct Line {
    pub name: &'static str,
    /// ‖∂L/∂h_t‖ before training, then after.
    pub norms: [Vec<f64>; 2],
}

/// `lines` is one for each kind of network; `rates` are pairs of spectral radius and fitted rate.
pub fn draw(lines: &[Line], rates: &[(f64, f64)]) -> Result<String, String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw_on(&root, lines, rates).map_err(|e| format!("plot: {e}"))?;
    root.present().map_err(|e| format!("plot: {e}"))?;
    drop(root);
    Ok(svg)
}

fn points(norms: &[f64]) -> Vec<(f64, f64)> {
    norms.iter().enumerate().map(|(t, n)| (t as f64, n.log10())).filter(|(_, y)| y.is_finite()).collect()
}

fn draw_on<DB: DrawingBackend>(
    root: &DrawingArea<DB, plotters::coord::Shift>,
    lines: &[Line],
    rates: &[(f64, f64)],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(740);
    let ys = || lines.iter().flat_map(|l| &l.norms).flat_map(|n| points(n)).map(|(_, y)| y);
    let low = ys().fold(0.0, f64::min).floor() - 1.0;
    let high = ys().fold(-1.0, f64::max).ceil() + 2.0;
    let steps = lines.iter().flat_map(|l| &l.norms).map(Vec::len).max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(&left)
        .margin(16)
        .caption("The gradient at every step back through time", ("sans-serif", 20))
        .x_label_area_size(46)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..steps, low..high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .y_label_formatter(&|y| format!("1e{y:.0}"))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .x_desc("step t (the loss is at the right end)")
        .y_desc("‖∂L/∂h_t‖")
        .draw()?;
    for (line, color) in lines.iter().zip(COLORS) {
        for (norms, (when, width)) in line.norms.iter().zip([("before training", 1), ("trained", 3)]) {
            chart
                .draw_series(LineSeries::new(points(norms), color.stroke_width(width)))?
                .label(format!("{}, {when}", line.name))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], color.stroke_width(width)));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .legend_area_size(28)
        .draw()?;

    let most = rates.iter().fold(1.0f64, |m, (r, a)| m.max(*r).max(*a)) * 1.1;
    let mut chart = ChartBuilder::on(&right)
        .margin(16)
        .caption("Rate per step of an RNN", ("sans-serif", 20))
        .x_label_area_size(46)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..most, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("spectral radius of W_hh")
        .y_desc("fitted α, ‖∂L/∂h‖ ~ αⁿ")
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (most, most)], BLACK.mix(0.4)))?;
    chart.draw_series(rates.iter().map(|p| Circle::new(*p, 5, COLORS[0].filled())))?;
    Ok(())
}
