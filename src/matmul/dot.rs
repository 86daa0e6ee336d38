//! The dealt order: dot products of rows that are contiguous along k, for products with at most four rows or columns.

use super::blocking::DEALT_BLOCK;
use super::epilogue::{Epilogue, Finished, finish};
use super::join::{join_one, join_vector};
use super::pack::{Operand, Stored};
use super::pairs::{self, Pairs};
use super::real::{Real, Vector};
use crate::context::Context;
use crate::element::{bf16, f16};
use crate::parallel::Work;
use crate::simd::{Kernel, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Lanes that k is dealt to.
pub(super) const DEAL: usize = 8;

/// Rows of the long operand in one task: a multiple of 16, so that epilogues see whole vectors.
const PIECE: usize = 64;

/// `few` ≤ 4 rows of x against `many` rows of w: out(i, j) = Σ x(i, p)·w(j, p).
///
/// out(i, j) joins C at `c + i·c_few + j·c_many`; one of the strides is 1 or a whole row of C.
#[derive(Clone, Copy)]
pub(super) struct Dots<'a, T: Real> {
    pub few: usize,
    /// Whether the few are rows of C, or its columns.
    pub few_are_rows: bool,
    pub many: usize,
    pub k: usize,
    pub x: *const T,
    pub ldx: usize,
    pub w: *const T,
    pub w_stored: Stored,
    pub ldw: usize,
    pub c: *mut T,
    pub c_few: usize,
    pub c_many: usize,
    pub alpha: T,
    pub beta: T,
    /// What follows, if anything.
    pub epilogue: Option<&'a dyn Epilogue<T>>,
}

// SAFETY: x and w are only read; tasks write disjoint elements of C.
unsafe impl<T: Real> Sync for Dots<'_, T> {}

impl<T: Real> Dots<'_, T> {
    /// # Safety
    /// few ≤ 4; x, w readable and c writable as the fields say.
    pub(super) unsafe fn run(&self, ctx: &Context, threads: usize) {
        let work = Work::flops(2.0 * self.few as f64 * self.many as f64 * self.k as f64 * 3.0);
        let tasks = self.many.div_ceil(PIECE);
        let workers = ctx.workers(work, tasks.min(threads));
        let pairs = T::OF_HALVES
            && self.w_stored == Stored::Direct
            && ctx.isa().vectors_are_lines()
            && pairs::pay(self.few, self.many, self.k);
        ctx.for_each_worker(workers, tasks, |_, task| {
            let rows = task * PIECE..self.many.min((task + 1) * PIECE);
            if pairs {
                ctx.dispatch(Piece::<T, true> { dots: self, rows });
            } else {
                ctx.dispatch(Piece::<T, false> { dots: self, rows });
            }
        });
    }
}

/// `PAIRS`: rows of x by [`pairs`](super::pairs).
struct Piece<'a, 'b, T: Real, const PAIRS: bool> {
    dots: &'a Dots<'b, T>,
    rows: Range<usize>,
}

impl<T: Real, const PAIRS: bool> Kernel for Piece<'_, '_, T, PAIRS> {
    type Out = ();
    // Eight lanes of f64 are a whole vector, of f32 half of one.
    const WIDE: bool = PAIRS || T::LANES == 8;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.dots;
        match d.w_stored {
            _ if PAIRS => {
                if S::LINES {
                    s.outline(&Pairs(self.rows::<f32>(d.alpha.to_f32(), d.beta.to_f32())));
                }
            }
            Stored::Bf16 if T::OF_HALVES => s.outline(&self.rows::<bf16>(d.alpha.to_f32(), d.beta.to_f32())),
            Stored::F16 if T::OF_HALVES => s.outline(&self.rows::<f16>(d.alpha.to_f32(), d.beta.to_f32())),
            _ => s.outline(&self.rows::<T>(d.alpha, d.beta)),
        }
        let (rows, cols, row, col) = if d.few_are_rows {
            (d.few, self.rows.len(), 0, self.rows.start)
        } else {
            (self.rows.len(), d.few, self.rows.start, 0)
        };
        let (c, ldc) = if d.few_are_rows {
            (d.c.wrapping_add(self.rows.start), d.c_few)
        } else {
            (d.c.wrapping_add(self.rows.start * d.c_many), d.c_many)
        };
        // SAFETY: the piece of C that this task alone wrote.
        unsafe { finish(s, d.epilogue, Finished { c, ldc, row, col, rows, cols }) };
    }
}

impl<T: Real, const PAIRS: bool> Piece<'_, '_, T, PAIRS> {
    /// The rows of w as what they are stored as.
    #[inline(always)]
    fn rows<O: Operand>(&self, alpha: O::Real, beta: O::Real) -> Rows<O> {
        let d = self.dots;
        Rows {
            few: d.few,
            rows: self.rows.clone(),
            k: d.k,
            x: d.x.cast(),
            ldx: d.ldx,
            w: d.w.cast(),
            ldw: d.ldw,
            c: d.c.cast(),
            c_few: d.c_few,
            c_many: d.c_many,
            alpha,
            beta,
        }
    }
}

/// The rows `rows` of w. As [`Dots`], whose promises it keeps.
pub(super) struct Rows<O: Operand> {
    pub few: usize,
    pub rows: Range<usize>,
    pub k: usize,
    pub x: *const O::Real,
    pub ldx: usize,
    pub w: *const O,
    pub ldw: usize,
    pub c: *mut O::Real,
    pub c_few: usize,
    pub c_many: usize,
    pub alpha: O::Real,
    pub beta: O::Real,
}

impl<O: Operand> Kernel for &Rows<O> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::COMPACT {
            for i in 0..self.few {
                // SAFETY: row i of x and of C (promise of Dots::run).
                let (x, c) = unsafe { (self.x.add(i * self.ldx), self.c.add(i * self.c_few)) };
                let one = Rows { few: 1, rows: self.rows.clone(), x, c, ..*self };
                for row in self.rows.clone() {
                    s.outline(&Group::<O, 1, 1> { rows: &one, row });
                }
            }
            return;
        }
        let mut j = self.rows.start;
        // As many accumulators as hide the latency of a fused multiply-add and leave registers for the operands; eight
        // doubles are two registers where eight floats are one.
        macro_rules! groups {
            ($few:literal: $($group:literal)*) => {{$(
                while self.rows.end - j >= $group {
                    s.outline(&Group::<O, $few, $group> { rows: self, row: j });
                    j += $group;
                }
            )*}};
        }
        match (self.few, size_of::<O::Real>()) {
            (1, 4) => {
                // Two alone would wait for their own sums.
                if O::DIRECT && self.rows.len() % 8 == 2 && self.rows.len() > 2 {
                    s.outline(&Group::<O, 1, 10> { rows: self, row: j });
                    j += 10;
                }
                groups!(1: 8 4 2 1)
            }
            (2, 4) => groups!(2: 4 2 1),
            (3, 4) => groups!(3: 3 1),
            (_, 4) if O::DIRECT => groups!(4: 3 2 1),
            (_, 4) => groups!(4: 2 1),
            (1, _) => groups!(1: 4 2 1),
            (2, _) => groups!(2: 2 1),
            (3, _) => groups!(3: 1),
            (_, _) => groups!(4: 1),
        }
    }
}

/// `X` rows of x against `W` rows of w.
struct Group<'a, O: Operand, const X: usize, const W: usize> {
    rows: &'a Rows<O>,
    row: usize,
}

/// Elements of each row of w that are asked for ahead of their use.
pub(super) const AHEAD: usize = 64;

impl<O: Operand, const X: usize, const W: usize> Kernel for &Group<'_, O, X, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.rows;
        let zero = <O::Real as Real>::Dealt::<S>::splat(s, O::Real::default());
        let mut p0 = 0;
        while p0 < d.k {
            let depth = DEALT_BLOCK.min(d.k - p0);
            let mut acc = [[zero; W]; X];
            // SAFETY: p0 + depth <= k; the rows are readable (promise of Dots::run), and loads past them are masked.
            unsafe {
                let x = d.x.add(p0);
                let w = d.w.add(self.row * d.ldw + p0);
                let mut p = 0;
                while p + 2 * DEAL <= depth && !S::COMPACT {
                    let mut rows = [[zero; 2]; W];
                    for j in 0..W {
                        s.prefetch(w.wrapping_add(j * d.ldw + p + AHEAD).cast());
                        if !O::DIRECT {
                            rows[j] = O::load_dealt2(s, w.add(j * d.ldw + p));
                        }
                    }
                    for h in 0..2 {
                        for j in 0..W {
                            if let Some(w) = O::direct(w.add(j * d.ldw + p + h * DEAL)) {
                                rows[j][h] = <O::Real as Real>::Dealt::<S>::load(s, w);
                            }
                        }
                        for i in 0..X {
                            let v = <O::Real as Real>::Dealt::<S>::load(s, x.add(i * d.ldx + p + h * DEAL));
                            for j in 0..W {
                                acc[i][j] = <O::Real as Real>::Dealt::<S>::fma(s, v, rows[j][h], acc[i][j]);
                            }
                        }
                    }
                    p += 2 * DEAL;
                }
                // Lanes past the end hold zeros, as the order says.
                while p < depth {
                    let (n, mut rows) = (DEAL.min(depth - p), [zero; W]);
                    for j in 0..W {
                        rows[j] = O::load_dealt(s, w.add(j * d.ldw + p), n);
                    }
                    for i in 0..X {
                        let v = <O::Real as Real>::Dealt::<S>::load_first(s, x.add(i * d.ldx + p), n);
                        for j in 0..W {
                            acc[i][j] = <O::Real as Real>::Dealt::<S>::fma(s, v, rows[j], acc[i][j]);
                        }
                    }
                    p += DEAL;
                }
                let mut lanes = [[[O::Real::default(); DEAL]; W]; X];
                for i in 0..X {
                    for j in 0..W {
                        acc[i][j].store(s, lanes[i][j].as_mut_ptr());
                    }
                }
                let c = d.c.add(self.row * d.c_many);
                s.outline(&Join {
                    lanes: lanes.as_flattened(),
                    wide: W,
                    c,
                    c_few: d.c_few,
                    c_many: d.c_many,
                    alpha: d.alpha,
                    beta: if p0 == 0 { d.beta } else { O::Real::ONE },
                });
            }
            p0 += DEALT_BLOCK;
        }
    }
}

/// The lanes of `wide` sums for each of some elements of C: they join in ascending order to s, and s joins C, whose elements
/// are this thread's.
pub(super) struct Join<'a, T> {
    pub lanes: &'a [[T; DEAL]],
    pub wide: usize,
    pub c: *mut T,
    pub c_few: usize,
    pub c_many: usize,
    pub alpha: T,
    pub beta: T,
}

impl<T: Real> Kernel for &Join<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Join { lanes, wide, c: mut row, c_few, c_many, alpha, beta } = *self;
        let (mut from, end) = (lanes.as_ptr().cast::<T>(), lanes.as_ptr_range().end.cast::<T>());
        // SAFETY: the promise of whoever made it; a block is DEAL × DEAL.
        unsafe {
            while from < end {
                let (mut c, mut left) = (row, wide);
                // The lanes of each become a column: a vector then adds one lane of all.
                while !S::COMPACT && T::OF_HALVES && left >= DEAL {
                    let mut turned = [const { MaybeUninit::<T>::uninit() }; DEAL * DEAL];
                    let turned = turned.as_mut_ptr().cast::<T>();
                    T::turn(s, DEAL, from, DEAL, DEAL - 1, turned, DEAL);
                    let one = T::Dealt::<S>::splat(s, T::ONE);
                    let mut sum = T::Dealt::<S>::load(s, turned);
                    for i in 1..DEAL {
                        sum = T::Dealt::<S>::fma(s, one, T::Dealt::<S>::load(s, turned.add(i * DEAL)), sum);
                    }
                    if c_many == 1 {
                        join_vector(s, alpha, beta, sum, c, c, DEAL);
                    } else {
                        sum.store(s, turned);
                        for j in 0..DEAL {
                            join_one::<T, S>(alpha, beta, *turned.add(j), c.wrapping_add(j * c_many));
                        }
                    }
                    (from, c, left) = (from.add(DEAL * DEAL), c.wrapping_add(DEAL * c_many), left - DEAL);
                }
                while left > 0 {
                    let mut sum = *from;
                    for i in 1..DEAL {
                        sum = sum + *from.add(i);
                    }
                    join_one::<T, S>(alpha, beta, sum, c);
                    (from, c, left) = (from.add(DEAL), c.wrapping_add(c_many), left - 1);
                }
                row = row.wrapping_add(c_few);
            }
        }
    }
}
