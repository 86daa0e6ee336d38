//! The plot: gradient norm against depth, logarithmic, as SVG. Its text is text, in the viewer's own font.

use crate::train::{LAYERS, Outcome};
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 560);
/// Told apart by readers with any colour vision, and by their marks in print.
const COLORS: [RGBColor; 3] = [RGBColor(0, 90, 181), RGBColor(213, 94, 0), RGBColor(0, 138, 98)];

/// The plot of the first step's norms.
pub fn draw(outcomes: &[Outcome]) -> Result<String, String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw_on(&root, outcomes).map_err(|e| format!("plot: {e}"))?;
    root.present().map_err(|e| format!("plot: {e}"))?;
    drop(root);
    Ok(svg)
}

/// Layer and log₁₀ of its norm, where that is a number.
fn points(outcome: &Outcome) -> Vec<(f64, f64)> {
    let norms = outcome.first.norms.iter().map(|n| n.log10()).enumerate();
    norms.filter(|(_, y)| y.is_finite()).map(|(l, y)| ((l + 1) as f64, y)).collect()
}

fn draw_on<DB: DrawingBackend>(
    root: &DrawingArea<DB, plotters::coord::Shift>,
    outcomes: &[Outcome],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    root.fill(&WHITE)?;
    let ys = || outcomes.iter().flat_map(points).map(|(_, y)| y);
    let low = ys().fold(0.0, f64::min).floor() - 1.0;
    let high = ys().fold(0.0, f64::max).ceil() + 1.0;
    let mut chart = ChartBuilder::on(root)
        .margin(16)
        .margin_right(24)
        .caption("Gradient norm at the first step, layer by layer", ("sans-serif", 22))
        .x_label_area_size(46)
        .y_label_area_size(74)
        .build_cartesian_2d(0.5..LAYERS as f64 + 0.5, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(LAYERS)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_labels(12)
        .y_label_formatter(&|y| format!("1e{y:.0}"))
        .x_desc("layer, from input to output")
        .y_desc("‖∂L/∂z‖₂")
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .draw()?;
    for (i, outcome) in outcomes.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let label = format!("{}: α = {:.2} a layer", outcome.recipe.name, outcome.first.flow.rate);
        chart
            .draw_series(LineSeries::new(points(outcome), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| mark(i, (x + 14, y), color));
        chart.draw_series(points(outcome).into_iter().map(|p| mark(i, p, color)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 16))
        .margin(8)
        .draw()?;
    Ok(())
}

/// A disc, a triangle, a cross: one for each network.
fn mark<C: Clone + 'static, DB: DrawingBackend>(i: usize, at: C, color: RGBColor) -> DynElement<'static, DB, C>
where
    Circle<C, i32>: IntoDynElement<'static, DB, C>,
    TriangleMarker<C, i32>: IntoDynElement<'static, DB, C>,
    Cross<C, i32>: IntoDynElement<'static, DB, C>,
{
    match i % 3 {
        0 => Circle::new(at, 4, color.filled()).into_dyn(),
        1 => TriangleMarker::new(at, 5, color.filled()).into_dyn(),
        _ => Cross::new(at, 4, color.stroke_width(2)).into_dyn(),
    }
}
