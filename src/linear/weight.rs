//! The gradients of weights and bias, and the sum of their squares.

use crate::context::Context;
use crate::error::{Result, check_len, product};
use crate::fpenv::FpEnv;
use crate::matmul::{Args, Epilogue, Finished, Numbers, ROW_GROUP, Step, Transpose, multiply};
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
use std::ops::Range;

/// Rows of dz whose column sums join at a time: the order of dbias is that of these blocks, ascending.
pub(crate) const BIAS_BLOCK: usize = 256;

/// dW = dzᵀ·x, dbias = Σ over the batch of dz, and on request Σdw² + Σdbias² as stored (whitepaper §2, §11, §20).
///
/// Shapes, row-major: `dz` `[batch, out_features]`, `x` `[batch, in_features]`, `dw` `[out_features, in_features]`,
/// `dbias` `[out_features]`. With `accumulate` the gradients are added to what `dw` and `dbias` hold. `sum_sq` receives
/// the squares of all stored elements, collected while they are in cache: the norm for clipping costs no further pass.
///
/// Orders: dW as [`matmul_f32`](crate::matmul::matmul_f32) with beta 0 or 1. dbias: blocks of 256 rows, each summed
/// ascending in f32 from 0, join in ascending order in f64, rounded once after the old value was added. sum_sq in f64:
/// 42 rows by 16 columns of dW sum by column in ascending order of rows; the columns of a block fold by halves; blocks
/// join by rows, then columns; then dbias, element i in lane i mod 16, folded by halves.
///
/// # Errors
/// As [`linear_forward_f32`](super::linear_forward_f32).
#[allow(clippy::too_many_arguments)]
pub fn linear_backward_weight_f32(
    ctx: &Context,
    batch: usize,
    in_features: usize,
    out_features: usize,
    dz: &[f32],
    x: &[f32],
    accumulate: bool,
    dw: &mut [f32],
    dbias: Option<&mut [f32]>,
    sum_sq: Option<&mut f64>,
) -> Result {
    let f = "linear_backward_weight_f32";
    check_len(f, "dz", dz, product(f, "dz", &[batch, out_features])?)?;
    check_len(f, "x", x, product(f, "x", &[batch, in_features])?)?;
    check_len(f, "dw", dw, product(f, "dw", &[out_features, in_features])?)?;
    dbias.as_ref().map_or(Ok(()), |dbias| check_len(f, "dbias", dbias, out_features))?;

    let beta = if accumulate { 1.0 } else { 0.0 };
    let (m, n, k) = (out_features, in_features, batch);
    let args = Args {
        function: f,
        trans_a: Transpose::Yes,
        trans_b: Transpose::No,
        m,
        n,
        k,
        alpha: 1.0,
        a: Numbers::Direct(dz),
        lda: m,
        b: Numbers::Direct(x),
        ldb: n,
        beta,
        ldc: n,
        epilogue: None,
    };
    // All workspace is taken before the first write.
    let blocks = batch.div_ceil(BIAS_BLOCK);
    let bias_len = if dbias.is_some() { blocks * out_features } else { 0 };
    let mut bias_scratch = Scratch::take::<f32>(f, bias_len)?;
    let mut total = 0.0;
    if sum_sq.is_some() {
        let columns = n.div_ceil(LANES);
        let len = m.div_ceil(ROW_GROUP) * columns * LANES;
        let mut scratch = Scratch::take::<f64>(f, len)?;
        let slots = scratch.slice::<f64>(len);
        slots.fill(0.0);
        let epilogue = SumSquares { slots: Shared::new(slots), columns };
        multiply(ctx, &Args { epilogue: Some(&epilogue), ..args }, dw)?;
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        total = ctx.dispatch(FoldBlocks { slots });
    } else {
        multiply(ctx, &args, dw)?;
    }
    if let Some(dbias) = dbias {
        column_sums(ctx, batch, out_features, dz, accumulate, dbias, bias_scratch.slice(bias_len));
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        total += ctx.dispatch(SquaresOfRow { row: dbias });
    }
    if let Some(sum_sq) = sum_sq {
        *sum_sq = total;
    }
    Ok(())
}

/// Adds the squares of a piece to the lanes of its block of rows and columns.
struct SumSquares<'a> {
    slots: Shared<'a, f64>,
    columns: usize,
}

impl Epilogue for SumSquares<'_> {
    fn groups(&self) -> bool {
        true
    }

    unsafe fn apply(&self, step: Step, piece: Finished) {
        step.run(SumSquaresOfPiece { squares: self, piece });
    }
}

struct SumSquaresOfPiece<'a, 'b> {
    squares: &'a SumSquares<'b>,
    piece: Finished,
}

impl Kernel for SumSquaresOfPiece<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.piece;
        let mut i = 0;
        while i < p.rows {
            let end = p.rows.min(((p.row + i) / ROW_GROUP + 1) * ROW_GROUP - p.row);
            let mut j = 0;
            // SAFETY: the contract of apply; rows i to end are of one group.
            unsafe {
                // Two blocks of columns at once: one's chain of sums waits for itself.
                while j + 2 * LANES <= p.cols {
                    self.squares.add::<S, 2>(s, p, i..end, j);
                    j += 2 * LANES;
                }
                while j < p.cols {
                    self.squares.add::<S, 1>(s, p, i..end, j);
                    j += LANES;
                }
            }
            i = end;
        }
    }
}

impl SumSquares<'_> {
    /// Adds the squares of some rows of a group, in `N` blocks of columns from column `j` of the piece on.
    ///
    /// # Safety
    /// As [`Epilogue::apply`].
    #[inline(always)]
    unsafe fn add<S: Simd, const N: usize>(&self, s: S, p: Finished, rows: Range<usize>, j: usize) {
        let slot = ((p.row + rows.start) / ROW_GROUP * self.columns + (p.col + j) / LANES) * LANES;
        let zero = s.splat_d(0.0);
        let mut sums = [[zero; 2]; N];
        // SAFETY: the piece lies in dw and is this thread's, and so are the slots of its rows and columns (GROUPS); there
        // is one for each block (linear_backward_weight_f32).
        unsafe {
            let slot = self.slots.as_ptr().add(slot);
            for b in 0..N {
                sums[b] = [s.load_d(slot.add(b * LANES)), s.load_d(slot.add(b * LANES + LANES / 2))];
            }
            for i in rows {
                for b in 0..N {
                    let width = LANES.min(p.cols - j - b * LANES);
                    let (low, high) = s.widen(s.load_up_to(p.c.add(i * p.ldc + j + b * LANES), width));
                    sums[b] = [s.fma_d(low, low, sums[b][0]), s.fma_d(high, high, sums[b][1])];
                }
            }
            for b in 0..N {
                s.store_d(slot.add(b * LANES), sums[b][0]);
                s.store_d(slot.add(b * LANES + LANES / 2), sums[b][1]);
            }
        }
    }
}

struct FoldBlocks<'a> {
    slots: &'a [f64],
}

impl Kernel for FoldBlocks<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut total = 0.0;
        for slot in self.slots.chunks_exact(LANES) {
            // SAFETY: a slot holds 16 doubles.
            let (low, high) = unsafe { (s.load_d(slot.as_ptr()), s.load_d(slot.as_ptr().add(LANES / 2))) };
            total += s.sum_dd(low, high);
        }
        total
    }
}

struct SquaresOfRow<'a> {
    row: &'a [f32],
}

impl Kernel for SquaresOfRow<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
        for chunk in self.row.chunks(LANES) {
            // SAFETY: the chunk holds its length.
            let (a, b) = s.widen(unsafe { s.load_up_to(chunk.as_ptr(), chunk.len()) });
            low = s.fma_d(a, a, low);
            high = s.fma_d(b, b, high);
        }
        s.sum_dd(low, high)
    }
}

/// out = Σ over rows of x, blocks of rows first; `parts` holds one row for each block.
pub(crate) fn column_sums(
    ctx: &Context,
    rows: usize,
    cols: usize,
    x: &[f32],
    accumulate: bool,
    out: &mut [f32],
    parts: &mut [f32],
) {
    if cols == 0 {
        return;
    }
    let blocks = rows.div_ceil(BIAS_BLOCK);
    let shared = Shared::new(parts);
    ctx.for_each(Work::elements(rows * cols, 0.1), blocks, |block| {
        // SAFETY: each block has its own row of parts.
        let sums = unsafe { shared.piece(block * cols..(block + 1) * cols) };
        let rows = block * BIAS_BLOCK..rows.min((block + 1) * BIAS_BLOCK);
        ctx.dispatch(BlockSums { x: &x[rows.start * cols..rows.end * cols], cols, sums });
    });
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    ctx.dispatch(JoinBlocks { parts, blocks: 0..blocks, accumulate, out });
}

struct BlockSums<'a> {
    x: &'a [f32],
    cols: usize,
    sums: &'a mut [f32],
}

impl Kernel for BlockSums<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.x.len() / self.cols;
        for j in (0..self.cols).step_by(LANES) {
            let width = LANES.min(self.cols - j);
            let mut sum = s.zero();
            // SAFETY: row i < rows and columns j to j + width lie in x; sums holds cols.
            unsafe {
                for i in 0..rows {
                    sum = s.add(sum, s.load_up_to(self.x.as_ptr().add(i * self.cols + j), width));
                }
                s.store_up_to(self.sums.as_mut_ptr().add(j), sum, width);
            }
        }
    }
}

struct JoinBlocks<'a> {
    parts: &'a [f32],
    blocks: Range<usize>,
    accumulate: bool,
    out: &'a mut [f32],
}

impl Kernel for JoinBlocks<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.out.len();
        for j in (0..cols).step_by(LANES) {
            let width = LANES.min(cols - j);
            let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
            // SAFETY: parts holds blocks × cols, out cols.
            unsafe {
                for block in self.blocks.clone() {
                    let (a, b) = s.widen(s.load_up_to(self.parts.as_ptr().add(block * cols + j), width));
                    low = s.add_d(low, a);
                    high = s.add_d(high, b);
                }
                let out = self.out.as_mut_ptr().add(j);
                if self.accumulate {
                    let (a, b) = s.widen(s.load_up_to(out, width));
                    low = s.add_d(low, a);
                    high = s.add_d(high, b);
                }
                s.store_up_to(out, s.narrow(low, high), width);
            }
        }
    }
}
