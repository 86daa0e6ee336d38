//! Products of other types than f32, and of many items at once, against the same scalar program.

use crate::common::{self, Rng, assert_same_bits, samples};
use evenkeel::Context;
use evenkeel::element::{bf16, f16};
use evenkeel::matmul::{
    DEALT_BLOCK, K_BLOCK, Transpose, matmul_batched_f32, matmul_bf16, matmul_f16, matmul_f32, matmul_f64,
};
use proptest::prelude::*;

const NO: Transpose = Transpose::No;
const YES: Transpose = Transpose::Yes;

/// The specification in f64: that of f32 with every operation in f64.
#[allow(clippy::too_many_arguments)]
fn expected_f64(
    (ta, tb): (Transpose, Transpose),
    (m, n, k): (usize, usize, usize),
    alpha: f64,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    beta: f64,
    c: &mut [f64],
    ldc: usize,
    invariant: bool,
) {
    let at_a = |i: usize, p: usize| a[if ta == NO { i * lda + p } else { p * lda + i }];
    let at_b = |p: usize, j: usize| b[if tb == NO { p * ldb + j } else { j * ldb + p }];
    let dealt = ta == NO && (m <= 4 && tb == YES || n <= 4) && !invariant;
    for i in 0..m {
        for j in 0..n {
            let c = &mut c[i * ldc + j];
            let mut sum = if beta == 0.0 { 0.0 } else { beta * *c };
            for p0 in (0..k).step_by(if dealt { DEALT_BLOCK } else { K_BLOCK }) {
                let s = if dealt {
                    let end = k.min(p0 + DEALT_BLOCK);
                    let mut lanes = [0.0f64; 8];
                    for p in p0..end.next_multiple_of(8) {
                        let (x, y) = if p < end { (at_a(i, p), at_b(p, j)) } else { (0.0, 0.0) };
                        lanes[p % 8] = x.mul_add(y, lanes[p % 8]);
                    }
                    lanes[1..].iter().fold(lanes[0], |s, lane| s + lane)
                } else {
                    (p0..k.min(p0 + K_BLOCK)).fold(0.0f64, |s, p| at_a(i, p).mul_add(at_b(p, j), s))
                };
                sum = alpha.mul_add(s, sum);
            }
            *c = sum;
        }
    }
}

fn stored(t: Transpose, rows: usize, cols: usize) -> (usize, usize) {
    if t == NO { (rows, cols) } else { (cols, rows) }
}

fn transposes() -> [(Transpose, Transpose); 4] {
    [(NO, NO), (NO, YES), (YES, NO), (YES, YES)]
}

/// Fused instruction sets, one thread and three, both orders; one context for each where asked to be quick.
fn contexts() -> Vec<Context> {
    let build = |isa, threads, invariant| {
        Context::builder().isa(isa).num_threads(threads).batch_invariant(invariant).build().unwrap()
    };
    common::isas()
        .filter(|isa| isa.is_fused())
        .flat_map(|isa| [build(isa, 1, false), build(isa, 3, false), build(isa, 2, true)])
        .step_by(if common::quick() { 3 } else { 1 })
        .collect()
}

fn check_f64(t: (Transpose, Transpose), dims: (usize, usize, usize), alpha: f64, beta: f64, pad: usize, seed: u64) {
    let (m, n, k) = dims;
    let ((a_rows, a_cols), (b_rows, b_cols)) = (stored(t.0, m, k), stored(t.1, k, n));
    let (lda, ldb, ldc) = (a_cols + pad, b_cols + pad, n + pad);
    let mut rng = Rng::new(seed);
    let mut fill = |len: usize| -> Vec<f64> {
        (0..len).map(|_| rng.uniform(-1.0, 1.0) as f64 + rng.uniform(-1e-9, 1e-9) as f64).collect()
    };
    let (a, b, c) = (fill(a_rows * lda), fill(b_rows * ldb), fill(m * ldc));
    for ctx in &contexts() {
        let mut want = c.clone();
        expected_f64(t, dims, alpha, &a, lda, &b, ldb, beta, &mut want, ldc, ctx.batch_invariant());
        let mut got = c.clone();
        matmul_f64(ctx, t.0, t.1, m, n, k, alpha, &a, lda, &b, ldb, beta, &mut got, ldc).unwrap();
        assert_same_bits(&format!("f64 {t:?} {dims:?} alpha {alpha} beta {beta} on {ctx:?}"), &got, &want);
    }
}

/// Every product of up to nine rows and columns: where the orders of summation part, and ways for small ones.
#[test]
fn smallest_f64_shapes_have_the_specified_bits() {
    for t in transposes() {
        for m in 1..=9 {
            for n in 1..=9 {
                for k in (1..=9).chain([18]).step_by(if common::quick() { 3 } else { 1 }) {
                    check_f64(t, (m, n, k), 0.5, [0.0, 1.0, -1.0][(m + n + k) % 3], (m + k) % 2, n as u64);
                }
            }
        }
    }
}

/// Rows of A that are packed for tiles whose height is no multiple of the block that turns in registers.
#[test]
fn packed_f64_has_the_specified_bits() {
    for m in [5, 6, 7, 11, 14, 29] {
        for t in transposes() {
            check_f64(t, (m, 520, 37), 1.0, 1.0, 0, m as u64);
        }
    }
    check_f64((NO, NO), (64, 72, 512), 1.0, 0.0, 0, 1);
}

/// Few rows of A against rows of B as they lie, 4 KiB apart and not.
#[test]
fn swept_f64_has_the_specified_bits() {
    for m in (1..=9).step_by(if common::quick() { 4 } else { 1 }) {
        for t in [(NO, NO), (YES, NO)] {
            check_f64(t, (m, 77, 270), 1.0, 0.5, 512 - 77, m as u64);
            check_f64(t, (m, 212, 35), -1.0, 1.0, 5, m as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: samples(64) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_f64_shapes_have_the_specified_bits(
        dims in (1usize..=60, 1usize..=60, 0usize..=60),
        which in 0usize..4,
        alpha in prop::sample::select(vec![0.0f64, 1.0, -1.0, 0.5]),
        beta in prop::sample::select(vec![0.0f64, 1.0, -1.0, 0.5]),
        pad in 0usize..4,
        seed: u64,
    ) {
        check_f64(transposes()[which], dims, alpha, beta, pad, seed);
    }

    #[test]
    fn random_half_wide_shapes_have_the_bits_of_f32(
        dims in (1usize..=60, 1usize..=60, 0usize..=60),
        which in 0usize..4,
        beta in prop::sample::select(vec![0.0f32, 1.0, -1.0, 0.5]),
        pad in 0usize..4,
        seed: u64,
    ) {
        check_half(transposes()[which], dims, 0.5, beta, pad, seed);
    }
}

#[test]
fn f64_tiles_blocks_and_slabs_have_the_specified_bits() {
    for t in transposes() {
        let all =
            [(7, 9, 257), (13, 8, 513), (3, 40, 2049), (40, 3, 2100), (6, 100, 64), (350, 41, 70), (100, 300, 20)];
        let few = [(7, 9, 257), (13, 8, 513), (1, 9, 2049), (9, 1, 2100), (6, 50, 20), (50, 41, 9), (30, 100, 5)];
        for dims in if common::quick() { few } else { all } {
            check_f64(t, dims, 1.0, 0.0, 0, 7);
            check_f64(t, dims, -1.0, 0.5, 3, 8);
        }
    }
}

#[test]
fn half_wide_tiles_blocks_and_slabs_have_the_bits_of_f32() {
    for t in transposes() {
        let all =
            [(7, 17, 257), (13, 8, 513), (3, 40, 2049), (40, 3, 2100), (6, 100, 64), (350, 41, 70), (100, 300, 20)];
        let few = [(7, 17, 257), (13, 8, 513), (1, 17, 2049), (17, 1, 2100), (6, 50, 20), (50, 41, 9), (30, 100, 5)];
        for dims in if common::quick() { few } else { all } {
            check_half(t, dims, 1.0, 0.0, 0, 7);
            check_half(t, dims, -1.0, 0.5, 3, 8);
        }
    }
}

/// Few rows against rows that turn in registers, where both are widened and copied first.
#[test]
fn half_wide_rows_that_turn_have_the_bits_of_f32() {
    for m in (5..=32).step_by(if common::quick() { 13 } else { 3 }) {
        for (n, k, pad) in [(35, 67, 0), (16, 300, 212), (100, 1040, 1)] {
            check_half((NO, YES), (m, n, k), 1.0, 0.5, pad, m as u64);
            check_half((NO, YES), (n, m, k), -1.0, 0.0, pad, m as u64);
        }
    }
}

/// bf16 and f16 products equal the f32 product of the widened numbers, subnormals and all.
fn check_half(t: (Transpose, Transpose), dims: (usize, usize, usize), alpha: f32, beta: f32, pad: usize, seed: u64) {
    let (m, n, k) = dims;
    let ((a_rows, a_cols), (b_rows, b_cols)) = (stored(t.0, m, k), stored(t.1, k, n));
    let (lda, ldb, ldc) = (a_cols + pad, b_cols + pad, n + pad);
    let mut rng = Rng::new(seed);
    let mut fill = |len: usize| -> Vec<f32> {
        let scale = |r: &mut Rng| if r.uniform(0.0, 1.0) < 0.1 { 1e-6 } else { 1.0 };
        (0..len).map(|_| rng.uniform(-1.0, 1.0) * scale(&mut rng)).collect()
    };
    let (a, b, c) = (fill(a_rows * lda), fill(b_rows * ldb), fill(m * ldc));
    macro_rules! check {
        ($type:ty, $product:ident) => {
            let narrow = |x: &[f32]| -> Vec<$type> { x.iter().map(|x| <$type>::from_f32(*x)).collect() };
            let widen = |x: &[$type]| -> Vec<f32> { x.iter().map(|x| x.to_f32()).collect() };
            let (a, b) = (narrow(&a), narrow(&b));
            let (wide_a, wide_b) = (widen(&a), widen(&b));
            for ctx in &contexts() {
                let (mut want, mut got) = (c.clone(), c.clone());
                matmul_f32(ctx, t.0, t.1, m, n, k, alpha, &wide_a, lda, &wide_b, ldb, beta, &mut want, ldc).unwrap();
                $product(ctx, t.0, t.1, m, n, k, alpha, &a, lda, &b, ldb, beta, &mut got, ldc).unwrap();
                let name = stringify!($product);
                assert_same_bits(&format!("{name} {t:?} {dims:?} beta {beta} on {ctx:?}"), &got, &want);
            }
        };
    }
    check!(bf16, matmul_bf16);
    check!(f16, matmul_f16);
}

/// Every item has the bits that it has alone, whoever computes it; what lies between items stays.
#[test]
fn items_of_a_batch_have_the_bits_they_have_alone() {
    let all = [(5, 3, 7, 9), (2, 70, 40, 300), (9, 1, 33, 12), (3, 40, 3, 500), (4, 20, 20, 0), (7, 64, 64, 64)];
    let few = [(5, 3, 7, 9), (2, 20, 17, 300), (9, 1, 33, 12), (3, 20, 3, 70), (4, 20, 20, 0), (3, 17, 16, 20)];
    let shapes = if common::quick() { few } else { all };
    for t in transposes() {
        for (batch, m, n, k) in shapes {
            let ((a_rows, a_cols), (b_rows, b_cols)) = (stored(t.0, m, k), stored(t.1, k, n));
            let (lda, ldb, ldc) = (a_cols + 1, b_cols + 2, n + 3);
            // A broadcast A, items of B side by side, items of C apart.
            let (stride_a, stride_b, stride_c) = (0, b_rows * ldb, m * ldc + 5);
            let mut rng = Rng::new(batch as u64);
            let mut fill = |len: usize| -> Vec<f32> { (0..len).map(|_| rng.uniform(-1.0, 1.0)).collect() };
            let (a, b, c) = (fill(a_rows * lda), fill(batch * stride_b), fill(batch * stride_c));
            for ctx in &contexts() {
                let mut want = c.clone();
                for i in 0..batch {
                    let (b, c) = (&b[i * stride_b..], &mut want[i * stride_c..]);
                    matmul_f32(ctx, t.0, t.1, m, n, k, 0.5, &a, lda, b, ldb, -1.0, c, ldc).unwrap();
                }
                let mut got = c.clone();
                matmul_batched_f32(
                    ctx, t.0, t.1, batch, m, n, k, 0.5, &a, lda, stride_a, &b, ldb, stride_b, -1.0, &mut got, ldc,
                    stride_c,
                )
                .unwrap();
                assert_same_bits(&format!("{t:?} {batch}x{m}x{n}x{k} on {ctx:?}"), &got, &want);
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_past_the_end_of_other_types_is_touched() {
    use common::Guarded;
    for ctx in &contexts() {
        for (ta, tb) in transposes() {
            for (m, n, k) in [(1, 1, 1), (3, 19, 23), (15, 33, 257), (29, 2, 40), (5, 70, 13), (40, 9, 31)] {
                let ((a_rows, lda), (b_rows, ldb)) = (stored(ta, m, k), stored(tb, k, n));
                macro_rules! check {
                    ($from:expr, $to:ty, $product:ident) => {
                        let values = |len: usize| (0..len).map(|i| $from((i % 13) as f32 - 6.0)).collect::<Vec<_>>();
                        let (a, b) = (values(a_rows * lda), values(b_rows * ldb));
                        let mut want = vec![0 as $to; m * n];
                        $product(ctx, ta, tb, m, n, k, 1.0, &a, lda, &b, ldb, 0.0, &mut want, n).unwrap();
                        let (a, b, mut c) = (Guarded::at_end(&a), Guarded::at_end(&b), Guarded::at_end(&want));
                        $product(ctx, ta, tb, m, n, k, 1.0, &a, lda, &b, ldb, 0.0, &mut c, n).unwrap();
                        assert_same_bits(concat!(stringify!($product), " at a guard page"), &c, &want);
                    };
                }
                check!(f64::from, f64, matmul_f64);
                check!(bf16::from_f32, f32, matmul_bf16);
                check!(f16::from_f32, f32, matmul_f16);
            }
        }
    }
}

#[test]
fn bad_batches_are_named_and_change_nothing() {
    let ctx = Context::builder().build().unwrap();
    let mut c = [7.0f32; 40];
    let mut call = |stride_a, stride_c, a_len: usize, c_len: usize| {
        let (a, b) = ([1.0; 40], [1.0; 40]);
        let c_part = &mut c[..c_len];
        let r = matmul_batched_f32(
            &ctx,
            NO,
            NO,
            3,
            2,
            5,
            3,
            1.0,
            &a[..a_len],
            3,
            stride_a,
            &b,
            5,
            0,
            0.0,
            c_part,
            5,
            stride_c,
        );
        assert_eq!(c, [7.0; 40]);
        r.unwrap_err().to_string()
    };
    assert_eq!(call(6, 9, 40, 40), "matmul_batched_f32: stride_c is 9 but a product's c spans 10 elements");
    assert!(call(6, 10, 17, 40).contains("a holds 17 elements, but 3 items 6 apart"));
    assert!(call(6, 10, 18, 29).contains("c holds 29 elements"));
    assert!(call(usize::MAX, 10, 18, 40).contains("address"));
}
