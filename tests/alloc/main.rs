//! Steady state allocates nothing: a counting allocator watches the second call of every kernel.
//!
//! One test in a binary of its own, so that no other thread allocates meanwhile.

use evenkeel::matmul::{Transpose, matmul_f32};
use evenkeel::{Context, Isa};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the second call, after a first one has grown the workspace.
fn second_call(mut f: impl FnMut()) -> usize {
    f();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    f();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn steady_state_allocates_nothing() {
    one_thread_allocates_nothing();
    threads_cost_a_few_small_blocks();
}

fn one_thread_allocates_nothing() {
    let mut failures = Vec::new();
    for isa in Isa::available().filter(|isa| *isa != Isa::Scalar) {
        let ctx = Context::builder().isa(isa).num_threads(1).build().unwrap();
        let mut check = |name: &str, f: &mut dyn FnMut()| {
            let n = second_call(f);
            if n != 0 {
                failures.push(format!("{name} on {}: {n} allocations", isa.name()));
            }
        };
        matmul(&ctx, &mut check);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// With rayon, only its own queue may allocate: a few small blocks a call, never workspace.
fn threads_cost_a_few_small_blocks() {
    let ctx = Context::builder().num_threads(2).build().unwrap();
    let mut check = |name: &str, f: &mut dyn FnMut()| {
        let n = second_call(f);
        assert!(n <= 8, "{name}: {n} allocations");
    };
    matmul(&ctx, &mut check);
}

type Check<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut());

fn matmul(ctx: &Context, check: Check<'_>) {
    for (ta, tb) in [(Transpose::No, Transpose::No), (Transpose::No, Transpose::Yes), (Transpose::Yes, Transpose::No)] {
        for (m, n, k) in [(2, 50, 60), (40, 3, 100), (20, 20, 20), (200, 210, 300), (10, 200, 600)] {
            let (a, b, mut c) = (vec![1.0; m * k], vec![1.0; k * n], vec![0.0; m * n]);
            let lda = if ta == Transpose::No { k } else { m };
            let ldb = if tb == Transpose::No { n } else { k };
            check(&format!("matmul_f32 {m}x{n}x{k}"), &mut || {
                matmul_f32(ctx, ta, tb, m, n, k, 1.0, &a, lda, &b, ldb, 0.0, &mut c, n).unwrap();
            });
        }
    }
}
