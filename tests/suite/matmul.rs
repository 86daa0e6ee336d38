//! Matrix products against the scalar program that specifies them, and against f64.

use crate::common::{self, Rng, assert_same_bits, samples};
use evenkeel::Context;
use evenkeel::matmul::{DEALT_BLOCK, K_BLOCK, Transpose, matmul_f32};
use proptest::prelude::*;

/// A product with its storage: everything that `matmul_f32` takes.
#[derive(Debug, Clone)]
struct Case {
    ta: Transpose,
    tb: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    beta: f32,
    /// Padding of each row of A, B and C.
    pad: [usize; 3],
    /// Elements before the first of A, B and C: an unaligned start.
    skip: [usize; 3],
    seed: u64,
}

struct Data {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    lda: usize,
    ldb: usize,
    ldc: usize,
}

impl Case {
    fn new(ta: Transpose, tb: Transpose, m: usize, n: usize, k: usize) -> Case {
        Case { ta, tb, m, n, k, alpha: 1.0, beta: 0.0, pad: [0; 3], skip: [0; 3], seed: (m * 31 + n * 7 + k) as u64 }
    }

    fn data(&self) -> Data {
        let mut rng = Rng::new(self.seed);
        let mut fill = |rows: usize, ld: usize, skip: usize| -> Vec<f32> {
            (0..skip + rows * ld).map(|_| rng.uniform(-1.0, 1.0)).collect()
        };
        let (a_rows, a_cols) = if self.ta == Transpose::No { (self.m, self.k) } else { (self.k, self.m) };
        let (b_rows, b_cols) = if self.tb == Transpose::No { (self.k, self.n) } else { (self.n, self.k) };
        let (lda, ldb, ldc) = (a_cols + self.pad[0], b_cols + self.pad[1], self.n + self.pad[2]);
        let a = fill(a_rows, lda, self.skip[0]);
        let b = fill(b_rows, ldb, self.skip[1]);
        let c = fill(self.m, ldc, self.skip[2]);
        Data { a, b, c, lda, ldb, ldc }
    }

    fn run(&self, ctx: &Context, d: &Data) -> Vec<f32> {
        let mut c = d.c.clone();
        matmul_f32(
            ctx,
            self.ta,
            self.tb,
            self.m,
            self.n,
            self.k,
            self.alpha,
            &d.a[self.skip[0]..],
            d.lda,
            &d.b[self.skip[1]..],
            d.ldb,
            self.beta,
            &mut c[self.skip[2]..],
            d.ldc,
        )
        .unwrap();
        c
    }

    fn a(&self, d: &Data, i: usize, p: usize) -> f32 {
        d.a[self.skip[0] + if self.ta == Transpose::No { i * d.lda + p } else { p * d.lda + i }]
    }

    fn b(&self, d: &Data, p: usize, j: usize) -> f32 {
        d.b[self.skip[1] + if self.tb == Transpose::No { p * d.ldb + j } else { j * d.ldb + p }]
    }

    /// The specification.
    fn expected(&self, d: &Data, batch_invariant: bool) -> Vec<f32> {
        let dealt =
            self.ta == Transpose::No && (self.m <= 4 && self.tb == Transpose::Yes || self.n <= 4) && !batch_invariant;
        let mut c = d.c.clone();
        for i in 0..self.m {
            for j in 0..self.n {
                let at = self.skip[2] + i * d.ldc + j;
                let mut sum = if self.beta == 0.0 { 0.0 } else { self.beta * c[at] };
                let block = if dealt { DEALT_BLOCK } else { K_BLOCK };
                for p0 in (0..self.k).step_by(block) {
                    let end = self.k.min(p0 + block);
                    let s = if dealt {
                        let mut lanes = [0.0f32; 8];
                        for p in p0..end.next_multiple_of(8) {
                            let (x, y) = if p < end { (self.a(d, i, p), self.b(d, p, j)) } else { (0.0, 0.0) };
                            lanes[p % 8] = x.mul_add(y, lanes[p % 8]);
                        }
                        lanes[1..].iter().fold(lanes[0], |s, lane| s + lane)
                    } else {
                        (p0..end).fold(0.0f32, |s, p| self.a(d, i, p).mul_add(self.b(d, p, j), s))
                    };
                    sum = self.alpha.mul_add(s, sum);
                }
                c[at] = sum;
            }
        }
        c
    }

    fn check(&self, contexts: &[Context]) {
        let d = self.data();
        let plain = self.expected(&d, false);
        let invariant = self.expected(&d, true);
        for ctx in contexts {
            let want = if ctx.batch_invariant() { &invariant } else { &plain };
            let got = self.run(ctx, &d);
            if ctx.isa().is_fused() {
                assert_same_bits(&format!("{self:?} on {ctx:?}"), &got, want);
            } else {
                for (g, w) in got.iter().zip(want) {
                    assert!((g - w).abs() <= 1e-5 * (self.k as f32 + 1.0), "{self:?} on {ctx:?}: {g} for {w}");
                }
            }
        }
    }
}

/// Every instruction set, some with other executors and promises.
fn all_contexts() -> Vec<Context> {
    let mut all: Vec<Context> = common::contexts().chain(common::exact_contexts()).collect();
    all.extend(
        common::isas().map(|isa| Context::builder().isa(isa).num_threads(2).batch_invariant(true).build().unwrap()),
    );
    all
}

const TRANSPOSES: [Transpose; 2] = [Transpose::No, Transpose::Yes];

fn transposes() -> impl Iterator<Item = (Transpose, Transpose)> {
    TRANSPOSES.into_iter().flat_map(|a| TRANSPOSES.into_iter().map(move |b| (a, b)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: samples(96) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_have_the_specified_bits(
        (m, n, k) in (0usize..=70, 0usize..=70, 0usize..=70),
        which in 0usize..4,
        alpha in prop::sample::select(vec![0.0f32, 1.0, -1.0, 0.5]),
        beta in prop::sample::select(vec![0.0f32, 1.0, -1.0, 0.5]),
        pad in prop::array::uniform3(0usize..5),
        skip in prop::array::uniform3(0usize..5),
        seed: u64,
    ) {
        let (ta, tb) = transposes().nth(which).unwrap();
        Case { ta, tb, m, n, k, alpha, beta, pad, skip, seed }.check(&all_contexts());
    }
}

fn most() -> usize {
    if common::quick() { 50 } else { 300 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: samples(24) as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn larger_random_shapes_have_the_specified_bits(
        (m, n, k) in (1..=most(), 1..=most(), 1..=most()),
        which in 0usize..4,
        alpha in prop::sample::select(vec![1.0f32, -1.0, 0.5]),
        beta in prop::sample::select(vec![0.0f32, 1.0, -1.0, 0.5]),
        pad in prop::array::uniform3(0usize..5),
        skip in prop::array::uniform3(0usize..5),
        seed: u64,
    ) {
        let (ta, tb) = transposes().nth(which).unwrap();
        let contexts: Vec<Context> = common::exact_contexts().collect();
        Case { ta, tb, m, n, k, alpha, beta, pad, skip, seed }.check(&contexts);
    }
}

/// Few rows against many columns, many rows against few, few steps of k: each has a path of its own.
#[test]
fn paths_of_extreme_shapes_have_the_specified_bits() {
    let contexts = all_contexts();
    for (ta, tb) in transposes() {
        let (many, more) = if common::quick() { (49, 20) } else { (100, 70) };
        for few in 1..=14 {
            Case { beta: 0.5, ..Case::new(ta, tb, few, many, more) }.check(&contexts);
            Case { alpha: -1.0, ..Case::new(ta, tb, many, few, more) }.check(&contexts);
            Case { beta: 1.0, ..Case::new(ta, tb, 15 * many / 10, 2 * more, few) }.check(&contexts);
        }
        // Rows 4 KiB apart are packed where others are not.
        Case::new(ta, tb, 3, 1024, 40).check(&contexts);
        Case::new(ta, tb, 40, 1024, 8).check(&contexts);
    }
}

/// Every product of up to nine rows and columns: where the orders of summation part, and ways for small ones.
#[test]
fn smallest_shapes_have_the_specified_bits() {
    let contexts = all_contexts();
    for (ta, tb) in transposes() {
        for m in 1..=9 {
            for n in 1..=9 {
                for k in (1..=9).chain([18]).step_by(if common::quick() { 3 } else { 1 }) {
                    let beta = [0.0, 1.0, -1.0][(m + n + k) % 3];
                    Case { beta, ..Case::new(ta, tb, m, n, k) }.check(&contexts);
                }
            }
        }
    }
}

/// Few rows of A against rows of B, read as they lie: sums wait in cache and are cut at 16,384; rows 4 KiB apart go by
/// eight, and for more rows of A.
#[test]
fn few_rows_against_rows_as_they_lie_have_the_specified_bits() {
    let contexts = all_contexts();
    for ta in TRANSPOSES {
        for m in (1..=19).step_by(if common::quick() { 6 } else { 1 }) {
            for (n, k, pad) in [(52, 300, 972), (67, 39, 445), (400, 13, 624), (81, 34, 0)] {
                let case = Case::new(ta, Transpose::No, m, n, k);
                Case { beta: 0.5, pad: [3, pad, 1], ..case }.check(&contexts);
            }
        }
        Case { beta: 1.0, ..Case::new(ta, Transpose::No, 1, 17_000, 3) }.check(&contexts);
        Case { beta: -1.0, ..Case::new(ta, Transpose::No, 7, 3072, 20) }.check(&contexts);
    }
}

/// Few rows of x against rows of W that turn in registers: every height of a tile and some of two and three, whole vectors of
/// rows and parts of one, steps that end within four, rows 4 KiB apart and x and W that compete at 2 KiB, either in the
/// place of the other.
#[test]
fn few_rows_against_rows_that_turn_have_the_specified_bits() {
    let contexts = all_contexts();
    let nt = |m, n, k| Case::new(Transpose::No, Transpose::Yes, m, n, k);
    for m in (5..=33).step_by(if common::quick() { 9 } else { 1 }) {
        for (n, k, pad, beta) in
            [(16, 32, 0, 0.0), (10, 67, 1, 1.0), (35, 258, 2, -0.5), (33, 337, 687, 1.0), (48, 130, 382, 0.0)]
        {
            let alpha = if beta == 0.0 { 1.0 } else { 1.5 };
            Case { alpha, beta, pad: [pad, pad, 3], skip: [1, 2, 3], ..nt(m, n, k) }.check(&contexts);
            Case { alpha, beta, pad: [pad, pad, 3], ..nt(n, m, k) }.check(&contexts);
        }
    }
    // More steps than all columns pass at a time.
    for (m, n, k) in [(7, 40, 1100), (19, 23, 1025), (100, 9, 1030), (200, 12, 512)] {
        Case { beta: 1.0, ..nt(m, n, k) }.check(&contexts);
    }
}

/// Few rows over few steps, whose sums join C at once where C keeps all or nothing of itself: one step more and less than go
/// together, by how rows of B lie, and parts of vectors.
#[test]
fn few_rows_over_few_steps_have_the_specified_bits() {
    let contexts = all_contexts();
    for ta in TRANSPOSES {
        for m in 1..=5 {
            for (n, k) in [(16, 8), (66, 9), (127, 32), (256, 10), (300, 31), (512, 33), (512, 32), (1024, 3)] {
                for beta in [0.0, 1.0, -1.0] {
                    let case = Case::new(ta, Transpose::No, m, n, k);
                    Case { alpha: 1.5, beta, pad: [1, n % 3, 2], ..case }.check(&contexts);
                }
            }
        }
    }
}

/// Dot products of few rows and of few columns by groups, the lanes of eight at a time: as many as groups have, and one more and
/// less, over one block of k and two.
#[test]
fn groups_of_dot_products_have_the_specified_bits() {
    let contexts = all_contexts();
    for few in 1..=4 {
        for many in (1..=20).chain([63, 66, 74]).step_by(if common::quick() { 5 } else { 1 }) {
            for (k, beta) in [(7, 0.0), (64, 1.0), (131, -0.5)] {
                let rows = Case::new(Transpose::No, Transpose::Yes, few, many, k);
                Case { beta, ..rows }.check(&contexts);
                for tb in TRANSPOSES {
                    let columns = Case::new(Transpose::No, tb, many, few, k);
                    Case { beta, pad: [0, 1, 3], ..columns }.check(&contexts);
                }
            }
        }
        Case { beta: 0.5, ..Case::new(Transpose::No, Transpose::Yes, few, 10, 2060) }.check(&contexts);
    }
}

/// Every remainder of every tile, and the edges of every block of k.
#[test]
fn tile_and_block_edges_have_the_specified_bits() {
    let contexts = all_contexts();
    for (ta, tb) in transposes() {
        for m in 1..=29 {
            Case::new(ta, tb, m, 33, 17).check(&contexts);
        }
        for n in 1..=65 {
            Case::new(ta, tb, 15, n, 9).check(&contexts);
        }
        for k in [255, 256, 257, 512, 513, 2047, 2048, 2049, 4100] {
            if common::quick() && ![257, 2049].contains(&k) {
                continue;
            }
            Case { beta: 0.5, ..Case::new(ta, tb, 5, 18, k) }.check(&contexts);
            Case { alpha: 0.5, ..Case::new(ta, tb, 3, 17, k) }.check(&contexts);
            Case { beta: -1.0, ..Case::new(ta, tb, 9, 2, k) }.check(&contexts);
        }
    }
}

/// Panels of B that are packed some steps at a time, while sums wait: one step more and less than are packed at once, panels
/// that are not whole, A in place and packed. Few columns, whose tiles turn on their way to C.
#[test]
fn panels_that_are_packed_by_steps_have_the_specified_bits() {
    let contexts = all_contexts();
    for ta in TRANSPOSES {
        for k in [127, 128, 129, 132, 255, 256, 257, 385, 600] {
            if common::quick() && ![129, 385].contains(&k) {
                continue;
            }
            for (m, n) in [(5, 31), (8, 32), (15, 33), (29, 70), (40, 48), (128, 17), (129, 40)] {
                Case { beta: 0.5, ..Case::new(ta, Transpose::Yes, m, n, k) }.check(&contexts);
                Case { alpha: -2.0, ..Case::new(ta, Transpose::Yes, m, n, k) }.check(&contexts);
            }
            for (m, n) in [(43, 70), (128, 49), (129, 70)] {
                Case { beta: 1.0, ..Case::new(ta, Transpose::No, m, n, k) }.check(&contexts);
            }
            for (m, n) in [(17, 5), (32, 10), (50, 12), (8, 9)] {
                let pad = [0, 0, n % 3];
                Case { beta: -1.0, pad, ..Case::new(ta, Transpose::Yes, m, n, k) }.check(&contexts);
                Case { beta: 1.0, ..Case::new(ta, Transpose::No, m, n, k) }.check(&contexts);
            }
        }
    }
}

/// Where a vector is a line of the cache, the columns of tiles begin where lines of C do, wherever C begins: thin products,
/// and a B in place that lies as C does. Narrow panels meet an A that was packed for whole tiles.
#[test]
fn columns_begin_where_lines_do_with_the_specified_bits() {
    let contexts: Vec<Context> = common::exact_contexts().collect();
    for skip in (0..16).step_by(if common::quick() { 5 } else { 1 }) {
        for (ta, tb) in transposes() {
            for (m, n, k) in [(5, 272usize, 3), (31, 256, 7), (45, 304, 16), (60, 521, 12), (400, 272, 9)] {
                let pad = [skip % 3, skip % 2, n.next_multiple_of(16) - n];
                let case = Case::new(ta, tb, m, n, k);
                Case { beta: 0.5, pad, skip: [skip / 3, skip / 2, skip], ..case }.check(&contexts);
            }
        }
        Case { beta: -1.0, skip: [1, skip, skip], ..Case::new(Transpose::No, Transpose::No, 20, 272, 300) }
            .check(&contexts);
        Case { skip: [1, skip, skip], ..Case::new(Transpose::No, Transpose::No, 7, 512, 290) }.check(&contexts);
    }
    for n in [513, 520, 527] {
        Case { beta: 1.0, ..Case::new(Transpose::Yes, Transpose::No, 100, n, 70) }.check(&contexts);
        Case::new(Transpose::No, Transpose::Yes, 400, n, 40).check(&contexts);
    }
}

/// Shapes that cross every blocking parameter, on the fast instruction sets against the specification.
#[test]
fn large_shapes_have_the_specified_bits() {
    let fast: Vec<Context> = common::exact_contexts().take(if common::quick() { 1 } else { usize::MAX }).collect();
    for (ta, tb) in transposes() {
        if common::quick() {
            Case { beta: 1.0, ..Case::new(ta, tb, 50, 67, 530) }.check(&fast);
            continue;
        }
        Case { beta: 1.0, ..Case::new(ta, tb, 300, 271, 530) }.check(&fast);
        Case::new(ta, tb, 263, 9, 1030).check(&fast);
        Case::new(ta, tb, 6, 1500, 700).check(&fast);
    }
}

/// A slab of packed B ends in the middle of k and of n.
#[test]
fn slabs_of_b_have_the_specified_bits() {
    if common::quick() {
        // Hundreds of millions of operations: an emulator's minutes.
        return;
    }
    let contexts: Vec<Context> = common::exact_contexts().collect();
    Case { beta: 1.0, ..Case::new(Transpose::No, Transpose::Yes, 29, 40, 150_000) }.check(&contexts);
    Case::new(Transpose::Yes, Transpose::No, 33, 2300, 1000).check(&contexts);
}

/// A few outer products, summed into a C beyond second-level caches: rows by twos, and a last one.
#[test]
fn outer_products_into_a_large_c_have_the_specified_bits() {
    if common::quick() {
        return;
    }
    let contexts: Vec<Context> = common::exact_contexts().collect();
    for (ta, tb) in transposes() {
        for k in 4..=9 {
            let beta = [0.0, 1.0, -0.5][k % 3];
            Case { beta, pad: [0, 0, k % 2], skip: [0, 0, k], ..Case::new(ta, tb, 1001, 531, k) }.check(&contexts);
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_it_has_in_a_batch_when_asked() {
    for isa in common::isas().filter(|isa| isa.is_fused()) {
        let ctx = Context::builder().isa(isa).batch_invariant(true).build().unwrap();
        for tb in TRANSPOSES {
            let case = Case::new(Transpose::No, tb, 40, 35, 300);
            let d = case.data();
            let whole = case.run(&ctx, &d);
            for m in [1, 2, 3, 4, 5, 17] {
                let part = Case { m, ..case.clone() }.run(&ctx, &d);
                assert_same_bits(&format!("{m} rows on {isa:?}"), &part[..m * 35], &whole[..m * 35]);
            }
        }
    }
}

#[test]
fn a_column_alone_has_the_bits_it_has_among_others_when_asked() {
    for isa in common::isas().filter(|isa| isa.is_fused()) {
        let ctx = Context::builder().isa(isa).batch_invariant(true).build().unwrap();
        for ta in TRANSPOSES {
            let case = Case::new(ta, Transpose::No, 40, 35, 300);
            let d = case.data();
            let whole = case.run(&ctx, &d);
            for n in [1, 2, 3, 4, 5, 13, 17] {
                let mut c = vec![0.0; 40 * n];
                matmul_f32(&ctx, ta, Transpose::No, 40, n, 300, 1.0, &d.a, d.lda, &d.b, d.ldb, 0.0, &mut c, n).unwrap();
                let want: Vec<f32> = whole.chunks(35).flat_map(|row| row[..n].to_vec()).collect();
                assert_same_bits(&format!("{n} columns on {isa:?}"), &c, &want);
            }
        }
    }
}

#[test]
fn nan_and_infinity_propagate() {
    for ctx in &all_contexts() {
        for (ta, tb) in transposes() {
            for (m, n, k) in [(3, 4, 40), (20, 40, 40), (1, 1, 1)] {
                for poison in [f32::NAN, f32::INFINITY] {
                    let case = Case::new(ta, tb, m, n, k);
                    let mut d = case.data();
                    // One entry of A poisons one row of C, and what beta = 0 does not read poisons nothing.
                    d.a[0] = poison;
                    d.c.fill(f32::NAN);
                    let c = case.run(ctx, &d);
                    for (i, row) in c.chunks(n).enumerate() {
                        let bad = row.iter().all(|v| !v.is_finite());
                        assert_eq!(bad, i == 0, "{case:?} {poison} row {i}: {row:?}");
                    }
                    let mut d = case.data();
                    d.b[0] = poison;
                    let c = case.run(ctx, &d);
                    for (at, v) in c.iter().enumerate() {
                        assert_eq!(!v.is_finite(), at % n == 0, "{case:?} {poison} element {at}");
                    }
                    let zero = Case { alpha: 0.0, ..case.clone() }.run(ctx, &d);
                    assert!(zero[0].is_nan(), "alpha = 0 times {poison} is not NaN");
                }
            }
        }
    }
}

#[test]
fn sums_are_true() {
    let ctx = Context::builder().build().unwrap();
    let full = [(3, 50, 1000), (50, 3, 1000), (64, 64, 3000)];
    for (ta, tb) in transposes() {
        for (m, n, k) in if common::quick() { [(3, 17, 300), (17, 3, 300), (8, 8, 700)] } else { full } {
            let case = Case { alpha: 0.5, beta: -1.0, ..Case::new(ta, tb, m, n, k) };
            let d = case.data();
            let c = case.run(&ctx, &d);
            for i in 0..m {
                for j in 0..n {
                    let terms = |p| case.a(&d, i, p) as f64 * case.b(&d, p, j) as f64;
                    let truth = 0.5 * (0..k).map(terms).sum::<f64>() - d.c[i * n + j] as f64;
                    let size = (0..k).map(|p| terms(p).abs()).sum::<f64>() + 1.0;
                    // Chains of at most K_BLOCK roundings, then one for each block.
                    let bound = (K_BLOCK.min(k) + k / K_BLOCK + 3) as f64 * f32::EPSILON as f64 / 2.0 * size;
                    let error = (c[i * n + j] as f64 - truth).abs();
                    assert!(error <= bound, "{case:?} ({i}, {j}): error {error:e} above {bound:e}");
                }
            }
        }
    }
}

#[test]
fn padding_between_rows_is_untouched() {
    for ctx in &all_contexts() {
        for (m, n) in [(3, 5), (20, 37), (40, 4)] {
            let case = Case { pad: [1, 2, 3], beta: 0.5, ..Case::new(Transpose::No, Transpose::Yes, m, n, 20) };
            let d = case.data();
            let c = case.run(ctx, &d);
            for (at, (new, old)) in c.iter().zip(&d.c).enumerate() {
                if at % d.ldc >= n {
                    assert_eq!(new.to_bits(), old.to_bits(), "padding at {at}");
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_past_the_end_is_touched() {
    use common::Guarded;
    for ctx in &all_contexts() {
        for (ta, tb) in transposes() {
            for (m, n, k) in
                [(1, 1, 1), (3, 19, 23), (15, 33, 257), (12, 32, 70), (40, 10, 67), (29, 2, 40), (5, 70, 13)]
            {
                let case = Case::new(ta, tb, m, n, k);
                let d = case.data();
                let want = case.run(ctx, &d);
                let (a, b) = (Guarded::at_end(&d.a), Guarded::at_end(&d.b));
                let mut c = Guarded::at_end(&d.c);
                matmul_f32(ctx, ta, tb, m, n, k, 1.0, &a, d.lda, &b, d.ldb, 0.0, &mut c, d.ldc).unwrap();
                assert_same_bits(&format!("{case:?} on {ctx:?}"), &c, &want);
            }
        }
    }
}

#[test]
fn bad_arguments_are_named_and_change_nothing() {
    let ctx = Context::builder().build().unwrap();
    let mut c = [7.0f32; 20];
    let no = Transpose::No;
    let mut call = |lda, ldb, ldc, a: usize, b: usize, c_len: usize| {
        let r = matmul_f32(
            &ctx,
            no,
            no,
            4,
            5,
            3,
            1.0,
            &[1.0; 20][..a],
            lda,
            &[1.0; 20][..b],
            ldb,
            0.0,
            &mut c[..c_len],
            ldc,
        );
        assert_eq!(c, [7.0; 20]);
        r.unwrap_err().to_string()
    };
    assert_eq!(call(2, 5, 5, 12, 15, 20), "matmul_f32: lda is 2 but rows of a hold k = 3 elements");
    assert_eq!(call(3, 3, 5, 12, 15, 20), "matmul_f32: ldb is 3 but rows of b hold n = 5 elements");
    assert_eq!(call(3, 5, 4, 12, 15, 20), "matmul_f32: ldc is 4 but rows of c hold n = 5 elements");
    assert!(call(3, 5, 5, 11, 15, 20).contains("a holds 11 elements"));
    assert!(call(3, 5, 5, 12, 14, 20).contains("b holds 14 elements"));
    assert!(call(3, 5, 5, 12, 15, 19).contains("c holds 19 elements"));
    assert!(call(usize::MAX, 5, 5, 12, 15, 20).contains("address"));
}

#[test]
fn empty_products_scale_c() {
    for ctx in &all_contexts() {
        let mut c = [2.0f32; 6];
        let no = Transpose::No;
        matmul_f32(ctx, no, no, 2, 3, 0, 1.0, &[], 0, &[], 3, 0.5, &mut c, 3).unwrap();
        assert_eq!(c, [1.0; 6]);
        matmul_f32(ctx, no, no, 0, 3, 4, 1.0, &[], 4, &[1.0; 12], 3, 0.5, &mut [], 3).unwrap();
        matmul_f32(ctx, no, no, 2, 0, 4, 1.0, &[1.0; 8], 4, &[], 0, 0.5, &mut [], 0).unwrap();
        matmul_f32(ctx, no, no, 2, 3, 0, 1.0, &[], 0, &[], 3, 0.0, &mut c, 3).unwrap();
        assert_eq!(c, [0.0; 6]);
    }
}
