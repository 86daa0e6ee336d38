//! The quick run: what the whitepaper says is what it measures, in every run and for any number of threads.

use crate::{EXAMPLE, page};
use std::collections::HashMap;
use std::sync::OnceLock;

struct Run {
    stdout: String,
    html: String,
    csv: String,
    pictures: Vec<(String, String)>,
}

fn quick(threads: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (out, pictures) = (at("new/report.html"), at("pictures"));
    let output = EXAMPLE.run(&["--quick", "--threads", threads, "--out", &out, "--pictures", &pictures]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(&pictures).unwrap().map(|f| f.unwrap().path());
    let mut pictures: Vec<(String, String)> =
        files.map(|p| (p.file_name().unwrap().to_str().unwrap().into(), std::fs::read_to_string(p).unwrap())).collect();
    pictures.sort();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        html: std::fs::read_to_string(&out).unwrap(),
        csv: std::fs::read_to_string(at("new/report.csv")).unwrap(),
        pictures,
    }
}

fn once() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| quick("2"))
}

struct Row {
    depth: usize,
    rate: f64,
    predicted: f64,
    bound: Option<f64>,
    left: f64,
    verdict: String,
}

/// Rows by path, norm, activation and weights, in the order of depth.
fn table() -> HashMap<[&'static str; 4], Vec<Row>> {
    let mut table: HashMap<_, Vec<Row>> = HashMap::new();
    for line in once().csv.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [path, norm, act, start, depth, rate, predicted, bound, left, verdict] = fields[..] else {
            panic!("{line}")
        };
        let number = |text: &str| text.parse::<f64>().unwrap();
        let bound = (!bound.is_empty()).then(|| number(bound));
        let [rate, predicted, left] = [rate, predicted, left].map(number);
        let row = Row { depth: depth.parse().unwrap(), rate, predicted, bound, left, verdict: verdict.into() };
        table.entry([path, norm, act, start]).or_default().push(row);
    }
    table
}

#[test]
fn every_recipe_is_measured_at_every_depth() {
    let table = table();
    assert_eq!(table.len(), 4 * 4 * 3 * 3);
    for rows in table.values() {
        assert_eq!(rows.iter().map(|r| r.depth).collect::<Vec<_>>(), [4, 8, 16, 32, 64]);
    }
}

/// §5.1: σ' ≤ 1/4, so α can be no more than a quarter of what the weights do.
#[test]
fn sigmoid_vanishes() {
    let rows = &table()[&["plain", "no norm", "sigmoid", "naive"]];
    let at_32 = &rows[3];
    assert!(at_32.rate < 0.2 && at_32.left < 1e-20 && at_32.verdict == "vanishing", "{} {}", at_32.rate, at_32.left);
    // And at 64 it has left f32.
    assert_eq!(rows[4].left, 0.0);
}

/// §10.2, and what theory says of the others: α² = n·Var(W)/2 for ReLU.
#[test]
fn relu_has_the_alpha_of_its_initialization() {
    let table = table();
    for (start, alpha) in
        [("He", 1.0), ("orthogonal", 1.0), ("Xavier", 0.5f64.sqrt()), ("naive", (1.0f64 / 6.0).sqrt())]
    {
        for row in &table[&["plain", "no norm", "ReLU", start]][2..] {
            assert!((row.rate / alpha - 1.0).abs() < 0.06, "{start} at {}: {} for {alpha}", row.depth, row.rate);
            let verdict = if alpha == 1.0 { "healthy" } else { "vanishing" };
            assert!(row.verdict == verdict || row.depth < 32, "{start} at {}: {}", row.depth, row.verdict);
        }
    }
}

/// §13, §14: with a norm in the branch, whatever the activation and the weights.
#[test]
fn residual_networks_with_a_norm_are_healthy() {
    let table = table();
    let normed = table.iter().filter(|(key, _)| key[0] == "residual" && key[1] != "no norm");
    for (key, row) in normed.flat_map(|(key, rows)| rows.iter().map(move |row| (key, row))) {
        assert_eq!(row.verdict, "healthy", "{key:?} at {}", row.depth);
    }
}

/// Yang et al. 2019: batch norm and ReLU multiply by √(π/(π − 1)).
#[test]
fn batch_norm_with_relu_explodes_as_theory_says() {
    let row = &table()[&["plain", "batch norm", "ReLU", "He"]][4];
    let theory = (std::f64::consts::PI / (std::f64::consts::PI - 1.0)).sqrt();
    assert!((row.rate / theory - 1.0).abs() < 0.05 && row.verdict == "exploding", "{} {}", row.rate, row.verdict);
}

/// §3: the Jacobians tell α, and their norms bound it.
#[test]
fn jacobians_predict_alpha() {
    for (key, rows) in table().iter().filter(|(key, _)| key[0] == "plain" && key[1] == "no norm") {
        for row in &rows[2..] {
            let (rate, predicted, bound) = (row.rate, row.predicted, row.bound.unwrap());
            assert!((rate / predicted - 1.0).abs() < 0.08, "{key:?} at {}: {rate} for {predicted}", row.depth);
            assert!(rate < bound * 1.01, "{key:?} at {}: {rate} over {bound}", row.depth);
        }
    }
}

/// §7, §11, §16, §18: the lines of the summary.
#[test]
fn trainings_and_time_show_what_the_whitepaper_says() {
    let text = &once().stdout;
    let line = |start: &str| text.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}:\n{text}"));
    let share = |start: &str| {
        let words: Vec<&str> = line(start)[start.len()..].split_whitespace().collect();
        words[0].parse::<f64>().unwrap()
    };
    assert!(line("RNN, ρ = 0.80").ends_with("vanishing"));
    assert!(line("RNN, ρ = 1.60").ends_with("exploding"));
    assert!(line("LSTM, forget bias 0").ends_with("vanishing"));
    assert!(line("LSTM, forget bias 2").ends_with("healthy"));
    let clipped = share("RNN clipped to norm 1");
    assert!(clipped > 85.0 && clipped > share("RNN without clipping") + 25.0, "{text}");
    assert!(share("transformer pre-norm, warm-up") > 85.0, "{text}");
    assert!(share("transformer post-norm, warm-up") > share("transformer post-norm  ") + 30.0, "{text}");
}

#[test]
fn the_report_is_one_well_formed_page_that_needs_nothing_else() {
    let Run { html, pictures, .. } = once();
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    page::well_formed(&html["<!DOCTYPE html>\n".len()..]);
    page::self_contained(html);
    assert_eq!(html.matches("<svg ").count(), pictures.len());
    assert_eq!(html.matches("<figcaption>").count(), pictures.len());
    assert_eq!(pictures.len(), 10);
    for (name, svg) in pictures {
        page::well_formed(svg);
        page::self_contained(svg);
        assert!(svg.contains("<title>") && html.contains(svg.as_str()), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
    }
    for section in 3..=22 {
        // §17, §19 and a few more have no experiment of their own.
        let cited = html.contains(&format!("§{section}"));
        assert!(cited || [8, 17, 19].contains(&section), "§{section}");
    }
}

#[test]
fn threads_change_nothing() {
    let (two, one) = (once(), quick("1"));
    assert_eq!(two.stdout, one.stdout);
    assert_eq!(two.csv, one.csv);
    assert!(two.html == one.html && two.pictures == one.pictures);
}
