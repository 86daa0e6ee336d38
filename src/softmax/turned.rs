//! Short rows, sixteen at a time and each in a lane of its own: no vector is mostly empty, and nothing waits for a sum
//! along a row. Every sum has the order that rows.rs and backward.rs give it, with lanes where these have columns.

use crate::simd::{Kernel, LANES, Simd};
use core::mem::MaybeUninit;

/// Columns that a block holds. Longer rows fill vectors well enough: from about 20 columns on they are faster alone.
pub(crate) const WIDEST: usize = LANES;

/// Sixteen rows turned: column j of row r is element 16·j + r.
#[repr(align(64))]
pub(crate) struct Block(MaybeUninit<[f32; WIDEST * LANES]>);

impl Block {
    #[inline(always)]
    pub(crate) fn new() -> Block {
        Block(MaybeUninit::uninit())
    }

    /// # Safety
    /// x is valid for reading 16 rows of `cols` ≤ 16 floats.
    #[inline(always)]
    pub(crate) unsafe fn read<S: Simd>(&mut self, s: S, x: *const f32, cols: usize) -> *mut f32 {
        let block = self.0.as_mut_ptr().cast();
        s.outline(TurnIn { x, cols, block });
        block
    }
}

/// Writes sixteen rows as they were read.
///
/// # Safety
/// y is valid for writing 16 rows of `cols` ≤ 16 floats, and so many columns of the block are initialized.
#[inline(always)]
pub(crate) unsafe fn write<S: Simd>(s: S, block: *const f32, y: *mut f32, cols: usize) {
    s.outline(TurnOut { block, cols, y });
}

struct TurnIn {
    x: *const f32,
    cols: usize,
    block: *mut f32,
}

impl Kernel for TurnIn {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TurnIn { x, cols, block } = self;
        let whole = cols / 8 * 8;
        for half in 0..2 {
            // SAFETY: rows and columns are within those that x holds (Block::read), the block within its columns.
            unsafe {
                for j in (0..whole).step_by(8) {
                    let v = s.load_turned_h(x.add(8 * half * cols + j), cols, 7);
                    for (i, &v) in v.iter().enumerate() {
                        s.store_h(block.add((j + i) * LANES + 8 * half), v);
                    }
                }
                if whole < cols {
                    let mut tail = [[0f32; 8]; 8];
                    for (r, tail) in tail.iter_mut().enumerate() {
                        let row = x.add((8 * half + r) * cols + whole);
                        s.store_h(tail.as_mut_ptr(), s.load_first_h(row, cols - whole));
                    }
                    let v = s.load_turned_h(tail.as_ptr().cast(), 8, 7);
                    for (i, &v) in v[..cols - whole].iter().enumerate() {
                        s.store_h(block.add((whole + i) * LANES + 8 * half), v);
                    }
                }
            }
        }
    }
}

struct TurnOut {
    block: *const f32,
    cols: usize,
    y: *mut f32,
}

impl Kernel for TurnOut {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TurnOut { block, cols, y } = self;
        for half in 0..2 {
            for j in (0..cols).step_by(8) {
                // SAFETY: as in TurnIn; past the last column the last one is read again, and not written.
                unsafe {
                    let v = s.load_turned_h(block.add(j * LANES + 8 * half), LANES, (cols - j - 1).min(7));
                    for (r, &v) in v.iter().enumerate() {
                        let y = y.add((8 * half + r) * cols + j);
                        if cols - j >= 8 { s.store_h(y, v) } else { s.store_first_h(y, v, cols - j) }
                    }
                }
            }
        }
    }
}

/// The largest of each row, NaN passed over; −Inf if there is none.
///
/// # Safety
/// The block holds `cols` columns.
#[inline(always)]
pub(crate) unsafe fn max<S: Simd>(s: S, block: *const f32, cols: usize) -> S::F {
    let mut m = s.splat(f32::NEG_INFINITY);
    for j in 0..cols {
        // SAFETY: the contract.
        m = s.max(unsafe { s.load(block.add(j * LANES)) }, m);
    }
    m
}

/// All lanes.
#[inline(always)]
pub(crate) fn all<S: Simd>(s: S) -> S::M {
    s.first(LANES)
}

/// Where v is the first of its row to equal `top`; these rows are then no longer pending.
#[inline(always)]
pub(crate) fn first<S: Simd>(s: S, v: S::F, top: S::F, pending: &mut S::M) -> S::M {
    let found = s.and_m(s.eq(v, top), *pending);
    *pending = s.and_m(*pending, s.not_m(found));
    found
}

/// The columns of each row, in f64.
pub(crate) type Lanes<S> = [(<S as Simd>::D, <S as Simd>::D); LANES];

/// The first `cols` columns in f64, as sums take them over from f32.
#[inline(always)]
pub(crate) fn widened<S: Simd>(s: S, sums: &[S::F; LANES], cols: usize) -> Lanes<S> {
    let zero = s.splat_d(0.0);
    let mut lanes = [(zero, zero); LANES];
    for j in 0..LANES.min(cols) {
        lanes[j] = s.widen(sums[j]);
    }
    lanes
}

/// Sums the first `cols` columns of each row by halves. The zero that ends it stands for those of the absent columns.
#[inline(always)]
pub(crate) fn fold_d<S: Simd>(s: S, mut lanes: Lanes<S>, cols: usize) -> [f64; LANES] {
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            if j + half < cols {
                lanes[j].0 = s.add_d(lanes[j].0, lanes[j + half].0);
                lanes[j].1 = s.add_d(lanes[j].1, lanes[j + half].1);
            }
        }
        half /= 2;
    }
    let zero = s.splat_d(0.0);
    let (low, high) = (s.to_array_d(s.add_d(lanes[0].0, zero)), s.to_array_d(s.add_d(lanes[0].1, zero)));
    let mut sums = [0.0; LANES];
    sums[..8].copy_from_slice(&low);
    sums[8..].copy_from_slice(&high);
    sums
}

/// [`fold_d`] in f32.
#[inline(always)]
pub(crate) fn fold<S: Simd>(s: S, mut lanes: [S::F; LANES], cols: usize) -> S::F {
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            if j + half < cols {
                lanes[j] = s.add(lanes[j], lanes[j + half]);
            }
        }
        half /= 2;
    }
    s.add(lanes[0], s.zero())
}

/// Rounded to f32.
#[inline(always)]
pub(crate) fn narrow<S: Simd>(s: S, x: &[f64; LANES]) -> S::F {
    let mut y = [0f32; LANES];
    for i in 0..LANES {
        y[i] = x[i] as f32;
    }
    s.from_array(y)
}
