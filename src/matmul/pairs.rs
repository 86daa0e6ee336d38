//! The dealt order of f32 by whole vectors of AVX-512: lanes 0 to 7 are those of one row of x, lanes 8 to 15 those of the next.
//! What meets them is eight numbers of w twice, which a load gives.

use super::blocking::DEALT_BLOCK;
use super::dot::{AHEAD, DEAL, Join, Rows};
use crate::simd::{Kernel, Simd};

/// Two to four rows of x against rows of w.
pub(super) struct Pairs(pub Rows<f32>);

/// Rows of w at a time: their sums hide the latency of a fused multiply-add; and for what is left.
const WIDTH: usize = 8;
const REST: usize = 2;

/// Whether pairs of `few` rows of x are faster than one row after the other: the groups are wide, and have much to start for.
pub(super) fn pay(few: usize, many: usize, k: usize) -> bool {
    few > 1 && many >= WIDTH && k >= 64 && many * k >= 4096
}

impl Kernel for &Pairs {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = &self.0;
        let mut row = rows.rows.start;
        while row < rows.rows.end {
            let left = rows.rows.end - row;
            let wide = left > 2 * REST;
            let count = left.min(if wide { WIDTH } else { REST });
            match (rows.few > 2, wide) {
                (false, true) => s.outline(&Group::<1, WIDTH> { rows, row, count }),
                (true, true) => s.outline(&Group::<2, WIDTH> { rows, row, count }),
                (false, false) => s.outline(&Group::<1, REST> { rows, row, count }),
                (true, false) => s.outline(&Group::<2, REST> { rows, row, count }),
            }
            row += count;
        }
    }
}

/// `X` pairs of rows of x against `count` ≤ `W` rows of w. The last row stands in for those that there are too few of.
struct Group<'a, const X: usize, const W: usize> {
    rows: &'a Rows<f32>,
    row: usize,
    count: usize,
}

impl<const X: usize, const W: usize> Kernel for &Group<'_, X, W> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.rows;
        let mut p0 = 0;
        while p0 < d.k {
            let depth = DEALT_BLOCK.min(d.k - p0);
            let mut acc = [[s.zero(); W]; X];
            // SAFETY: p0 + depth <= k; the rows are readable (promise of Dots::run), and loads past them are masked.
            unsafe {
                let (mut x, mut w) = ([[d.x; 2]; X], [d.w; W]);
                for i in 0..2 * X {
                    x[i / 2][i % 2] = d.x.add(i.min(d.few - 1) * d.ldx + p0);
                }
                for j in 0..W {
                    w[j] = d.w.add((self.row + j.min(self.count - 1)) * d.ldw + p0);
                }
                macro_rules! step {
                    ($p:expr, $load:expr) => {
                        let mut pairs = [s.zero(); X];
                        for i in 0..X {
                            pairs[i] = s.join_halves($load(x[i][0].add($p)), $load(x[i][1].add($p)));
                        }
                        for j in 0..W {
                            let half = $load(w[j].add($p));
                            let twice = s.join_halves(half, half);
                            for i in 0..X {
                                acc[i][j] = s.fma(pairs[i], twice, acc[i][j]);
                            }
                        }
                    };
                }
                let mut p = 0;
                while p + 2 * DEAL <= depth {
                    for j in 0..W {
                        s.prefetch(w[j].wrapping_add(p + AHEAD));
                    }
                    step!(p, |p| s.load_h(p));
                    step!(p + DEAL, |p| s.load_h(p));
                    p += 2 * DEAL;
                }
                // Lanes past the end hold zeros, as the order says.
                while p < depth {
                    let n = DEAL.min(depth - p);
                    step!(p, |p| s.load_first_h(p, n));
                    p += DEAL;
                }
                let mut lanes = [[[[0.0; DEAL]; W]; 2]; X];
                for i in 0..X {
                    for j in 0..W {
                        let (low, high) = s.halves(acc[i][j]);
                        s.store_h(lanes[i][0][j].as_mut_ptr(), low);
                        s.store_h(lanes[i][1][j].as_mut_ptr(), high);
                    }
                }
                for (i, lanes) in lanes.as_flattened().iter().take(d.few).enumerate() {
                    s.outline(&Join {
                        lanes: &lanes[..self.count],
                        wide: self.count,
                        c: d.c.add(i * d.c_few + self.row * d.c_many),
                        c_few: d.c_few,
                        c_many: d.c_many,
                        alpha: d.alpha,
                        beta: if p0 == 0 { d.beta } else { 1.0 },
                    });
                }
            }
            p0 += DEALT_BLOCK;
        }
    }
}
