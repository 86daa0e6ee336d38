//! The pictures, from what was measured.

use crate::chart::{Axis, Figure, Line, Marks, Names, Panel, Scale};
use crate::course::Course;
use crate::recipe::{Act, Norm, Path, Recipe, Start};
use crate::survey::Finding;
use crate::time::Echo;
use crate::warmup::Comparison;
use crate::words::short;

/// A picture and the name of its file.
pub struct Picture {
    pub file: &'static str,
    pub svg: String,
}

fn line(name: impl Into<String>, style: usize, points: Vec<(f64, f64)>) -> Line {
    Line { name: name.into(), style, dashed: false, marks: Marks::Some, width: 2.0, points }
}

fn recipe(act: Act, start: Start, norm: Norm, path: Path) -> Recipe {
    Recipe { act, start, norm, path }
}

pub fn find(findings: &[Finding], recipe: Recipe, depth: usize) -> &Finding {
    findings.iter().find(|f| f.recipe == recipe && f.depth == depth).expect("every recipe at every depth")
}

pub fn deepest(findings: &[Finding]) -> usize {
    findings.iter().map(|f| f.depth).max().unwrap_or(0)
}

/// Norms relative to that at the output, by the layers back from the loss.
fn profile(finding: &Finding) -> Vec<(f64, f64)> {
    let last = finding.norms[finding.depth];
    finding.norms.iter().rev().enumerate().map(|(back, n)| (back as f64, n / last)).collect()
}

/// Six recipes in one picture.
pub fn overview(findings: &[Finding], depth: usize) -> Picture {
    use {Act::*, Norm::*, Path::*, Start::*};
    let chosen = [
        ("ReLU, He, residual", recipe(Relu, He, None, Residual)),
        ("ReLU, He, batch norm", recipe(Relu, He, Batch, Plain)),
        ("ReLU, He, layer norm, residual", recipe(Relu, He, Layer, Residual)),
        ("ReLU, He", recipe(Relu, He, None, Plain)),
        ("ReLU, naive", recipe(Relu, Naive, None, Plain)),
        ("sigmoid, naive", recipe(Sigmoid, Naive, None, Plain)),
    ];
    // Colours by fate: those that explode, those that hold, those that vanish.
    let styles = [0, 5, 2, 1, 3, 4];
    let lines: Vec<Line> = chosen
        .iter()
        .zip(styles)
        .map(|((name, recipe), style)| {
            let finding = find(findings, *recipe, depth);
            line(format!("{name}: α = {}", alpha(finding.flow.rate)), style, profile(finding))
        })
        .collect();
    let y = Axis::log_around("‖∂L/∂h‖ relative to the output", lines.iter().flat_map(|l| &l.points).map(|p| p.1));
    let x = Axis::new("layers back from the loss", Scale::Linear, 0.0, depth as f64);
    let panel = Panel { title: format!("{depth} layers, before training"), x, y, lines };
    let title = "Gradient norm against depth for six networks".to_string();
    let figure = Figure { title, columns: 1, height: 420.0, names: Names::Ends, panels: vec![panel] };
    Picture { file: "depth.svg", svg: figure.draw() }
}

/// Rows of norms, columns of activations, four lines of initializations each.
pub fn panels(findings: &[Finding], path: Path, depth: usize) -> Picture {
    let of_path: Vec<&Finding> = findings.iter().filter(|f| f.recipe.path == path && f.depth == depth).collect();
    let y = Axis::log_around("‖∂L/∂h‖, relative", of_path.iter().flat_map(|f| profile(f)).map(|p| p.1));
    let x = Axis::new("layers back", Scale::Linear, 0.0, depth as f64);
    let mut panels = Vec::new();
    for norm in Norm::ALL {
        for act in Act::ALL {
            let lines = Start::ALL.into_iter().enumerate().map(|(i, start)| {
                let points = profile(find(findings, recipe(act, start, norm, path), depth));
                // Lines that coincide show as a thin one on a thick one.
                Line {
                    name: start.name().into(),
                    style: i,
                    dashed: false,
                    marks: Marks::Some,
                    width: [6.0, 4.2, 2.6, 1.3][i],
                    points,
                }
            });
            let title = format!("{}, {}", act.name(), norm.name());
            panels.push(Panel { title, x: x.clone(), y: y.clone(), lines: lines.collect() });
        }
    }
    let title = format!("Gradient norms in {} networks of {depth} layers", path.name());
    let figure = Figure { title, columns: 4, height: 150.0, names: Names::Top, panels };
    let file = match path {
        Path::Plain => "panels_plain.svg",
        Path::Residual => "panels_residual.svg",
        Path::Highway => "panels_highway.svg",
    };
    Picture { file, svg: figure.draw() }
}

/// What is left at the input, for networks of all depths.
pub fn by_depth(findings: &[Finding]) -> Picture {
    use {Act::*, Norm::*, Path::*, Start::*};
    let mut depths: Vec<usize> = findings.iter().map(|f| f.depth).collect();
    depths.sort_unstable();
    depths.dedup();
    let chosen = [
        ("ReLU, He, batch norm", recipe(Relu, He, Batch, Plain)),
        ("sigmoid, Xavier, residual", recipe(Sigmoid, Xavier, None, Residual)),
        ("ReLU, He", recipe(Relu, He, None, Plain)),
        ("tanh, Xavier", recipe(Tanh, Xavier, None, Plain)),
        ("ReLU, Xavier", recipe(Relu, Xavier, None, Plain)),
        ("sigmoid, Xavier", recipe(Sigmoid, Xavier, None, Plain)),
    ];
    let styles = [5, 2, 1, 3, 0, 4];
    let lines: Vec<Line> = chosen
        .iter()
        .zip(styles)
        .map(|((name, recipe), style)| {
            let ratios = depths.iter().map(|&d| (d as f64, find(findings, *recipe, d).ratio()));
            line(*name, style, ratios.collect())
        })
        .collect();
    let y = Axis::log_around("‖∂L/∂h‖, input / output", lines.iter().flat_map(|l| &l.points).map(|p| p.1));
    let mut x = Axis::new("layers of the network", Scale::Linear, 0.0, depths[depths.len() - 1] as f64);
    x.ticks = depths.iter().map(|&d| d as f64).collect();
    let title = "What depth does to the gradient at the input".to_string();
    let panel = Panel { title: "one point is one network".into(), x, y, lines };
    let figure = Figure { title, columns: 1, height: 320.0, names: Names::Ends, panels: vec![panel] };
    Picture { file: "by_depth.svg", svg: figure.draw() }
}

/// ‖∂L/∂h_t‖ over time.
pub fn time(echoes: &[Echo]) -> Picture {
    let styles = [4, 1, 0, 3, 5, 2];
    let points = |e: &Echo| e.norms.iter().rev().enumerate().map(|(back, n)| (back as f64, *n)).collect();
    let lines: Vec<Line> = echoes.iter().zip(styles).map(|(e, style)| line(e.name(), style, points(e))).collect();
    let y = Axis::log_around("‖∂L/∂hₜ‖₂", lines.iter().flat_map(|l| &l.points).map(|p| p.1));
    let seq = echoes[0].norms.len();
    let label = format!("steps back from the loss at t = {seq}; the image is read in the 64 steps farthest back");
    let mut x = Axis::new(&label, Scale::Linear, 0.0, seq as f64);
    x.ticks = (0..=4).map(|i| (i * seq / 4) as f64).collect();
    let panel = Panel { title: format!("{seq} steps, before training"), x, y, lines };
    let title = "Gradient norm through time: plain recurrence against LSTM".to_string();
    let figure = Figure { title, columns: 1, height: 400.0, names: Names::Ends, panels: vec![panel] };
    Picture { file: "time.svg", svg: figure.draw() }
}

/// A running mean over `window` steps, which ends where the numbers do.
fn smooth(values: &[f64], window: usize) -> Vec<(f64, f64)> {
    let mean = |i: usize| {
        let part = &values[(i + 1).saturating_sub(window)..=i];
        part.iter().sum::<f64>() / part.len() as f64
    };
    (0..values.len()).map(|i| (i as f64 + 1.0, mean(i))).collect()
}

pub const WINDOW: usize = 15;

/// Losses and gradient norms of two trainings.
pub fn clipping(courses: &[Course]) -> Picture {
    let steps = courses.iter().map(|c| c.losses.len()).max().unwrap_or(1);
    let x = Axis::new("step", Scale::Linear, 0.0, steps as f64);
    let losses = courses.iter().enumerate().map(|(i, c)| line(c.name.clone(), i, smooth(&c.losses, WINDOW)));
    let norms = courses.iter().enumerate().map(|(i, c)| {
        let points = c.norms.iter().enumerate().map(|(t, n)| (t as f64 + 1.0, *n)).collect();
        Line { width: 1.2, ..line(c.name.clone(), i, points) }
    });
    let (losses, norms): (Vec<Line>, Vec<Line>) = (losses.collect(), norms.collect());
    let y = Axis::new("loss", Scale::Linear, 0.0, 3.5);
    let y_norm = Axis::log_around("‖g‖₂ before clipping", norms.iter().flat_map(|l| &l.points).map(|p| p.1));
    let panels = vec![
        Panel { title: format!("training loss, mean of {WINDOW} steps"), x: x.clone(), y, lines: losses },
        Panel { title: "gradient norm".into(), x, y: y_norm, lines: norms },
    ];
    let title = "A recurrent network trained with and without gradient clipping".to_string();
    let figure = Figure { title, columns: 2, height: 280.0, names: Names::Top, panels };
    Picture { file: "clipping.svg", svg: figure.draw() }
}

/// Losses of the four trainings, and the gradient by layer before them.
pub fn transformer(comparison: &Comparison) -> Picture {
    let Comparison { courses, .. } = comparison;
    let styles = [1, 2, 0, 3];
    let losses = courses.iter().zip(styles).map(|(c, style)| {
        let dashed = c.name.contains("warm-up");
        Line { dashed, ..line(c.name.clone(), style, smooth(&c.losses, WINDOW)) }
    });
    let losses: Vec<Line> = losses.collect();
    let highest = losses.iter().flat_map(|l| &l.points).map(|p| p.1).filter(|y| y.is_finite()).fold(1.0, f64::max);
    let steps = courses.iter().map(|c| c.losses.len()).max().unwrap_or(1);
    let panel = Panel {
        title: format!("training loss, mean of {WINDOW} steps"),
        x: Axis::new("step", Scale::Linear, 0.0, steps as f64),
        y: Axis::new("loss", Scale::Linear, 0.0, highest.ceil().min(8.0)),
        lines: losses,
    };
    let title = "A transformer trained with its norms before or after, with and without warm-up".to_string();
    let figure = Figure { title, columns: 1, height: 320.0, names: Names::Ends, panels: vec![panel] };
    Picture { file: "transformer.svg", svg: figure.draw() }
}

/// ‖∂L/∂h‖ of the transformers' layers at the start.
pub fn transformer_norms(comparison: &Comparison) -> Picture {
    let [pre, post] = &comparison.at_start;
    let points = |norms: &[f64]| norms.iter().rev().enumerate().map(|(back, n)| (back as f64, *n)).collect();
    let lines = vec![line("pre-norm", 1, points(pre)), line("post-norm", 0, points(post))];
    let y = Axis::log_around("‖∂L/∂h‖₂", pre.iter().chain(post).copied());
    let x = Axis::new("layers back from the loss", Scale::Linear, 0.0, comparison.plan.size.layers as f64);
    let panel = Panel { title: "before training".into(), x, y, lines };
    let title = "Gradient norms in a transformer, norms before or after".to_string();
    let figure = Figure { title, columns: 1, height: 220.0, names: Names::Ends, panels: vec![panel] };
    Picture { file: "transformer_norms.svg", svg: figure.draw() }
}

/// α measured against α predicted, one mark a recipe.
pub fn prediction(findings: &[Finding], depth: usize) -> Picture {
    let shown = |norm: Norm, path: Path| {
        let of = findings.iter().filter(|f| f.depth == depth && f.recipe.path == path && f.recipe.norm == norm);
        of.map(|f| (f.predicted, f.flow.rate)).collect::<Vec<_>>()
    };
    let axis = |label: &str| {
        let mut axis = Axis::new(label, Scale::Log, 0.1, 2.5);
        axis.ticks = vec![0.125, 0.25, 0.5, 1.0, 2.0];
        axis
    };
    let panels = Path::ALL.map(|path| {
        let marks = Norm::ALL
            .into_iter()
            .enumerate()
            .map(|(i, norm)| Line { marks: Marks::Only, ..line(norm.name(), i, shown(norm, path)) });
        let diagonal = Line {
            width: 1.2,
            dashed: true,
            marks: Marks::None,
            ..line("measured = predicted", 4, vec![(0.1, 0.1), (2.5, 2.5)])
        };
        Panel {
            title: path.name().into(),
            x: axis("α predicted from Jacobians"),
            y: axis("α measured"),
            lines: marks.chain([diagonal]).collect(),
        }
    });
    let title = format!("Measured against predicted α, {depth} layers");
    let figure = Figure { title, columns: 3, height: 270.0, names: Names::Top, panels: panels.into() };
    Picture { file: "prediction.svg", svg: figure.draw() }
}

pub fn alpha(rate: f64) -> String {
    if rate.is_finite() { format!("{rate:.2}") } else { short(rate) }
}
