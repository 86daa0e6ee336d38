//! The dealt order: dot products of rows that are contiguous along k, for products with at most four rows or columns.

use super::blocking::DEALT_BLOCK;
use super::epilogue::{Epilogue, Finished};
use crate::context::Context;
use crate::parallel::Work;
use crate::simd::{Kernel, LANES, Simd};
use std::ops::Range;

/// Lanes that k is dealt to.
const DEAL: usize = 8;

/// Rows of the long operand in one task: a multiple of 16, so that epilogues see whole vectors.
const PIECE: usize = 64;

/// `few` ≤ 4 rows of x against `many` rows of w: out(i, j) = Σ x(i, p)·w(j, p).
///
/// out(i, j) joins C at `c + i·c_few + j·c_many`; one of the strides is 1 or a whole row of C.
#[derive(Clone, Copy)]
pub(super) struct Dots<'a, E> {
    pub few: usize,
    /// Whether the few are rows of C, or its columns.
    pub few_are_rows: bool,
    pub many: usize,
    pub k: usize,
    pub x: *const f32,
    pub ldx: usize,
    pub w: *const f32,
    pub ldw: usize,
    pub c: *mut f32,
    pub c_few: usize,
    pub c_many: usize,
    pub alpha: f32,
    pub beta: f32,
    pub epilogue: &'a E,
}

// SAFETY: x and w are only read; tasks write disjoint elements of C.
unsafe impl<E: Sync> Sync for Dots<'_, E> {}

impl<E: Epilogue> Dots<'_, E> {
    /// # Safety
    /// few ≤ 4; x, w readable and c writable as the fields say.
    pub(super) unsafe fn run(&self, ctx: &Context) {
        let work = Work::flops(2.0 * self.few as f64 * self.many as f64 * self.k as f64 * 3.0);
        ctx.for_each(work, self.many.div_ceil(PIECE), |task| {
            let rows = task * PIECE..self.many.min((task + 1) * PIECE);
            ctx.dispatch(Piece { dots: self, rows });
        });
    }
}

struct Piece<'a, 'b, E> {
    dots: &'a Dots<'b, E>,
    rows: Range<usize>,
}

impl<E: Epilogue> Kernel for Piece<'_, '_, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.dots;
        let mut j = self.rows.start;
        // As many accumulators as hide the latency of a fused multiply-add and leave registers for the operands.
        macro_rules! groups {
            ($few:literal: $($group:literal)*) => {{$(
                while self.rows.end - j >= $group {
                    // SAFETY: rows j to j + group of w exist (loop bound), and few rows of x (match).
                    s.outline(Group::<_, $few, $group> { dots: d, row: j });
                    j += $group;
                }
            )*}};
        }
        match d.few {
            1 => groups!(1: 8 1),
            2 => groups!(2: 4 1),
            3 => groups!(3: 3 1),
            _ => groups!(4: 3 1),
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
        unsafe { d.epilogue.apply(s, Finished { c, ldc, row, col, rows, cols }) };
    }
}

/// `X` rows of x against `W` rows of w.
struct Group<'a, 'b, E, const X: usize, const W: usize> {
    dots: &'a Dots<'b, E>,
    row: usize,
}

impl<E, const X: usize, const W: usize> Kernel for Group<'_, '_, E, X, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.dots;
        let zero = s.splat_h(0.0);
        let mut p0 = 0;
        while p0 < d.k {
            let depth = DEALT_BLOCK.min(d.k - p0);
            let mut acc = [[zero; W]; X];
            // SAFETY: p0 + depth <= k; the rows are readable (contract of Dots::run).
            unsafe {
                let x = d.x.add(p0);
                let w = d.w.add(self.row * d.ldw + p0);
                let mut p = 0;
                while p + DEAL <= depth {
                    let mut rows = [zero; W];
                    for j in 0..W {
                        rows[j] = s.load_h(w.add(j * d.ldw + p));
                    }
                    for i in 0..X {
                        let v = s.load_h(x.add(i * d.ldx + p));
                        for j in 0..W {
                            acc[i][j] = s.fma_h(v, rows[j], acc[i][j]);
                        }
                    }
                    p += DEAL;
                }
                if p < depth {
                    // Lanes past the end hold zeros, as the order says.
                    let rest = depth - p;
                    let mut rows = [zero; W];
                    for j in 0..W {
                        rows[j] = load_rest(s, w.add(j * d.ldw + p), rest);
                    }
                    for i in 0..X {
                        let v = load_rest(s, x.add(i * d.ldx + p), rest);
                        for j in 0..W {
                            acc[i][j] = s.fma_h(v, rows[j], acc[i][j]);
                        }
                    }
                }
                self.join(s, acc, if p0 == 0 { d.beta } else { 1.0 });
            }
            p0 += DEALT_BLOCK;
        }
    }
}

impl<E, const X: usize, const W: usize> Group<'_, '_, E, X, W> {
    /// Lanes join in ascending order to s, and s joins C.
    ///
    /// # Safety
    /// X × W elements of C are writable.
    #[inline(always)]
    unsafe fn join<S: Simd>(&self, s: S, acc: [[S::H; W]; X], beta: f32) {
        let d = self.dots;
        for i in 0..X {
            // One vector operation adds lane l of every output at once.
            let mut lanes = [[0.0; LANES]; DEAL];
            for j in 0..W {
                let a = s.to_array_h(acc[i][j]);
                for l in 0..DEAL {
                    lanes[l][j] = a[l];
                }
            }
            let mut sum = s.from_array(lanes[0]);
            for lane in &lanes[1..] {
                sum = s.add(sum, s.from_array(*lane));
            }
            let mut old = [0.0; LANES];
            if beta != 0.0 {
                for (j, old) in old.iter_mut().enumerate().take(W) {
                    // SAFETY: the contract.
                    *old = unsafe { *d.c.add(i * d.c_few + (self.row + j) * d.c_many) };
                }
            }
            let start = if beta == 0.0 { s.zero() } else { s.mul(s.splat(beta), s.from_array(old)) };
            let new = s.to_array(s.fma(s.splat(d.alpha), sum, start));
            for (j, new) in new.iter().enumerate().take(W) {
                // SAFETY: the contract.
                unsafe { *d.c.add(i * d.c_few + (self.row + j) * d.c_many) = *new };
            }
        }
    }
}

/// The first `n` < 8 floats, zeros after them.
///
/// # Safety
/// `p` is valid for reading `n` floats.
#[inline(always)]
unsafe fn load_rest<S: Simd>(s: S, p: *const f32, n: usize) -> S::H {
    let mut rest = [0.0; DEAL];
    // SAFETY: n < 8 floats are readable (contract).
    unsafe {
        std::ptr::copy_nonoverlapping(p, rest.as_mut_ptr(), n);
        s.load_h(rest.as_ptr())
    }
}
