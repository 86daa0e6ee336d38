//! Matrix products: C = alpha·op(A)·op(B) + beta·C.
//!
//! The order of every sum is specified, so that its bits are the same for any number of threads, any alignment and
//! any instruction set with fused multiply-add:
//!
//! - **ascending**: k is cut into blocks of 256. Within a block `s = fma(a, b, s)` for p ascending, from 0. Blocks
//!   join in order: `c = fma(alpha, s, c)`, where c starts as `beta·c` (0 when beta = 0, and C is then not read).
//! - **dealt**: where rows of A are contiguous along k (`trans_a` is [`Transpose::No`]) and either m ≤ 4 with
//!   `trans_b`, or n ≤ 4. k is cut into blocks of 2048; within a block p goes to lane p mod 8, each lane ascending by
//!   fma from 0 (lanes past the end count as zeros), lanes join in ascending order, and blocks join as above.
//!
//! A context with [`crate::ContextBuilder::batch_invariant`] uses the ascending order everywhere: a row's bits then
//! never depend on how many rows stand beside it.
//!
//! bf16 and f16 are widened on their way to the tile and then computed as f32; f64 has the same two orders.
//!
//! Which path a product takes follows from its shape and strides and changes no bit:
//!
//! | path | for |
//! |---|---|
//! | `tiny` | dimensions up to 64, B as it is stored: no search for a path |
//! | `dot` | the dealt order |
//! | `rank` | k ≤ 4: outer products, C written along its rows |
//! | `sweep` | m ≤ 4, B as it is stored: its rows pass once, sums wait in cache |
//! | `block` | all else: tiles over operands that are read in place or packed, as `driver` plans |

mod block;
mod blocking;
mod dot;
mod driver;
mod epilogue;
mod pack;
mod packed;
mod rank;
mod real;
mod sweep;
mod tile;
mod tiny;
#[cfg(feature = "capi")]
pub(crate) use tiny::multiply_unchecked;

pub(crate) use block::{most_rows, runs};
pub(crate) use blocking::ROW_GROUP;
pub use blocking::{DEALT_BLOCK, K_BLOCK};
pub(crate) use driver::panel_width;
pub(crate) use epilogue::{Epilogue, Finished, Plain};
pub(crate) use pack::{Operand, PackPanels, Strip};
pub(crate) use packed::{Multiply, Panels};
pub(crate) use real::Real;
pub(crate) use tile::{Next, Tiles};

use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::{Error, Result, product};
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};
use block::Small;
use driver::{Layout, Plan, Product, View};

/// Whether an operand is used as it is stored or transposed. The numbers are those of `EK_*TRANSPOSE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Transpose {
    /// op(X) = X.
    No = 0,
    /// op(X) = Xᵀ.
    Yes = 1,
}

impl Transpose {
    /// The inverse of `as i32`.
    pub fn from_i32(value: i32) -> Option<Transpose> {
        match value {
            0 => Some(Transpose::No),
            1 => Some(Transpose::Yes),
            _ => None,
        }
    }
}

/// C = alpha·op(A)·op(B) + beta·C in f32 (whitepaper §2: every layer, and every step back through one).
///
/// Shapes, row-major: op(A) `[m, k]`, op(B) `[k, n]`, C `[m, n]`. A is stored `[m, k]` with `lda` ≥ k, or `[k, m]` with
/// `lda` ≥ m where `trans_a` is `Yes`; B is stored `[k, n]` with `ldb` ≥ n, or `[n, k]` with `ldb` ≥ k where `trans_b`
/// is `Yes`; `ldc` ≥ n. The last row of a matrix needs no padding.
///
/// Each element is summed in the order that the [module](self) states. beta = 0 never reads C; NaN and infinity
/// propagate as IEEE 754 says, also where alpha is 0. With k = 0, C = beta·C; with m = 0 or n = 0 nothing happens.
/// Elements of `c` between its rows are never touched.
///
/// # Errors
/// `InvalidSize` for a leading dimension below its row length or a slice that is too short; `OutOfMemory`. C is then
/// untouched.
///
/// ```
/// use evenkeel::{Context, matmul::{Transpose, matmul_f32}};
/// let ctx = Context::global()?;
/// let (a, b, mut c) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [0.0; 4]);
/// matmul_f32(ctx, Transpose::No, Transpose::No, 2, 2, 2, 1.0, &a, 2, &b, 2, 0.0, &mut c, 2)?;
/// assert_eq!(c, [19.0, 22.0, 43.0, 50.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn matmul_f32(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    lda: usize,
    b: &[f32],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    if tiny::multiply(ctx, trans_a, trans_b, [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc) {
        return Ok(());
    }
    let (f, epilogue) = ("matmul_f32", &Plain);
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C in f64: [`matmul_f32`] in every other respect, its orders of summation included.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_f64(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f64,
    a: &[f64],
    lda: usize,
    b: &[f64],
    ldb: usize,
    beta: f64,
    c: &mut [f64],
    ldc: usize,
) -> Result {
    if tiny::multiply(ctx, trans_a, trans_b, [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc) {
        return Ok(());
    }
    let (f, epilogue) = ("matmul_f64", &Plain);
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C of bf16 matrices, computed and stored in f32 (whitepaper §19): the bits of
/// [`matmul_f32`] on the same numbers widened, which is exact.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_bf16(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[bf16],
    lda: usize,
    b: &[bf16],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    let (f, epilogue) = ("matmul_bf16", &Plain);
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// C = alpha·op(A)·op(B) + beta·C of f16 matrices: [`matmul_bf16`] in every other respect.
///
/// # Errors
/// As [`matmul_f32`].
#[allow(clippy::too_many_arguments)]
pub fn matmul_f16(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f16],
    lda: usize,
    b: &[f16],
    ldb: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
) -> Result {
    let (f, epilogue) = ("matmul_f16", &Plain);
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue };
    x.check(c.len(), 1, [0; 3])?;
    multiply(ctx, &x, c)
}

/// `batch` products at once, each as [`matmul_f32`] has it, bits included (whitepaper §22: the heads of attention).
///
/// Item i has its A at `a[i·stride_a..]`, B at `b[i·stride_b..]`, C at `c[i·stride_c..]`. Items of A and of B may overlap, and
/// with a stride of 0 are the same; items of C are disjoint: `stride_c` is at least what one item spans,
/// (m − 1)·`ldc` + n, unless `batch` is at most 1.
///
/// # Errors
/// As [`matmul_f32`]; `InvalidSize` for a `stride_c` too short.
#[allow(clippy::too_many_arguments)]
pub fn matmul_batched_f32(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: &[f32],
    lda: usize,
    stride_a: usize,
    b: &[f32],
    ldb: usize,
    stride_b: usize,
    beta: f32,
    c: &mut [f32],
    ldc: usize,
    stride_c: usize,
) -> Result {
    let (f, epilogue) = ("matmul_batched_f32", &Plain);
    let x = Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue };
    let strides = [stride_a, stride_b, stride_c];
    x.check(c.len(), batch, strides)?;
    multiply_batched(ctx, &x, batch, strides, c)
}

/// A product with checked arguments, and what to do with its result.
pub(crate) struct Args<'a, O: Operand, E> {
    pub function: &'static str,
    pub trans_a: Transpose,
    pub trans_b: Transpose,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: O::Real,
    pub a: &'a [O],
    pub lda: usize,
    pub b: &'a [O],
    pub ldb: usize,
    pub beta: O::Real,
    pub ldc: usize,
    pub epilogue: &'a E,
}

impl<O: Operand, E> Args<'_, O, E> {
    /// Checks leading dimensions, strides and lengths of `batch` products.
    fn check(&self, c_len: usize, batch: usize, [stride_a, stride_b, stride_c]: [usize; 3]) -> Result {
        let Args { function: f, m, n, k, lda, ldb, ldc, .. } = *self;
        if batch == 1 && self.plainly_holds(c_len) {
            return Ok(());
        }
        let (a_rows, a_cols, a_dim) = if self.trans_a == Transpose::No { (m, k, "k") } else { (k, m, "m") };
        let (b_rows, b_cols, b_dim) = if self.trans_b == Transpose::No { (k, n, "n") } else { (n, k, "k") };
        for (ld, value, matrix, dim, cols) in
            [("lda", lda, "a", a_dim, a_cols), ("ldb", ldb, "b", b_dim, b_cols), ("ldc", ldc, "c", "n", n)]
        {
            if value < cols {
                let detail = format!("{ld} is {value} but rows of {matrix} hold {dim} = {cols} elements");
                return Err(Error::invalid_size(f, detail));
            }
        }
        for (name, len, rows, cols, ld, stride) in [
            ("a", self.a.len(), a_rows, a_cols, lda, stride_a),
            ("b", self.b.len(), b_rows, b_cols, ldb, stride_b),
            ("c", c_len, m, n, ldc, stride_c),
        ] {
            let item = span(f, name, rows, cols, ld)?;
            if name == "c" && batch > 1 && stride < item {
                let detail = format!("stride_c is {stride} but a product's c spans {item} elements");
                return Err(Error::invalid_size(f, detail));
            }
            if item == 0 || batch == 0 {
                continue;
            }
            let need = span(f, name, batch, item, stride)?;
            if len < need {
                let items = if batch > 1 { format!("{batch} items {stride} apart of ") } else { String::new() };
                let detail = format!(
                    "{name} holds {len} elements, but {items}{rows} rows of {cols} with leading dimension {ld} need {need}"
                );
                return Err(Error::invalid_size(f, detail));
            }
        }
        Ok(())
    }
}

impl<O: Operand, E> Args<'_, O, E> {
    /// The checks of one product in short, without words for what fails: small ones feel the long way.
    fn plainly_holds(&self, c_len: usize) -> bool {
        let (a_rows, a_cols) = if self.trans_a == Transpose::No { (self.m, self.k) } else { (self.k, self.m) };
        let (b_rows, b_cols) = if self.trans_b == Transpose::No { (self.k, self.n) } else { (self.n, self.k) };
        // Nothing overflows below the square root of what a usize holds.
        let holds = |len: usize, rows: usize, cols: usize, ld: usize| {
            (rows | cols | ld) < 1 << (usize::BITS / 2 - 1) && rows > 0 && cols <= ld && (rows - 1) * ld + cols <= len
        };
        holds(self.a.len(), a_rows, a_cols, self.lda)
            && holds(self.b.len(), b_rows, b_cols, self.ldb)
            && holds(c_len, self.m, self.n, self.ldc)
    }
}

/// Elements from the first to the last of `rows` × `cols` whose rows begin `ld` apart, checked.
fn span(function: &'static str, name: &str, rows: usize, cols: usize, ld: usize) -> Result<usize> {
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let spanned = product(function, name, &[rows - 1, ld])?.checked_add(cols);
    spanned.filter(|n| *n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::invalid_size(function, format!("{name} spans more elements than this machine can address"))
    })
}

/// The path of a product: what keeps its order of summation fastest.
enum Path<'a, O: Operand, E> {
    Nothing,
    NoDepth,
    /// The dealt order; elements of workspace for a copy of the few rows or columns.
    Dealt(usize),
    Small(Product<'a, O, E>, Plan),
    Swept(Product<'a, O, E>, sweep::Cut),
    Ranked(Product<'a, O, E>),
    Blocks(Product<'a, O, E>, Layout),
}

impl<O: Operand, E: Epilogue<O::Real>> Path<'_, O, E> {
    fn scratch_len(&self) -> usize {
        match self {
            Path::Dealt(len) => *len,
            Path::Swept(_, cut) => cut.len(),
            Path::Blocks(_, layout) => layout.len(),
            _ => 0,
        }
    }
}

impl<O: Operand, E: Epilogue<O::Real>> Args<'_, O, E> {
    /// Whether m rows of A meet rows of B, or rows of A meet n columns of B, in the dealt order.
    fn few_rows(&self) -> bool {
        self.m <= 4 && self.trans_b == Transpose::Yes
    }

    fn path(&self, ctx: &Context, threads: usize) -> Path<'_, O, E> {
        self.path_in(ctx, threads, ctx.batch_invariant())
    }

    /// The path, where `ascending` rules out the dealt order.
    fn path_in(&self, ctx: &Context, threads: usize, ascending: bool) -> Path<'_, O, E> {
        if self.m == 0 || self.n == 0 {
            return Path::Nothing;
        }
        if self.k == 0 {
            return Path::NoDepth;
        }
        // Epilogues that ask for groups only come with a transposed A, which is never dealt.
        let few = self.few_rows() || self.n <= 4;
        if self.trans_a == Transpose::No && few && !ascending && !E::GROUPS {
            return Path::Dealt(dealt_scratch(self));
        }
        let view = |slice: &[O], transpose, ld| match transpose {
            Transpose::No => View { ptr: slice.as_ptr(), row: ld, col: 1 },
            Transpose::Yes => View { ptr: slice.as_ptr(), row: 1, col: ld },
        };
        let (a, b) = (view(self.a, self.trans_a, self.lda), view(self.b, self.trans_b, self.ldb));
        // Lanes run along the columns of C, or along its rows where it has too few columns to fill them.
        let lanes = |x: usize| if x <= O::Real::HALF { O::Real::HALF } else { x.next_multiple_of(O::Real::LANES) };
        let fuller = self.n * lanes(self.m) < self.m * lanes(self.n);
        let turned = self.n <= O::Real::LANES * 3 / 4 && fuller && !E::GROUPS;
        let (m, n, a, b) = if turned { (self.n, self.m, b.turned(), a.turned()) } else { (self.m, self.n, a, b) };
        let (c_row, c_col) = if turned { (1, self.ldc) } else { (self.ldc, 1) };
        let (k, alpha, beta, epilogue) = (self.k, self.alpha, self.beta, self.epilogue);
        let product = Product { m, n, k, a, b, c_row, c_col, alpha, beta, epilogue, turned };
        if rank::is_ranked(&product) {
            return Path::Ranked(product);
        }
        if sweep::is_swept(&product) {
            let cut = sweep::Cut::new(&product, ctx, threads);
            return Path::Swept(product, cut);
        }
        match product.small(ctx, threads) {
            Some(plan) => Path::Small(product, plan),
            None => {
                let layout = product.layout(ctx, threads);
                Path::Blocks(product, layout)
            }
        }
    }

    /// # Safety
    /// `c` holds C; the path is this product's, on at most `threads`, and `scratch` as long as it says.
    unsafe fn run(
        &self,
        ctx: &Context,
        threads: usize,
        path: &Path<'_, O, E>,
        c: *mut O::Real,
        scratch: &mut [O::Real],
    ) {
        match path {
            Path::Nothing => {}
            Path::NoDepth => {
                let _fp = FpEnv::enter(ctx.flush_subnormals());
                ctx.dispatch(NoDepth { args: self, c });
            }
            // SAFETY: the contract.
            Path::Dealt(_) => unsafe { deal(ctx, threads, self, c, scratch) },
            Path::Small(product, plan) => {
                let _fp = FpEnv::enter(ctx.flush_subnormals());
                ctx.dispatch(Small { product, plan: *plan, c });
            }
            // SAFETY: the contract.
            Path::Swept(product, cut) => unsafe { sweep::run(product, cut, ctx, c, scratch) },
            // SAFETY: the contract.
            Path::Ranked(product) => unsafe { rank::run(product, ctx, threads, c) },
            // SAFETY: the contract.
            Path::Blocks(product, layout) => unsafe { product.run(ctx, layout, c, scratch) },
        }
    }
}

/// One product. The order of summation follows from its arguments, the path from what is fastest.
///
/// # Errors
/// `OutOfMemory`, before C is touched.
pub(crate) fn multiply<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    x: &Args<'_, O, E>,
    c: &mut [O::Real],
) -> Result {
    let path = x.path(ctx, ctx.num_threads());
    follow(ctx, x, &path, c)
}

/// [`multiply`] in the ascending order, whatever the shape.
///
/// # Errors
/// As there.
pub(crate) fn multiply_ascending<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    x: &Args<'_, O, E>,
    c: &mut [O::Real],
) -> Result {
    let path = x.path_in(ctx, ctx.num_threads(), true);
    follow(ctx, x, &path, c)
}

/// Elements of workspace that [`multiply_ascending`] takes.
pub(crate) fn ascending_scratch<O: Operand, E: Epilogue<O::Real>>(ctx: &Context, x: &Args<'_, O, E>) -> usize {
    x.path_in(ctx, ctx.num_threads(), true).scratch_len()
}

fn follow<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    x: &Args<'_, O, E>,
    path: &Path<'_, O, E>,
    c: &mut [O::Real],
) -> Result {
    let len = path.scratch_len();
    let mut scratch = if len > 0 { Some(Scratch::take::<O::Real>(x.function, len)?) } else { None };
    let scratch = scratch.as_mut().map_or(&mut [][..], |scratch| scratch.slice(len));
    // SAFETY: callers checked that A, B and C hold their dimensions.
    unsafe { x.run(ctx, ctx.num_threads(), path, c.as_mut_ptr(), scratch) };
    Ok(())
}

/// `batch` products: item i has A at `i·strides[0]`, B at `i·strides[1]`, C at `i·strides[2]`, and no two items share an
/// element of C. `x` is the first, with all of `a` and `b`.
///
/// # Errors
/// `OutOfMemory`, before C is touched.
pub(crate) fn multiply_batched<O: Operand>(
    ctx: &Context,
    x: &Args<'_, O, Plain>,
    batch: usize,
    strides: [usize; 3],
    c: &mut [O::Real],
) -> Result {
    // Without elements of C there may be any number of items.
    if x.m == 0 || x.n == 0 {
        return Ok(());
    }
    // Whole items go to threads where there are enough of them; else the threads share each item.
    let flops = 2.0 * x.m as f64 * x.n as f64 * x.k as f64;
    let apart = batch >= 2 * ctx.num_threads();
    let threads = if apart { 1 } else { ctx.num_threads() };
    let workers = if apart { ctx.workers(Work::flops(flops * batch as f64), batch) } else { 1 };
    let len = x.path(ctx, threads).scratch_len();
    let mut scratch = Scratch::take::<O::Real>(x.function, workers * len)?;
    let scratch = Shared::new(scratch.slice::<O::Real>(workers * len));
    let c = Shared::new(c);
    let item = |worker: usize, i: usize| {
        let x = Args { a: x.a.get(i * strides[0]..).unwrap_or(&[]), b: x.b.get(i * strides[1]..).unwrap_or(&[]), ..*x };
        // SAFETY: a worker's number is its own.
        let scratch = unsafe { scratch.piece(worker * len..(worker + 1) * len) };
        // SAFETY: callers checked that every item lies in A, B and C, and that those of C are disjoint.
        unsafe { x.run(ctx, threads, &x.path(ctx, threads), c.as_ptr().wrapping_add(i * strides[2]), scratch) };
    };
    if apart {
        ctx.for_each_worker(workers, batch, item);
    } else {
        (0..batch).for_each(|i| item(0, i));
    }
    Ok(())
}

/// What [`deal`] copies: the few rows or columns, where they are not rows of numbers to compute with.
fn dealt_scratch<O: Operand, E>(x: &Args<'_, O, E>) -> usize {
    let few_rows = x.m <= 4 && x.trans_b == Transpose::Yes;
    let (few, rows) = if few_rows { (x.m, true) } else { (x.n, x.trans_b == Transpose::Yes || x.k == 1) };
    if rows && O::direct(x.a.as_ptr()).is_some() { 0 } else { few * x.k }
}

/// The dealt order: rows of A against rows of B, or against columns of B turned into rows.
///
/// # Safety
/// As [`Args::run`].
unsafe fn deal<O: Operand, E: Epilogue<O::Real>>(
    ctx: &Context,
    threads: usize,
    x: &Args<'_, O, E>,
    c: *mut O::Real,
    scratch: &mut [O::Real],
) {
    let k = x.k;
    let few_rows = x.few_rows();
    let (few, many) = if few_rows { (x.m, x.n) } else { (x.n, x.m) };
    let (rows, ld, step) = match (few_rows, x.trans_b) {
        (true, _) => (x.a, x.lda, 1),
        (false, Transpose::Yes) => (x.b, x.ldb, 1),
        (false, Transpose::No) => (x.b, 1, x.ldb),
    };
    let (few_ptr, ldx) = match O::direct(rows.as_ptr()) {
        Some(ptr) if scratch.is_empty() => (ptr, ld),
        _ => {
            for (i, row) in scratch.chunks_exact_mut(k).enumerate() {
                for (p, v) in row.iter_mut().enumerate() {
                    *v = rows[i * ld + p * step].widen();
                }
            }
            (scratch.as_ptr(), k)
        }
    };
    let (w, ldw) = if few_rows { (x.b, x.ldb) } else { (x.a, x.lda) };
    let dots = dot::Dots {
        few,
        few_are_rows: few_rows,
        many,
        k,
        x: few_ptr,
        ldx,
        w: w.as_ptr(),
        ldw,
        c,
        c_few: if few_rows { x.ldc } else { 1 },
        c_many: if few_rows { 1 } else { x.ldc },
        alpha: x.alpha,
        beta: x.beta,
        epilogue: x.epilogue,
    };
    // SAFETY: callers checked the dimensions; few <= 4.
    unsafe { dots.run(ctx, threads) };
}

/// k = 0: C = beta·C, and the epilogue.
struct NoDepth<'a, 'b, O: Operand, E> {
    args: &'a Args<'b, O, E>,
    c: *mut O::Real,
}

impl<O: Operand, E: Epilogue<O::Real>> Kernel for NoDepth<'_, '_, O, E> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, zero) = (self.args, O::Real::default());
        // SAFETY: C holds m rows of n (promise of Args::run).
        unsafe {
            for i in 0..x.m {
                for j in 0..x.n {
                    let v = self.c.add(i * x.ldc + j);
                    *v = if x.beta == zero { zero } else { x.beta * *v };
                }
            }
            x.epilogue.apply(s, Finished { c: self.c, ldc: x.ldc, row: 0, col: 0, rows: x.m, cols: x.n });
        }
    }
}
