//! Which way a product takes, and the way there.

use super::args::Args;
use super::block::Small;
use super::blocking::{TURN_COST, narrow_rows};
use super::driver::{Layout, Plan, Product, View};
use super::epilogue::{Finished, finish};
use super::pack::Numbers;
use super::real::Real;
use super::{Transpose, dot, rank, sweep, turned};
use crate::context::Context;
use crate::error::Result;
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};

/// The path of a product: what keeps its order of summation fastest.
enum Path<'a, T: Real> {
    Nothing,
    NoDepth,
    /// The dealt order; elements of workspace for a copy of the few rows or columns.
    Dealt(usize),
    Small(Product<'a, T>, Plan),
    Turned(Product<'a, T>, turned::Cut),
    Swept(Product<'a, T>, sweep::Cut),
    Ranked(Product<'a, T>),
    Blocks(Product<'a, T>, Layout),
}

impl<T: Real> Path<'_, T> {
    fn scratch_len(&self) -> usize {
        match self {
            Path::Dealt(len) => *len,
            Path::Turned(product, cut) => cut.len(product),
            Path::Swept(_, cut) => cut.len(),
            Path::Blocks(_, layout) => layout.len(),
            _ => 0,
        }
    }
}

impl<T: Real> Args<'_, T> {
    /// [`Epilogue::groups`](super::Epilogue::groups) of what follows.
    fn groups(&self) -> bool {
        self.epilogue.is_some_and(|e| e.groups())
    }

    /// Whether m rows of A meet rows of B, or rows of A meet n columns of B, in the dealt order.
    fn few_rows(&self) -> bool {
        self.m <= 4 && self.trans_b == Transpose::Yes
    }

    fn path(&self, ctx: &Context, threads: usize) -> Path<'_, T> {
        self.path_in(ctx, threads, ctx.batch_invariant())
    }

    /// The path, where `ascending` rules out the dealt order.
    fn path_in(&self, ctx: &Context, threads: usize, ascending: bool) -> Path<'_, T> {
        if self.m == 0 || self.n == 0 {
            return Path::Nothing;
        }
        if self.k == 0 {
            return Path::NoDepth;
        }
        // Epilogues that ask for groups only come with a transposed A, which is never dealt.
        let few = self.few_rows() || self.n <= 4;
        if self.trans_a == Transpose::No && few && !ascending && !self.groups() {
            return Path::Dealt(dealt_scratch(self));
        }
        let view = |numbers: Numbers<'_, T>, transpose, ld| {
            let (ptr, stored) = numbers.place();
            let (row, col) = if transpose == Transpose::No { (ld, 1) } else { (1, ld) };
            View { ptr, stored, row, col }
        };
        let (a, b) = (view(self.a, self.trans_a, self.lda), view(self.b, self.trans_b, self.ldb));
        // Lanes run along the columns of C, or along its rows where it has too few columns to fill them.
        // What must be turned for that, which takes the longer the more rows it has, counts too.
        let half = narrow_rows(ctx.isa()) > 0;
        let lanes = |x: usize| if half && x <= T::HALF { T::HALF } else { x.next_multiple_of(T::LANES) };
        let turns = |apart: bool, rows: usize| if apart { rows * TURN_COST } else { 0 };
        let across = self.m * lanes(self.n) + turns(b.col != 1, self.n);
        let fuller = self.n * lanes(self.m) + turns(a.row != 1, self.m) < across;
        let rows_meet = self.trans_a == Transpose::No && self.trans_b == Transpose::Yes;
        let way = if rows_meet { turned::way::<T>(ctx.isa(), self.m, self.n, self.k) } else { None };
        let turned = way.unwrap_or(self.n <= T::LANES * 3 / 4 && fuller && !self.groups());
        let (m, n, a, b) = if turned { (self.n, self.m, b.turned(), a.turned()) } else { (self.m, self.n, a, b) };
        let (c_row, c_col) = if turned { (1, self.ldc) } else { (self.ldc, 1) };
        let (k, alpha, beta, epilogue) = (self.k, self.alpha, self.beta, self.epilogue);
        let product = Product { m, n, k, a, b, c_row, c_col, alpha, beta, epilogue, turned };
        if way.is_some() {
            let cut = turned::Cut::new(&product, ctx, threads);
            return Path::Turned(product, cut);
        }
        if rank::is_ranked(&product, ctx.isa()) {
            return Path::Ranked(product);
        }
        if sweep::is_swept(&product, ctx.isa()) {
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
    unsafe fn run(&self, ctx: &Context, threads: usize, path: &Path<'_, T>, c: *mut T, scratch: &mut [T]) {
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
            Path::Turned(product, cut) => unsafe { turned::run(product, cut, ctx, c, scratch) },
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
pub(crate) fn multiply<T: Real>(ctx: &Context, x: &Args<'_, T>, c: &mut [T]) -> Result {
    let path = x.path(ctx, ctx.num_threads());
    follow(ctx, x, &path, c)
}

/// [`multiply`] in the ascending order, whatever the shape.
///
/// # Errors
/// As there.
pub(crate) fn multiply_ascending<T: Real>(ctx: &Context, x: &Args<'_, T>, c: &mut [T]) -> Result {
    let path = x.path_in(ctx, ctx.num_threads(), true);
    follow(ctx, x, &path, c)
}

/// Elements of workspace that [`multiply_ascending`] takes.
pub(crate) fn ascending_scratch<T: Real>(ctx: &Context, x: &Args<'_, T>) -> usize {
    x.path_in(ctx, ctx.num_threads(), true).scratch_len()
}

fn follow<T: Real>(ctx: &Context, x: &Args<'_, T>, path: &Path<'_, T>, c: &mut [T]) -> Result {
    let len = path.scratch_len();
    let mut scratch = if len > 0 { Some(Scratch::take::<T>(x.function, len)?) } else { None };
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
pub(crate) fn multiply_batched<T: Real>(
    ctx: &Context,
    x: &Args<'_, T>,
    batch: usize,
    strides: [usize; 3],
    c: &mut [T],
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
    let mut scratch = Scratch::take::<T>(x.function, workers * len)?;
    let scratch = Shared::new(scratch.slice::<T>(workers * len));
    let c = Shared::new(c);
    let item = |worker: usize, i: usize| {
        let x = Args { a: x.a.skip(i * strides[0]), b: x.b.skip(i * strides[1]), ..*x };
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
fn dealt_scratch<T: Real>(x: &Args<'_, T>) -> usize {
    let (few, rows) = if x.few_rows() { (x.m, true) } else { (x.n, x.trans_b == Transpose::Yes || x.k == 1) };
    if rows && matches!(x.a, Numbers::Direct(_)) { 0 } else { few * x.k }
}

/// The dealt order: rows of A against rows of B, or against columns of B turned into rows.
///
/// # Safety
/// As [`Args::run`].
unsafe fn deal<T: Real>(ctx: &Context, threads: usize, x: &Args<'_, T>, c: *mut T, scratch: &mut [T]) {
    let k = x.k;
    let few_rows = x.few_rows();
    let (few, many) = if few_rows { (x.m, x.n) } else { (x.n, x.m) };
    let (rows, ld, step) = match (few_rows, x.trans_b) {
        (true, _) => (x.a, x.lda, 1),
        (false, Transpose::Yes) => (x.b, x.ldb, 1),
        (false, Transpose::No) => (x.b, 1, x.ldb),
    };
    let (few_ptr, ldx) = match rows {
        Numbers::Direct(rows) if scratch.is_empty() => (rows.as_ptr(), ld),
        _ => {
            match rows {
                Numbers::Direct(rows) => gather(rows, ld, step, k, scratch, |v| v),
                Numbers::Bf16(rows) => gather(rows, ld, step, k, scratch, |v| v.to_f32().into()),
                Numbers::F16(rows) => gather(rows, ld, step, k, scratch, |v| v.to_f32().into()),
            }
            (scratch.as_ptr(), k)
        }
    };
    let (w, ldw) = if few_rows { (x.b, x.ldb) } else { (x.a, x.lda) };
    let (w, w_stored) = w.place();
    let dots = dot::Dots {
        few,
        few_are_rows: few_rows,
        many,
        k,
        x: few_ptr,
        ldx,
        w,
        w_stored,
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

/// Copies rows of `k` numbers, `step` apart, to `out`, one behind the other.
fn gather<O: Copy, T>(rows: &[O], ld: usize, step: usize, k: usize, out: &mut [T], widen: impl Fn(O) -> T) {
    for (i, row) in out.chunks_exact_mut(k).enumerate() {
        for (p, v) in row.iter_mut().enumerate() {
            *v = widen(rows[i * ld + p * step]);
        }
    }
}

/// k = 0: C = beta·C, and the epilogue.
struct NoDepth<'a, 'b, T: Real> {
    args: &'a Args<'b, T>,
    c: *mut T,
}

impl<T: Real> Kernel for NoDepth<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, zero) = (self.args, T::default());
        // SAFETY: C holds m rows of n (promise of Args::run).
        unsafe {
            for i in 0..x.m {
                for j in 0..x.n {
                    let v = self.c.add(i * x.ldc + j);
                    *v = if x.beta == zero { zero } else { x.beta * *v };
                }
            }
            let piece = Finished { c: self.c, ldc: x.ldc, row: 0, col: 0, rows: x.m, cols: x.n };
            finish(s, x.epilogue, piece);
        }
    }
}
