//! The fuzz targets' one body: a call of a function of some family, its arguments chosen by the fuzzer's bytes through the
//! generator of tests/attack, and judged as there.

#[rustfmt::skip]
#[path = "../../tests/attack/calls.rs"]
mod calls;
#[path = "../../tests/attack/generator.rs"]
mod generator;
#[path = "../../tests/attack/memory.rs"]
mod memory;

// Brings the C functions into the program.
use calls::Call;
use evenkeel as _;
use generator::{Contexts, Generator, Source};
use memory::Arena;
use std::cell::RefCell;

/// Families and how the names of their functions begin, after `ek_`.
const FAMILIES: &[(&str, &[&str])] = &[
    ("matmul", &["matmul"]),
    ("linear", &["linear"]),
    ("activation", &["activation", "residual", "highway", "convert"]),
    ("norm", &["layer_norm", "add_layer_norm", "rms_norm", "group_norm", "batch_norm"]),
    ("softmax", &["softmax", "log_softmax"]),
    ("loss", &["cross_entropy", "mse", "bce"]),
    ("optim", &["clip", "grad_norm", "unscale", "loss_scaler", "schedule"]),
    ("recurrent", &["rnn", "lstm", "gru"]),
    ("attention", &["attention"]),
];

/// Allocations are counted by the tests, not here.
fn allocations() -> usize {
    0
}

/// Calls of one family; of "rest" those of none.
fn members(family: &str) -> Vec<Call> {
    let belongs = |name: &str, (_, prefixes): &(&str, &[&str])| {
        prefixes.iter().any(|prefix| name.strip_prefix("ek_").is_some_and(|rest| rest.starts_with(prefix)))
    };
    let chosen = |name: &str| match FAMILIES.iter().find(|known| known.0 == family) {
        Some(known) => belongs(name, known),
        None => !FAMILIES.iter().any(|known| belongs(name, known)),
    };
    calls::CALLS.iter().filter(|(name, _)| chosen(name)).map(|&(_, call)| call).collect()
}

struct State {
    calls: Vec<Call>,
    contexts: Contexts,
    arena: Arena,
}

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// One call of a function of `family`: the first two bytes choose which and whether arguments may be broken.
pub fn run(family: &str, data: &[u8]) {
    let [which, hostile, rest @ ..] = data else { return };
    STATE.with_borrow_mut(|state| {
        let state = state.get_or_insert_with(|| State {
            calls: members(family),
            contexts: Contexts::new(),
            arena: Arena::new(),
        });
        // A family that this version does not have.
        if state.calls.is_empty() {
            return;
        }
        let call = state.calls[*which as usize % state.calls.len()];
        call(&mut Generator::new(Source::new(0, rest), &mut state.arena, &state.contexts.0, hostile & 1 == 1));
    });
}
