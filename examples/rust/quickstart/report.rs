//! What the terminal shows.

use crate::args::Args;
use crate::split::Split;
use crate::train::{LAYERS, Outcome, Picture};
use evenkeel::monitor::FlowVerdict;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write;

/// Cells of the longest bar.
const BAR: usize = 12;
/// Columns of one network in the picture: number, space, bar, gap.
const COLUMN: usize = 8 + 1 + BAR + 3;

/// A bar on standard error, or nothing where nobody watches.
pub fn progress_bar(visible: bool, name: &'static str, steps: u64) -> ProgressBar {
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("   {prefix:8} {bar:32} {pos}/{len} steps  {msg}").expect("template");
    ProgressBar::with_draw_target(Some(steps), target).with_style(style).with_prefix(name)
}

pub fn opening(split: &Split, args: &Args) -> String {
    format!(
        "Three networks of {LAYERS} layers learn handwritten digits: {} images to train, {} held out, \
         {} epochs, seed {}.\n\n",
        split.train.len(),
        split.held_out.len(),
        args.epochs,
        args.seed
    )
}

/// One network: recipe, losses, accuracy.
pub fn one(number: usize, outcome: &Outcome) -> String {
    let mut s = format!("{number}. {}: {}\n", outcome.recipe.name, outcome.recipe.text);
    let losses = &outcome.losses;
    let shown = [1, 2, 5, 10, 20, 50, 100].into_iter().filter(|&e| e < losses.len()).chain([losses.len()]);
    let shown = shown.map(|e| format!("{} at {e}", number_text(losses[e - 1])));
    let (loss, norm) = (number_text(outcome.first_loss), number_text(outcome.first_norm));
    writeln!(s, "   first step: loss {loss}, norm of the whole gradient {norm}").expect("string");
    let input = &outcome.first.input_layer;
    let largest = number_text(input.max_abs);
    writeln!(s, "   at layer 1: largest |∂L/∂z| {largest}, {} of {} are zero", input.zeros, input.count)
        .expect("string");
    if outcome.diverged {
        let last = &outcome.last.input_layer;
        writeln!(
            s,
            "   step {}: no finite loss, {} NaN of {} at layer 1: stopped",
            outcome.steps, last.nans, last.count
        )
        .expect("string");
    } else {
        writeln!(s, "   mean loss by epoch: {}", shown.collect::<Vec<_>>().join(", ")).expect("string");
    }
    if outcome.clipped > 0 {
        writeln!(s, "   clipped in {} of {} steps", outcome.clipped, outcome.steps).expect("string");
    }
    writeln!(s, "   held out: {:.1} % right\n", 100.0 * outcome.accuracy).expect("string");
    s
}

/// The pictures of the first and the last step, and the closing table.
pub fn closing(outcomes: &[Outcome]) -> String {
    let mut s = String::new();
    picture(&mut s, "At the first step", outcomes, |o| &o.first);
    picture(&mut s, "At the last step", outcomes, |o| &o.last);
    let line = |s: &mut String, cells: [&str; 6]| {
        let [name, rate, verdict, first, last, right] = cells;
        writeln!(s, "{name:<9}{rate:>7}  {verdict:<11}{first:>11}{last:>11}{right:>11}").expect("string");
    };
    line(&mut s, ["network", "α", "gradient", "start loss", "end loss", "held out"]);
    for o in outcomes {
        let rate = format!("{:.2}", o.first.flow.rate);
        let first = number_text(o.first_loss);
        let last = number_text(o.losses[o.losses.len() - 1]);
        let right = format!("{:.1} %", 100.0 * o.accuracy);
        line(&mut s, [o.recipe.name, &rate, verdict(o.first.flow.verdict), &first, &last, &right]);
    }
    s
}

/// Norms of all networks side by side, layer by layer, one logarithmic scale for all.
fn picture(s: &mut String, when: &str, outcomes: &[Outcome], of: impl Fn(&Outcome) -> &Picture) {
    let logs = || outcomes.iter().flat_map(|o| &of(o).norms).map(|n| n.log10()).filter(|l| l.is_finite());
    let low = logs().fold(0.0, f64::min).floor() - 1.0;
    let high = logs().fold(0.0, f64::max).ceil();
    writeln!(s, "{when}: ‖∂L/∂z‖ of each layer, bars from 1e{low:.0} to 1e{high:.0}").expect("string");
    let mut row = |head: &str, cells: &mut dyn Iterator<Item = String>| {
        let line = cells.fold(format!("{head:>6}  "), |line, cell| line + &format!("{cell:<COLUMN$}"));
        writeln!(s, "{}", line.trim_end()).expect("string");
    };
    row("layer", &mut outcomes.iter().map(|o| format!("{:>8}", o.recipe.name)));
    for l in 0..LAYERS {
        let cells = outcomes.iter().map(|o| of(o).norms[l]);
        let cell = |norm: f64| format!("{:>8} {}", number_text(norm), bar((norm.log10() - low) / (high - low)));
        row(&(l + 1).to_string(), &mut cells.map(cell));
    }
    row("α", &mut outcomes.iter().map(|o| format!("{:>8} {}", rate(of(o)), verdict(of(o).flow.verdict))));
    s.push('\n');
}

fn rate(picture: &Picture) -> String {
    if picture.norms.iter().all(|n| n.is_finite()) { format!("{:.2}", picture.flow.rate) } else { "–".into() }
}

/// A bar of `share` of the full length, in eighths of a cell; none for a norm of zero, all of it for one past any number.
fn bar(share: f64) -> String {
    if share.is_nan() {
        return String::new();
    }
    let eighths = (share.clamp(0.0, 1.0) * (8 * BAR) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.extend([None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')][eighths % 8]);
    bar
}

/// Plain where that is readable, else with an exponent.
fn number_text(x: f64) -> String {
    match x.abs() {
        a if a.is_nan() => "NaN".into(),
        a if a == 0.0 || (1e-2..1e2).contains(&a) => format!("{x:.3}"),
        _ => format!("{x:.1e}"),
    }
}

fn verdict(verdict: FlowVerdict) -> &'static str {
    match verdict {
        FlowVerdict::Healthy => "healthy",
        FlowVerdict::Vanishing => "vanishing",
        FlowVerdict::Exploding => "exploding",
        FlowVerdict::Nonfinite => "not finite",
        FlowVerdict::Dead => "dead",
    }
}
