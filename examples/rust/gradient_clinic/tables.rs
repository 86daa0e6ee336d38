//! What was measured as tables: the coloured one of all recipes, the bounds, every number, and CSV.

use crate::figures::{alpha, find};
use crate::recipe::{Act, Norm, Path, Recipe, Start};
use crate::survey::Finding;
use crate::words::number;
use evenkeel::monitor::FlowVerdict;
use std::fmt::Write;

pub fn verdict(verdict: FlowVerdict) -> &'static str {
    match verdict {
        FlowVerdict::Healthy => "healthy",
        FlowVerdict::Vanishing => "vanishing",
        FlowVerdict::Exploding => "exploding",
        FlowVerdict::Nonfinite => "not finite",
        FlowVerdict::Dead => "dead",
    }
}

/// A sign beside the colour, for readers who see no difference between colours.
fn sign(verdict: FlowVerdict) -> &'static str {
    match verdict {
        FlowVerdict::Healthy => "●",
        FlowVerdict::Vanishing => "▼",
        FlowVerdict::Exploding => "▲",
        FlowVerdict::Nonfinite | FlowVerdict::Dead => "✕",
    }
}

/// White where the gradient keeps its size, toward blue where it vanishes, toward orange where it explodes.
fn color(ratio: f64) -> String {
    let decades = if ratio > 0.0 { (ratio.log10() / 8.0).clamp(-1.0, 1.0) } else { -1.0 };
    let end = if decades < 0.0 { [125.0, 178.0, 224.0] } else { [244.0, 165.0, 96.0] };
    let [r, g, b] = end.map(|e| (255.0 + (e - 255.0) * decades.abs()).round() as u8);
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Rows: activations and initializations. Columns: paths and norms.
pub fn heat(findings: &[Finding], depth: usize) -> String {
    let mut s = String::from("<div class=\"scroll\"><table class=\"heat\">\n<thead>\n<tr><th></th><th></th>");
    for path in Path::ALL {
        write!(s, "<th colspan=\"3\" style=\"text-align:center\">{}</th>", path.name()).expect("string");
    }
    s += "</tr>\n<tr><th class=\"name\">activation</th><th class=\"name\">weights</th>";
    for _ in Path::ALL {
        for norm in Norm::ALL {
            write!(s, "<th>{}</th>", norm.name().trim_end_matches(" norm").replace("no", "none")).expect("string");
        }
    }
    s += "</tr>\n</thead>\n<tbody>\n";
    for act in Act::ALL {
        for (i, start) in Start::ALL.into_iter().enumerate() {
            let class = if i == 0 { " class=\"first\"" } else { "" };
            let name = if i == 0 { act.name() } else { "" };
            write!(s, "<tr{class}><td class=\"name\"><b>{name}</b></td><td class=\"name\">{}</td>", start.name())
                .expect("string");
            for path in Path::ALL {
                for norm in Norm::ALL {
                    let f = find(findings, Recipe { act, start, norm, path }, depth);
                    let (color, rate, sign) = (color(f.ratio()), alpha(f.flow.rate), sign(f.flow.verdict));
                    let left = number(f.ratio());
                    write!(
                        s,
                        "<td style=\"background:{color}\" title=\"{left} of the gradient is left\">{rate} {sign}</td>"
                    )
                    .expect("string");
                }
            }
            s += "</tr>\n";
        }
    }
    s + "</tbody>\n</table></div>\n"
}

/// Measured, predicted and largest possible α of plain recipes without a norm.
pub fn bounds(findings: &[Finding], depth: usize) -> String {
    let mut s = String::from(
        "<div class=\"scroll\"><table class=\"plain\">\n<thead><tr><th class=\"name\">activation</th>\
         <th class=\"name\">weights</th><th>α measured</th><th>α predicted, ‖J‖<sub>F</sub>/√n</th>\
         <th>largest possible, ‖J‖₂</th><th>left at the input</th></tr></thead>\n<tbody>\n",
    );
    for f in findings.iter().filter(|f| f.depth == depth) {
        let Some(bound) = f.bound else { continue };
        let (act, start) = (f.recipe.act.name(), f.recipe.start.name());
        let left = number(f.ratio());
        writeln!(
            s,
            "<tr><td class=\"name\">{act}</td><td class=\"name\">{start}</td><td>{:.3}</td><td>{:.3}</td>\
             <td>{bound:.3}</td><td>{left}</td></tr>",
            f.flow.rate, f.predicted
        )
        .expect("string");
    }
    s + "</tbody>\n</table></div>\n"
}

/// Every network measured.
pub fn all(findings: &[Finding]) -> String {
    let mut s = String::from(
        "<div class=\"scroll\"><table class=\"plain\">\n<thead><tr><th class=\"name\">path</th><th class=\"name\">norm</th>\
         <th class=\"name\">activation</th><th class=\"name\">weights</th><th>layers</th><th>α measured</th>\
         <th>α predicted</th><th>left at the input</th><th class=\"name\">verdict</th></tr></thead>\n<tbody>\n",
    );
    for f in findings {
        let Recipe { act, start, norm, path } = f.recipe;
        for name in [path.name(), norm.name(), act.name(), start.name()] {
            s += if name == path.name() { "<tr>" } else { "" };
            write!(s, "<td class=\"name\">{name}</td>").expect("string");
        }
        writeln!(
            s,
            "<td>{}</td><td>{:.3}</td><td>{:.3}</td><td>{}</td><td class=\"name\">{}</td></tr>",
            f.depth,
            f.flow.rate,
            f.predicted,
            number(f.ratio()),
            verdict(f.flow.verdict)
        )
        .expect("string");
    }
    s + "</tbody>\n</table></div>\n"
}

pub fn csv(findings: &[Finding]) -> String {
    let mut s =
        String::from("path,norm,activation,weights,layers,alpha,alpha_predicted,alpha_bound,left_at_input,verdict\n");
    for f in findings {
        let Recipe { act, start, norm, path } = f.recipe;
        let names = [path.name(), norm.name(), act.name(), start.name()].join(",");
        let bound = f.bound.map_or(String::new(), |b| format!("{b:.6}"));
        let (rate, predicted, left) = (f.flow.rate, f.predicted, f.ratio());
        writeln!(s, "{names},{},{rate:.6},{predicted:.6},{bound},{left:.3e},{}", f.depth, verdict(f.flow.verdict))
            .expect("string");
    }
    s
}
