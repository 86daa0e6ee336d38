//! The report: pictures, and what they show, in the order of the whitepaper.

use crate::course::Course;
use crate::figures::{self, Picture, deepest, find};
use crate::html::Page;
use crate::recipe::{Act, Norm, Path, Recipe, Start};
use crate::survey::{Finding, Plan};
use crate::tables;
use crate::time::Echo;
use crate::warmup::Comparison;
use crate::words::{number, percent, short};
use crate::{clipping, recipe};
use evenkeel::monitor::FlowVerdict;

/// All that was measured.
pub struct Results {
    pub quick: bool,
    pub seed: u64,
    pub plan: Plan,
    pub findings: Vec<Finding>,
    pub echoes: Vec<Echo>,
    pub clipping: Vec<Course>,
    pub comparison: Comparison,
}

/// The depth of the table.
pub const DEPTH: usize = 32;

pub fn pictures(r: &Results) -> Vec<Picture> {
    let deep = deepest(&r.findings);
    let [plain, residual, highway] = Path::ALL.map(|path| figures::panels(&r.findings, path, deep));
    vec![
        figures::overview(&r.findings, deep),
        plain,
        residual,
        highway,
        figures::by_depth(&r.findings),
        figures::prediction(&r.findings, DEPTH),
        figures::time(&r.echoes),
        figures::clipping(&r.clipping),
        figures::transformer_norms(&r.comparison),
        figures::transformer(&r.comparison),
    ]
}

pub fn html(r: &Results, pictures: &[Picture]) -> String {
    let svg = |file: &str| &pictures.iter().find(|p| p.file == file).expect("a picture of that name").svg[..];
    let mut page = Page::new("The gradient clinic");
    let deep = deepest(&r.findings);
    let finding = |act, start, norm, path| find(&r.findings, Recipe { act, start, norm, path }, DEPTH);
    let count = |verdict| r.findings.iter().filter(|f| f.depth == DEPTH && f.flow.verdict == verdict).count();

    page.paragraph(
        "lead",
        "How much of the gradient reaches the first layer? Every picture here was computed by evenkeel on handwritten \
         digits. Section numbers (§) are those of the whitepaper <i>Handling Vanishing and Exploding Gradients</i>.",
    );
    let sigmoid = finding(Act::Sigmoid, Start::Naive, Norm::None, Path::Plain);
    let he = finding(Act::Relu, Start::He, Norm::None, Path::Plain);
    let unscaled = finding(Act::Relu, Start::He, Norm::None, Path::Residual);
    let residual = finding(Act::Relu, Start::He, Norm::Layer, Path::Residual);
    let [unclipped, clipped] = &r.clipping[..] else { unreachable!("two trainings") };
    let course = |name: &str| r.comparison.courses.iter().find(|c| c.name == name).expect("a training of that name");
    let (cold, warm) = (course("post-norm"), course("post-norm, warm-up"));
    page.list(&[
        format!(
            "<b>One layer multiplies, n layers raise to a power</b> (§3, §4, §6). A sigmoid layer with naive weights \
             multiplies the gradient by {}: after {DEPTH} of them {} is left of it. A ReLU layer with He's weights \
             multiplies it by {}: it arrives.",
            short_rate(sigmoid),
            number(sigmoid.ratio()),
            short_rate(he)
        ),
        format!(
            "<b>Paths around the layers need scale too</b> (§13, §14). ReLU layers with He's weights and residual \
             connections multiply the gradient by {} each; with layer norm in the branches, by {}.",
            short_rate(unscaled),
            short_rate(residual)
        ),
        format!(
            "<b>Time is depth</b> (§7, §16). Through {} steps a recurrent network loses or multiplies its gradient by \
             many orders of magnitude; an LSTM whose forget gates start open keeps it.",
            r.echoes[0].norms.len()
        ),
        format!(
            "<b>Clipping and warm-up decide whether a training works at all</b> (§11, §18). The recurrent network \
             recognizes {} of unseen digits with clipping, {} without; a post-norm transformer {} with warm-up, {} \
             without.",
            percent(clipped.accuracy),
            percent(unclipped.accuracy),
            percent(warm.accuracy),
            percent(cold.accuracy)
        ),
    ]);

    page.heading("One factor, many layers");
    page.paragraph(
        "",
        "Going backward, each layer multiplies the gradient by its Jacobian (§2, §3): δ ↦ Wᵀ·(δ ⊙ φ′(z)). If a layer \
         changes its size by a factor α, n layers change it by αⁿ. The picture follows ‖∂L/∂h‖ through the layers of six \
         networks that have seen no training yet, from the loss at the left back to the digits at the right.",
    );
    page.figure(
        svg("depth.svg"),
        "Straight lines on a logarithmic scale: the law αⁿ of §3 and §4. A line that is level is healthy. At a cross the \
         gradient has left f32 and is exactly 0.",
    );

    page.heading("144 recipes");
    page.paragraph(
        "",
        &format!(
            "Every activation (§5) with every initialization (§10), normalization (§12, §13) and path (§14, §15), at {DEPTH} \
             layers. A layer computes F(h) = φ(norm(W·h)); a plain network goes on with F(h), a residual one with h + \
             F(h), a highway one with σ(g)·F(h) + σ(−g)·h. Numbers are α, the factor of a layer. <b>▼</b> vanishing, \
             <b>●</b> healthy, <b>▲</b> exploding: healthy means that αⁿ stays within a factor of 1000. Here {} are \
             healthy, {} vanish, {} explode. Blue: the gradient at the input is smaller than at the output; orange: larger.",
            count(FlowVerdict::Healthy),
            count(FlowVerdict::Vanishing),
            count(FlowVerdict::Exploding)
        ),
    );
    page.raw(&tables::heat(&r.findings, DEPTH));
    page.paragraph(
        "note",
        "Naive is uniform within ±1/√n, a default of many libraries, with a third of Xavier's variance. Xavier and He are \
         normal with the variances of §10.1 and §10.2; orthogonal is multiplied by the activation's gain (√2 for ReLU). \
         Leaky ReLU has slope 0.1. Highway gates start with a bias of −2.",
    );
    page.list(&[
        format!(
            "<b>Sigmoid</b> (§5.1): σ′ is at most 1/4, and no initialization makes up for it. What helps is a path around \
             the layer, α = {} with residual connections, or batch norm, {}.",
            short_rate(finding(Act::Sigmoid, Start::Xavier, Norm::None, Path::Residual)),
            short_rate(finding(Act::Sigmoid, Start::Xavier, Norm::Batch, Path::Plain))
        ),
        format!(
            "<b>Each activation has its initialization</b> (§10): tanh with Xavier {}, ReLU with He {}, ReLU with Xavier \
             only {} = 1/√2.",
            short_rate(finding(Act::Tanh, Start::Xavier, Norm::None, Path::Plain)),
            short_rate(he),
            short_rate(finding(Act::Relu, Start::Xavier, Norm::None, Path::Plain))
        ),
        format!(
            "<b>A norm makes the weights' scale irrelevant</b> (§12, §13): the four rows of an activation become nearly \
             one. But batch norm in plain ReLU networks has an α of its own, {}, near the theory's √(π/(π − 1)) = 1.21 \
             (Yang et al. 2019): it explodes in the end.",
            short_rate(finding(Act::Relu, Start::He, Norm::Batch, Path::Plain))
        ),
        "<b>Highway gates carry</b> (§15): with σ(−2) = 0.12 a layer carries about σ(2) = 0.88 of the gradient past \
         itself, whatever its activation. That is mild, not perfect: 0.88⁶⁴ = 0.0003."
            .to_string(),
    ]);

    page.heading("Layer by layer");
    page.paragraph(
        "",
        &format!(
            "The same networks at {deep} layers. The norm is relative to that at the output. Where lines of different \
             initializations coincide, thin ones lie on thick ones. A cross marks where the gradient in f32 is exactly 0."
        ),
    );
    page.figure(svg("panels_plain.svg"), "Plain networks: the initialization decides, until a norm takes its place.");
    page.figure(
        svg("panels_residual.svg"),
        "Residual networks (§14): ∂y/∂x = ∂F/∂x + I. Without a norm, whatever the branches add multiplies up.",
    );
    page.figure(svg("panels_highway.svg"), "Highway networks (§15): a gentle slope, whatever the weights. Batch norm under a rectifier is the exception: its own \
         growth wins over the gates.");

    page.heading("Depth");
    let shallow = r.plan.depths.iter().copied().min().unwrap_or(0);
    let xavier = Recipe { act: Act::Sigmoid, start: Start::Xavier, norm: Norm::None, path: Path::Plain };
    let sigmoid_at = |depth| find(&r.findings, xavier, depth).ratio();
    page.figure(
        svg("by_depth.svg"),
        &format!(
            "Shallow networks forgive what deep ones do not (§6): sigmoid with Xavier's weights keeps {} of the gradient \
             through {} layers, {} through {deep}.",
            number(sigmoid_at(shallow)),
            shallow,
            number(sigmoid_at(deep))
        ),
    );

    page.heading("Predicted and measured");
    page.paragraph(
        "",
        "Can α be known without a gradient? §3 says that it comes from the layers' Jacobians J. A random direction changes \
         its length by ‖J‖<sub>F</sub>/√n; the prediction is the geometric mean of that over the layers, measured with fresh \
         random directions through one layer at a time. No direction can grow by more than the spectral norm ‖J‖₂.",
    );
    page.figure(
        svg("prediction.svg"),
        &format!(
            "Each mark is one of the 144 recipes at {DEPTH} layers. Most lie on the diagonal. Above it are rectifiers with \
             residual or highway paths: there the gradient turns into directions that grow faster than a random one does."
        ),
    );
    page.raw(&tables::bounds(&r.findings, DEPTH));
    page.paragraph(
        "note",
        "Plain networks without a norm; ‖J‖₂ is that of the first image, by <code>jacobian_norm</code>. For tanh with orthogonal \
         weights all columns are near 1: every direction keeps its length, which is the point of §10.3.",
    );

    page.heading("Through time");
    page.paragraph(
        "",
        "A recurrent network is as deep as its sequence is long, and multiplies by the same W<sub>hh</sub> at each step (§7). Here a \
         digit is read pixel by pixel in 64 steps, nothing follows for the rest of the time, and the loss comes at the last \
         step. How much of the gradient reaches the pixels is ‖∂L/∂h<sub>t</sub>‖ at the right of the picture.",
    );
    page.figure(
        svg("time.svg"),
        "A spectral radius ρ of W<sub>hh</sub> below 1 vanishes, above 1 explodes; at 1, tanh still takes its toll. The LSTM's cell \
         (§16) adds instead of multiplying: with open forget gates the gradient survives. Norms below 10⁻⁴⁵ are past what \
         f32 can hold; evenkeel's backward pass through time carries an exponent beside its numbers.",
    );

    page.heading("Clipping");
    page.paragraph(
        "",
        &format!(
            "The same kind of network learns to read the digits, two pixels a step, by SGD with momentum and learning rate \
             {}. Its W<sub>hh</sub> starts orthogonal times {}, so gradients grow through time. Without clipping, single steps with \
             enormous gradients undo what was learned (§9). With norm clipping (§11.1) at {} the direction stays and the step \
             is bounded: {} of {} steps were clipped.",
            short(clipping::LR),
            clipping::GAIN,
            clipping::THRESHOLD,
            clipped.clipped,
            clipped.losses.len()
        ),
    );
    page.figure(
        svg("clipping.svg"),
        &format!(
            "Held-out digits recognized: {} with clipping, {} without. Clipping does nothing for gradients that vanish \
             (§11.3).",
            percent(clipped.accuracy),
            percent(unclipped.accuracy)
        ),
    );

    page.heading("A transformer: norms before or after, warm-up or not");
    let plan = &r.comparison.plan;
    page.paragraph(
        "",
        &format!(
            "Digits cut into 16 patches, {} layers of attention and feed-forward, {} features, Adam with learning rate {} and \
             cosine decay, no clipping (§17, §18, §22). Pre-norm puts layer norm inside the branch: h + F(norm(h)). Post-norm, \
             the original, puts it on the stream: norm(h + F(h)), so each layer rescales the gradient that passes by.",
            plan.size.layers,
            plan.size.shape.features(),
            short(plan.lr)
        ),
    );
    page.figure(
        svg("transformer_norms.svg"),
        "At the start the two are alike: the stream around the branches carries both gradients. What tells them apart is \
         training (Xiong et al. 2020).",
    );
    let table: String = r
        .comparison
        .courses
        .iter()
        .map(|c| format!("{} {}", c.name, percent(c.accuracy)))
        .collect::<Vec<_>>()
        .join("; ");
    page.figure(
        svg("transformer.svg"),
        &format!(
            "Warm-up raises the learning rate over the first {} steps. Held-out digits recognized: {table}.",
            plan.warmup
        ),
    );

    page.heading("All numbers");
    page.raw(&format!(
        "<details><summary>{} networks, measured and predicted</summary>\n{}</details>\n",
        r.findings.len(),
        tables::all(&r.findings)
    ));
    let Plan { width, batch, draws, .. } = r.plan;
    let plural = if draws == 1 { "draw" } else { "draws" };
    page.paragraph(
        "note",
        &format!(
            "Networks are {width} wide and see {batch} images; norms are the geometric mean of {draws} {plural} of the weights. \
             Images are standardized by the training images (§21): 1797 digits of 8×8 pixels by Alpaydin and Kaynak (CC BY \
             4.0), one in five held out. α is fitted by <code>gradient_flow</code> to ‖∂L/∂h‖ of all layers (§20). The numbers \
             are the same in every run and for any number of threads. This report: <code>cargo run --release --example \
             gradient_clinic{}</code>, seed {}.",
            if r.quick { " -- --quick" } else { "" },
            r.seed
        ),
    );
    page.finish()
}

fn short_rate(finding: &Finding) -> String {
    format!("{:.2}", finding.flow.rate)
}

/// For the terminal: the main results.
pub fn summary(r: &Results) -> String {
    let mut s = format!("α, the gradient's factor a layer toward the input, at {DEPTH} layers:\n");
    s += &format!("{:<22}{:>9}{:>9}{:>9}{:>12}\n", "", "naive", "Xavier", "He", "orthogonal");
    for (norm, path) in [(Norm::None, Path::Plain), (Norm::Batch, Path::Plain), (Norm::Layer, Path::Residual)] {
        for act in recipe::Act::ALL {
            let rates = Start::ALL.map(|start| {
                let f = find(&r.findings, Recipe { act, start, norm, path }, DEPTH);
                let sign = match f.flow.verdict {
                    FlowVerdict::Healthy => ' ',
                    FlowVerdict::Vanishing => 'v',
                    FlowVerdict::Exploding => '^',
                    _ => 'x',
                };
                format!("{:.2}{sign}", f.flow.rate)
            });
            let what = match (norm, path) {
                (Norm::None, _) => act.name().to_string(),
                (_, Path::Plain) => format!("{}, {}", act.name(), norm.name()),
                _ => format!("{}, LN, {}", act.name(), path.name()),
            };
            s += &format!("{what:<22}{:>9}{:>9}{:>9}{:>12}\n", rates[0], rates[1], rates[2], rates[3]);
        }
    }
    s += "(v vanishing, ^ exploding)\n\nthrough time                    α a step  at t = 1\n";
    for e in &r.echoes {
        s += &format!(
            "{:<32}{:>8.3}{:>10.1e}  {}\n",
            e.name(),
            e.flow.rate,
            e.norms[0],
            tables::verdict(e.flow.verdict)
        );
    }
    s += "\ntraining                        held out  last loss\n";
    let trained =
        r.clipping.iter().map(|c| ("RNN ", c)).chain(r.comparison.courses.iter().map(|c| ("transformer ", c)));
    for (kind, c) in trained {
        let name = format!("{kind}{}", c.name);
        s += &format!("{name:<32}{:>8}{:>10.3}\n", percent(c.accuracy), c.final_loss());
    }
    s
}
