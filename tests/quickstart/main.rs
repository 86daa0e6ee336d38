//! The quickstart: its data loader's own tests, then the built example from the command line.

mod built;
#[path = "../../examples/rust/common/digits.rs"]
mod digits;

use built::Example;

static EXAMPLE: Example = Example::new("quickstart");

#[test]
fn bad_arguments_are_refused() {
    EXAMPLE.refuses(&["--frobnicate"], "unknown argument \"--frobnicate\"");
    EXAMPLE.refuses(&["--seed"], "--seed needs a value");
    EXAMPLE.refuses(&["--seed", "many"], "--seed is \"many\", expected a whole number");
    EXAMPLE.refuses(&["--threads", "-1"], "--threads is \"-1\"");
    EXAMPLE.refuses(&["--threads", "5000"], "num_threads is 5000");
    EXAMPLE.refuses(&["--epochs", "0"], "--epochs is 0");
}

#[test]
fn bad_data_is_refused_with_its_path_and_line() {
    EXAMPLE.refuses(&["--data", "no/such/file.csv"], "no/such/file.csv: cannot be read");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.csv");
    let name = path.to_str().unwrap();
    let cut = &text[..text.len() / 2 + 5];
    let letter = text.replacen("\n0,0,0,4", "\n0,0,zero,4", 1);
    for (line, bad) in [(cut.lines().count(), cut), (3, &letter), (1, "")] {
        std::fs::write(&path, bad).unwrap();
        EXAMPLE.refuses(&["--data", name], &format!("{name}:{line}: "));
    }
}

#[test]
fn help_names_every_option() {
    let output = EXAMPLE.run(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for option in ["--data", "--out", "--threads", "--seed", "--epochs", "--help"] {
        assert!(text.contains(option), "{option}");
    }
}

/// One epoch, because the suite also runs without optimization.
#[test]
fn threads_do_not_change_a_digit_of_report_or_plot() {
    let folder = tempfile::tempdir().unwrap();
    let [one, again, three] = [("1", "a.svg"), ("1", "b.svg"), ("3", "new/c.svg")].map(|(threads, file)| {
        let svg = folder.path().join(file);
        let output = EXAMPLE.run(&["--epochs", "1", "--threads", threads, "--out", svg.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), std::fs::read_to_string(svg).unwrap())
    });
    assert_eq!(one, again);
    assert_eq!(one, three);
    let (report, svg) = one;
    for verdict in ["vanishing", "exploding", "healthy", "not finite"] {
        assert!(report.contains(verdict), "{verdict}:\n{report}");
    }
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    for label in ["sigmoid: α", "large: α", "steady: α", "layer, from input to output"] {
        assert!(svg.contains(label), "{label}");
    }
}

/// The whole run, where it is fast: the promise of the README.
#[cfg(not(debug_assertions))]
#[test]
fn the_steady_network_learns_and_the_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("plot.svg");
    let output = EXAMPLE.run(&["--out", svg.to_str().unwrap()]);
    let report = String::from_utf8(output.stdout).unwrap();
    let accuracy = |name: &str| {
        let line = report.lines().rfind(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().rev().nth(1).unwrap().parse::<f64>().unwrap()
    };
    assert!(accuracy("steady") > 95.0, "{report}");
    assert!(accuracy("sigmoid") < 15.0 && accuracy("large") < 15.0, "{report}");
}
