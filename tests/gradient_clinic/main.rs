//! The gradient clinic: its gradients against differences, its quick run against the whitepaper, its report as HTML.

// Parts of the example that a test of its gradients needs; what else is in them is the example's.
#[allow(dead_code)]
#[path = "../../examples/rust/gradient_clinic/attend.rs"]
mod attend;
#[path = "../quickstart/built.rs"]
mod built;
#[allow(dead_code)]
#[path = "../../examples/rust/common/digits.rs"]
mod digits;
mod gradients;
#[cfg(not(debug_assertions))]
mod page;
#[allow(dead_code)]
#[path = "../../examples/rust/gradient_clinic/patient.rs"]
mod patient;
#[cfg(not(debug_assertions))]
mod quick;
#[allow(dead_code)]
#[path = "../../examples/rust/gradient_clinic/recipe.rs"]
mod recipe;
#[allow(dead_code)]
#[path = "../../examples/rust/common/split.rs"]
mod split;
#[allow(dead_code)]
#[path = "../../examples/rust/gradient_clinic/stack.rs"]
mod stack;
#[allow(dead_code)]
#[path = "../../examples/rust/gradient_clinic/transformer.rs"]
mod transformer;

use built::Example;

static EXAMPLE: Example = Example::new("gradient_clinic");

#[test]
fn bad_arguments_are_refused() {
    EXAMPLE.refuses(&["--frobnicate"], "unknown argument \"--frobnicate\"");
    EXAMPLE.refuses(&["--out"], "--out needs a value");
    EXAMPLE.refuses(&["--seed", "many"], "--seed is \"many\", expected a whole number");
    EXAMPLE.refuses(&["--threads", "5000"], "num_threads is 5000");
    EXAMPLE.refuses(&["--data", "no/such/file.csv"], "no/such/file.csv: cannot be read");
}

#[test]
fn help_names_every_option() {
    let output = EXAMPLE.run(&["--help"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for option in ["--quick", "--data", "--out", "--table", "--pictures", "--threads", "--seed", "--help"] {
        assert!(text.contains(option), "{option}");
    }
}
