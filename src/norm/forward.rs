//! Rows normalized, a tile of them at a time: statistics first, then the same rows again out of the cache.

use super::halves::{self, convert};
use super::rows::{self, Row, TILE, TILE_ELEMENTS, Tile};
use super::{first_part, head, last_part, put, streams};
use crate::context::Context;
use crate::element::Storage;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};

/// Elements of a task.
const PIECE: usize = 16 * 1024;

/// What is normalized.
pub(super) enum Input<'a, T> {
    Given(&'a [T]),
    /// x + residual, which goes to `sum` first.
    Sum {
        x: &'a [T],
        residual: &'a [T],
        sum: &'a mut [T],
    },
}

/// Arguments of a call. gamma and beta hold the columns of `groups` rows, which take turns.
pub(super) struct Call<'a, T> {
    pub(super) eps: f32,
    pub(super) cols: usize,
    pub(super) groups: usize,
    pub(super) input: Input<'a, T>,
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) y: &'a mut [T],
    pub(super) mean: Option<&'a mut [f32]>,
    pub(super) rstd: Option<&'a mut [f32]>,
}

/// Normalizes every row; without `CENTER` by its root mean square alone.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn run<T: Storage, const CENTER: bool>(
    function: &'static str,
    ctx: &Context,
    ns: f64,
    call: Call<'_, T>,
) -> Result {
    let (n, cols) = (call.y.len(), call.cols);
    if n == 0 {
        return Ok(());
    }
    let rows = n / cols;
    let step = (PIECE / cols).clamp(1, rows);
    let (work, tasks) = (Work::elements(n, ns), rows.div_ceil(step));
    let workers = ctx.workers(work, tasks);
    let each = 2 * step * cols;
    let mut room = halves::room::<T>(function, ctx, workers, each)?;
    let room = room.as_mut().map(|room| Shared::new(room.slice::<f32>(workers * each)));
    let stream = streams::<T>(n, cols);
    let y = Shared::new(call.y);
    let [mean, rstd] = [call.mean, call.rstd].map(|v| v.map(Shared::new));
    let (given, sum) = match call.input {
        Input::Given(x) => ([x, x], None),
        Input::Sum { x, residual, sum } => ([x, residual], Some(Shared::new(sum))),
    };
    ctx.for_each_worker(workers, tasks, |worker, task| {
        let rows = task * step..rows.min((task + 1) * step);
        let range = rows.start * cols..rows.end * cols;
        let [x, residual] = given.map(|v| &v[range.clone()]);
        // SAFETY: tasks have disjoint rows, and no two tasks at once share a worker's number.
        unsafe {
            let piece = |v: &Option<Shared<'_, f32>>| v.as_ref().map(|v| &raw mut *v.piece(rows.clone()));
            let input = match &sum {
                None => Input::Given(x),
                Some(sum) => Input::Sum { x, residual, sum: sum.piece(range.clone()) },
            };
            ctx.dispatch(Forward::<T, CENTER> {
                eps: call.eps as f64,
                cols,
                groups: call.groups,
                first: rows.start,
                input,
                gamma: call.gamma,
                beta: call.beta,
                y: y.piece(range),
                mean: piece(&mean).map(|v| &mut *v),
                rstd: piece(&rstd).map(|v| &mut *v),
                stream,
                room: match &room {
                    Some(room) if halves::is_half::<T>() => room.piece(worker * each..(worker + 1) * each),
                    _ => &mut [],
                },
            });
        }
    });
    Ok(())
}

struct Forward<'a, T, const CENTER: bool> {
    eps: f64,
    cols: usize,
    groups: usize,
    /// The number of the first row.
    first: usize,
    input: Input<'a, T>,
    gamma: &'a [f32],
    beta: &'a [f32],
    y: &'a mut [T],
    mean: Option<&'a mut [f32]>,
    rstd: Option<&'a mut [f32]>,
    stream: bool,
    /// For x and y in f32, where T is to be widened.
    room: &'a mut [f32],
}

impl<T: Storage, const CENTER: bool> Forward<'_, T, CENTER> {
    #[inline(always)]
    fn widened<S: Simd>(self, s: S) {
        let n = self.y.len();
        let (x, y) = self.room[..2 * n].split_at_mut(n);
        match self.input {
            Input::Given(given) => convert(s, given, x),
            Input::Sum { x: given, residual, sum } => {
                convert(s, given, x);
                convert(s, residual, y);
                x.iter_mut().zip(&*y).for_each(|(x, residual)| *x += residual);
                convert(s, x, sum);
                convert(s, sum, x);
            }
        }
        let Forward { eps, cols, groups, first, gamma, beta, mean, rstd, .. } = self;
        let input = Input::Given(&*x);
        let (stream, room) = (false, &mut [][..]);
        s.outline(Forward::<f32, CENTER> {
            eps,
            cols,
            groups,
            first,
            input,
            gamma,
            beta,
            y: &mut *y,
            mean,
            rstd,
            stream,
            room,
        });
        convert(s, y, self.y);
    }
}

impl<T: Storage, const CENTER: bool> Kernel for Forward<'_, T, CENTER> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if halves::widens::<S, T>() {
            return self.widened(s);
        }
        let cols = self.cols;
        let rows = self.y.len() / cols;
        let step = (TILE_ELEMENTS / cols).clamp(1, TILE);
        let (x, add) = match &mut self.input {
            Input::Given(x) => (x.as_ptr(), None),
            Input::Sum { x, residual, sum } => {
                let sum = sum.as_mut_ptr();
                (sum.cast_const(), Some((x.as_ptr(), residual.as_ptr(), sum)))
            }
        };
        let out = Out {
            cols,
            gamma: self.gamma.as_ptr(),
            beta: self.beta.as_ptr(),
            stream: self.stream,
            head: head::<S, _>(self.stream, self.y, cols),
            ahead: step * cols,
        };
        let y = self.y.as_mut_ptr();
        let mut row = 0;
        while row < rows {
            let count = step.min(rows - row);
            // SAFETY: rows `row` to `row + count` of x, residual, sum and y (run cut them alike), and of gamma and beta
            // the group of each.
            unsafe {
                let (x, y) = (x.add(row * cols), y.add(row * cols));
                if let Some((a, b, sum)) = add {
                    let at = row * cols;
                    sum_rows(s, count * cols, a.add(at), b.add(at), sum.add(at));
                }
                let tile = Tile::read::<S, T, CENTER>(s, count, cols, x);
                let mut stats = tile.finish::<S, T, CENTER>(s, count, cols, self.eps, x);
                let mut r = 0;
                while r < count {
                    let (x, y, left) = (x.add(r * cols), y.add(r * cols), count - r);
                    if !S::COMPACT
                        && left >= 2
                        && !self.stream
                        && self.groups == 1
                        && !stats[r].wide
                        && !stats[r + 1].wide
                    {
                        out.rows::<S, T, 2, CENTER>(s, 0, x, y, [stats[r], stats[r + 1]]);
                        r += 2;
                        continue;
                    }
                    let offset = (self.first + row + r) % self.groups * cols;
                    if stats[r].wide {
                        let wide = Wide { center: CENTER, eps: self.eps, out: &out, offset, x, y };
                        stats[r] = s.outline(wide);
                    } else {
                        out.rows::<S, T, 1, CENTER>(s, offset, x, y, [stats[r]]);
                    }
                    r += 1;
                }
                for (r, stats) in stats[..count].iter().enumerate() {
                    if let Some(mean) = &mut self.mean {
                        mean[row + r] = stats.mean;
                    }
                    if let Some(rstd) = &mut self.rstd {
                        rstd[row + r] = stats.rstd;
                    }
                }
            }
            row += count;
        }
        if self.stream {
            s.fence();
        }
    }
}

/// sum = a + b, rounded to the storage: what is normalized is what was stored.
///
/// # Safety
/// All three are valid for `n` elements.
#[inline(always)]
unsafe fn sum_rows<S: Simd, T: Storage>(s: S, n: usize, a: *const T, b: *const T, sum: *mut T) {
    let mut i = 0;
    while i < n {
        // SAFETY: ends at n.
        unsafe {
            let v = s.add(T::load_up_to(s, a.add(i), n - i), T::load_up_to(s, b.add(i), n - i));
            T::store_up_to(s, sum.add(i), v, n - i);
        }
        i += LANES;
    }
}

/// What does not change from row to row.
struct Out {
    cols: usize,
    gamma: *const f32,
    beta: *const f32,
    stream: bool,
    /// Elements before the first whole vector, so that vectors are aligned where they stream.
    head: usize,
    /// Elements of a tile: while this one is written, the next is asked for.
    ahead: usize,
}

impl Out {
    /// y = x̂·gamma + beta of `R` rows, gamma and beta from `offset`.
    ///
    /// # Safety
    /// x and y are valid for R·cols elements, gamma and beta for cols at `offset`.
    #[inline(always)]
    unsafe fn rows<S: Simd, T: Storage, const R: usize, const CENTER: bool>(
        &self,
        s: S,
        offset: usize,
        x: *const T,
        y: *mut T,
        rows: [Row; R],
    ) {
        let mut splat = [[s.zero(); 3]; R];
        for r in 0..R {
            splat[r] = [s.splat(rows[r].mean), s.splat(rows[r].rstd), s.splat(rows[r].shift)];
        }
        // SAFETY: whole vectors and the parts before and after them, each inside of every row.
        unsafe {
            let mut i = 0;
            let mut part = first_part::<S>(self.head, self.cols);
            loop {
                if part > 0 {
                    self.vector::<S, T, R, CENTER, false>(s, offset, i, part, x, y, &splat);
                    i += part;
                }
                while !S::COMPACT && i + LANES <= self.cols {
                    self.vector::<S, T, R, CENTER, true>(s, offset, i, LANES, x, y, &splat);
                    i += LANES;
                }
                if i == self.cols {
                    return;
                }
                part = last_part::<S>(self.cols - i);
            }
        }
    }

    /// `n` columns from `i`; 16 of them if `FULL`.
    ///
    /// # Safety
    /// As for [`Out::rows`]; the columns are there.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn vector<S: Simd, T: Storage, const R: usize, const CENTER: bool, const FULL: bool>(
        &self,
        s: S,
        offset: usize,
        i: usize,
        n: usize,
        x: *const T,
        y: *mut T,
        splat: &[[S::F; 3]; R],
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            let (gamma, beta) = (self.gamma.add(offset + i), self.beta.add(offset + i));
            let gamma = if FULL { s.load(gamma) } else { s.load_first(gamma, n) };
            let beta = match (CENTER, FULL) {
                (false, _) => gamma,
                (true, true) => s.load(beta),
                (true, false) => s.load_first(beta, n),
            };
            // All loads before the stores, which may lie a multiple of a page away.
            let mut v = [gamma; R];
            for r in 0..R {
                let x = x.add(r * self.cols + i);
                if FULL {
                    s.prefetch(x.wrapping_add(self.ahead).cast());
                }
                let x = if FULL { T::load(s, x) } else { T::load_first(s, x, n) };
                v[r] = normalize::<S, CENTER>(s, x, &splat[r], gamma, beta);
            }
            for r in 0..R {
                let y = y.add(r * self.cols + i);
                if FULL {
                    put(s, y, v[r], self.stream);
                } else {
                    T::store_first(s, y, v[r], n);
                }
            }
        }
    }
}

#[inline(always)]
fn normalize<S: Simd, const CENTER: bool>(s: S, x: S::F, row: &[S::F; 3], gamma: S::F, beta: S::F) -> S::F {
    let [mean, rstd, shift] = *row;
    if CENTER { s.fma(s.fma(s.sub(x, mean), rstd, shift), gamma, beta) } else { s.mul(s.mul(x, rstd), gamma) }
}

/// A row in f64: x̂ = (x − mean)·rstd rounded once, then gamma and beta as ever.
struct Wide<'a, T> {
    center: bool,
    eps: f64,
    out: &'a Out,
    offset: usize,
    x: *const T,
    y: *mut T,
}

impl<T: Storage> Kernel for Wide<'_, T> {
    type Out = Row;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Row {
        let cols = self.out.cols;
        // SAFETY: x and y are rows, gamma and beta hold cols at the offset (Forward::run).
        unsafe {
            let [mean, var] = rows::wide(s, cols, self.x, self.center);
            let rstd = 1.0 / (var + self.eps).sqrt();
            // Without ε a constant row has no scale: its x̂ is 0.
            let scale = s.splat_d(if var + self.eps == 0.0 { 0.0 } else { rstd });
            let center = s.splat_d(mean);
            let mut i = 0;
            while i < cols {
                let n = cols - i;
                let [low, high] = rows::deviations(s, self.x.add(i), n, center);
                let xhat = s.narrow(s.mul_d(low, scale), s.mul_d(high, scale));
                let gamma = s.load_up_to(self.out.gamma.add(self.offset + i), n);
                let v = if self.center {
                    s.fma(xhat, gamma, s.load_up_to(self.out.beta.add(self.offset + i), n))
                } else {
                    s.mul(xhat, gamma)
                };
                T::store_up_to(s, self.y.add(i), v, n);
                i += LANES;
            }
            Row { mean: mean as f32, rstd: rstd as f32, shift: 0.0, wide: true }
        }
    }
}
