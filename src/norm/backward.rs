//! Gradients of normalized rows: a pass for each row's two averages, a pass for dx and the columns' sums.

use super::halves::{self, convert};
use super::parts::{Layout, flush, layout};
use super::rows::{self, TILE, TILE_ELEMENTS, deviations};
use super::{BLOCK, CHUNK, first_part, head, last_part, put, streams};
use crate::context::Context;
use crate::element::Storage;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

/// Arguments of a call. gamma holds the columns of `groups` rows, which take turns.
pub(super) struct Gradients<'a, T> {
    pub(super) cols: usize,
    pub(super) groups: usize,
    pub(super) dy: &'a [T],
    pub(super) dsum: Option<&'a [T]>,
    pub(super) x: &'a [T],
    pub(super) mean: &'a [f32],
    pub(super) rstd: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) dx: Option<&'a mut [T]>,
    /// Whether anyone asks for the columns' sums.
    pub(super) params: bool,
}

/// The columns' sums of all tasks.
pub(super) struct Sums {
    pub(super) layout: Layout,
    scratch: Scratch,
}

impl Sums {
    pub(super) fn get(&mut self) -> &[f64] {
        self.scratch.slice::<f64>(self.layout.tasks * 2 * self.layout.stride)
    }
}

/// Computes dx and the columns' sums.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn run<T: Storage, const CENTER: bool>(
    function: &'static str,
    ctx: &Context,
    ns: f64,
    mut call: Gradients<'_, T>,
) -> Result<Sums> {
    let (cols, n) = (call.cols, call.dy.len());
    // A sample is a row of every group.
    let sample = call.groups.saturating_mul(cols);
    let samples = if n == 0 { 0 } else { n / sample };
    let mut layout = layout(samples, cols, call.groups);
    if !call.params {
        (layout.padded, layout.stride) = (0, 0);
    }
    let Layout { padded, stride, step, tasks } = layout;
    let work = Work::elements(n, ns);
    let workers = ctx.workers(work, tasks);
    let mut scratch = Scratch::take::<f64>(function, tasks * 2 * stride)?;
    let mut blocks = Scratch::take::<f32>(function, workers * 2 * stride)?;
    let each = 4 * step.min(samples) * sample;
    let mut room = halves::room::<T>(function, ctx, workers, each)?;
    let room = room.as_mut().map(|room| Shared::new(room.slice::<f32>(workers * each)));
    {
        let sums = Shared::new(scratch.slice::<f64>(tasks * 2 * stride));
        let blocks = Shared::new(blocks.slice::<f32>(workers * 2 * stride));
        let stream = call.dx.is_some() && streams::<T>(n, cols);
        let dx = call.dx.take().map(Shared::new);
        let call = &call;
        ctx.for_each_worker(workers, tasks, |worker, task| {
            let samples = task * step..samples.min((task + 1) * step);
            let rows = samples.start * call.groups..samples.end * call.groups;
            let range = samples.start * sample..samples.end * sample;
            // SAFETY: tasks have disjoint rows and sums, workers disjoint blocks and rooms.
            let (dx, block, sums, room) = unsafe {
                (
                    dx.as_ref().map(|dx| dx.piece(range.clone())),
                    blocks.piece(worker * 2 * stride..(worker + 1) * 2 * stride),
                    sums.piece(task * 2 * stride..(task + 1) * 2 * stride),
                    match &room {
                        Some(room) if halves::is_half::<T>() => room.piece(worker * each..(worker + 1) * each),
                        _ => &mut [],
                    },
                )
            };
            ctx.dispatch(Backward::<T, CENTER> {
                cols,
                padded,
                groups: call.groups,
                dy: &call.dy[range.clone()],
                dsum: call.dsum.map(|v| &v[range.clone()]),
                x: &call.x[range],
                mean: &call.mean[rows.clone()],
                rstd: &call.rstd[rows],
                gamma: call.gamma,
                dx,
                block,
                sums,
                stream,
                room,
            });
        });
    }
    Ok(Sums { layout, scratch })
}

struct Backward<'a, T, const CENTER: bool> {
    cols: usize,
    padded: usize,
    groups: usize,
    dy: &'a [T],
    dsum: Option<&'a [T]>,
    x: &'a [T],
    mean: &'a [f32],
    rstd: &'a [f32],
    gamma: &'a [f32],
    dx: Option<&'a mut [T]>,
    /// dgamma and dbeta of a block of samples; empty if neither is wanted.
    block: &'a mut [f32],
    /// The same of all blocks.
    sums: &'a mut [f64],
    stream: bool,
    /// For dy, x, dsum and dx in f32, where T is to be widened.
    room: &'a mut [f32],
}

impl<T: Storage, const CENTER: bool> Backward<'_, T, CENTER> {
    #[inline(always)]
    fn widened<S: Simd>(self, s: S) {
        let n = self.dy.len();
        let (dy, room) = self.room.split_at_mut(n);
        let (x, room) = room.split_at_mut(n);
        let (dsum, room) = room.split_at_mut(n);
        convert(s, self.dy, dy);
        convert(s, self.x, x);
        if let Some(given) = self.dsum {
            convert(s, given, dsum);
        }
        let dsum = self.dsum.map(|_| &*dsum);
        let dx = &mut room[..n];
        let Backward { cols, padded, groups, mean, rstd, gamma, block, sums, .. } = self;
        s.outline(Backward::<f32, CENTER> {
            cols,
            padded,
            groups,
            dy,
            dsum,
            x,
            mean,
            rstd,
            gamma,
            dx: self.dx.is_some().then_some(&mut *dx),
            block,
            sums,
            stream: false,
            room: &mut [],
        });
        if let Some(out) = self.dx {
            convert(s, dx, out);
        }
    }
}

impl<T: Storage, const CENTER: bool> Kernel for Backward<'_, T, CENTER> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if halves::widens::<S, T>() {
            return self.widened(s);
        }
        let (cols, rows) = (self.cols, self.rstd.len());
        // This tile of dy and x, the next one, gamma and its sums lie in the first-level cache together.
        let most = (TILE_ELEMENTS / 2 / cols).clamp(if self.stream { 1 } else { 2 }, TILE);
        let mut all = Rows::<T> {
            cols,
            dy: self.dy.as_ptr(),
            dsum: self.dsum.map_or(std::ptr::null(), |v| v.as_ptr()),
            x: self.x.as_ptr(),
            gamma: self.gamma.as_ptr(),
            head: self.dx.as_deref().map_or(0, |dx| head::<S, _>(self.stream, dx, cols)),
            dx: self.dx.map_or(std::ptr::null_mut(), |v| v.as_mut_ptr()),
            dgamma: std::ptr::null_mut(),
            dbeta: std::ptr::null_mut(),
            stream: self.stream,
            ahead: most * cols,
        };
        let params = !self.block.is_empty();
        let half = self.block.len() / 2;
        let mut tile = [Averages::default(); TILE];
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + BLOCK * self.groups);
            if params {
                self.block.fill(0.0);
                all.dgamma = self.block.as_mut_ptr();
                all.dbeta = all.dgamma.wrapping_add(half);
            }
            let mut r = start;
            while r < end {
                let count = most.min(end - r);
                // SAFETY: rows from r to r + count are inside of every tensor (run cut them alike), gamma and block hold a
                // row's columns for every group.
                unsafe {
                    all.averages::<S, CENTER>(s, r, count, self.groups, self.mean, self.rstd, &mut tile);
                    let mut k = 0;
                    while k < count {
                        let pair = !S::COMPACT && k + 1 < count && !self.stream && self.groups == 1;
                        if pair && !tile[k].wide && !tile[k + 1].wide {
                            all.apply::<S, 2, CENTER>(s, r + k, [0; 2], [tile[k], tile[k + 1]]);
                            k += 2;
                        } else {
                            let group = (r + k) % self.groups;
                            all.one::<S, CENTER>(s, r + k, [group * cols, group * self.padded], tile[k]);
                            k += 1;
                        }
                    }
                }
                r += count;
            }
            if params {
                // SAFETY: whole vectors; sums are as many as block.
                unsafe { flush(s, start == 0, self.block, self.sums) };
            }
            start = end;
        }
        if self.stream {
            s.fence();
        }
    }
}

/// What dx of a row takes: x̂ = (x − mean)·rstd + shift, dx = rstd·(g − a − x̂·b).
#[derive(Clone, Copy, Default)]
struct Averages {
    mean: f32,
    rstd: f32,
    shift: f32,
    a: f32,
    b: f32,
    /// The row needs f64 throughout.
    wide: bool,
}

impl Averages {
    /// From Σ g, Σ g·x̂ and Σ x̂.
    #[inline(always)]
    fn new(mean: f32, rstd: f32, [g, gx, x]: [f64; 3], cols: usize) -> Averages {
        let n = cols as f64;
        let shift = -x / n;
        let wide = !(g + gx + x).is_finite();
        Averages { mean, rstd, shift: shift as f32, a: (g / n) as f32, b: ((gx + shift * g) / n) as f32, wide }
    }
}

/// All rows of a task.
struct Rows<T> {
    cols: usize,
    dy: *const T,
    /// NULL where there is none, as for all below.
    dsum: *const T,
    x: *const T,
    gamma: *const f32,
    dx: *mut T,
    dgamma: *mut f32,
    dbeta: *mut f32,
    head: usize,
    stream: bool,
    /// Elements of a tile.
    ahead: usize,
}

impl<T: Storage> Rows<T> {
    /// avg(g) and avg(g·x̂) of `count` rows from `r`; what rounding took from the mean is Σ (x − mean).
    ///
    /// # Safety
    /// The rows, at most [`TILE`], are inside of dy and x; gamma holds the columns of every group.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn averages<S: Simd, const CENTER: bool>(
        &self,
        s: S,
        r: usize,
        count: usize,
        groups: usize,
        mean: &[f32],
        rstd: &[f32],
        rows: &mut [Averages; TILE],
    ) {
        let (mean, rstd) = (&mean[r..r + count], &rstd[r..r + count]);
        // In registers where they are few: what was stored in parts comes back as a vector only after all stores before it, and
        // those of the row before go to memory.
        let few = S::COMPACT || count <= 2;
        let [mut g, mut gx, mut x] = [[0.0; TILE]; 3];
        for k in 0..count {
            let group = if groups == 1 { 0 } else { (r + k) % groups };
            // SAFETY: the contract.
            let sums = unsafe { self.sums::<S, CENTER>(s, r + k, group * self.cols, mean[k], rstd[k]) };
            if few {
                rows[k] = Averages::new(mean[k], rstd[k], sums, self.cols);
            } else {
                [g[k], gx[k], x[k]] = sums;
            }
        }
        if few {
            return;
        }
        for k in 0..count {
            rows[k] = Averages { mean: mean[k], rstd: rstd[k], wide: !(g[k] + gx[k] + x[k]).is_finite(), ..rows[k] };
        }
        let n = s.splat_d(self.cols as f64);
        // SAFETY: TILE doubles.
        let (g, gx, x) = unsafe { (s.load_d(g.as_ptr()), s.load_d(gx.as_ptr()), s.load_d(x.as_ptr())) };
        let shift = s.div_d(s.mul_d(x, s.splat_d(-1.0)), n);
        let a = s.div_d(g, n);
        let b = s.div_d(s.add_d(gx, s.mul_d(shift, g)), n);
        let (a, b) = (s.to_array(s.narrow(a, a)), s.to_array(s.narrow(b, b)));
        let shift = s.to_array(s.narrow(shift, shift));
        for k in 0..count {
            rows[k] = Averages { shift: shift[k], a: a[k], b: b[k], ..rows[k] };
        }
    }

    /// Σ g, Σ g·x̂ and Σ x̂ of row `r`, whose gamma is at `offset`; of the second alone without `CENTER`.
    ///
    /// # Safety
    /// The row is inside of dy and x, and cols of gamma are at `offset`.
    #[inline(always)]
    unsafe fn sums<S: Simd, const CENTER: bool>(
        &self,
        s: S,
        r: usize,
        offset: usize,
        mean: f32,
        rstd: f32,
    ) -> [f64; 3] {
        let (m, k) = (s.splat(mean), s.splat(rstd));
        let (mut sum_g, mut sum_gx, mut sum_x) = (0.0, 0.0, 0.0);
        let mut at = 0;
        while at < self.cols {
            let end = self.cols.min(at + CHUNK);
            let (mut a, mut b, mut c) = (s.zero(), s.zero(), s.zero());
            let mut i = at;
            // SAFETY: i + 16 <= end <= cols, and the tail ends at cols.
            unsafe {
                let (dy, x) = (self.dy.add(r * self.cols), self.x.add(r * self.cols));
                let gamma = self.gamma.add(offset);
                while !S::COMPACT && i + LANES <= end {
                    let g = s.mul(T::load(s, dy.add(i)), s.load(gamma.add(i)));
                    let x = T::load(s, x.add(i));
                    let xhat = s.mul(if CENTER { s.sub(x, m) } else { x }, k);
                    b = s.fma(g, xhat, b);
                    if CENTER {
                        a = s.add(a, g);
                        c = s.add(c, xhat);
                    }
                    i += LANES;
                }
                while i < end {
                    let n = if S::COMPACT { LANES.min(end - i) } else { end - i };
                    let g = s.mul(T::load_first(s, dy.add(i), n), s.load_first(gamma.add(i), n));
                    let x = T::load_first(s, x.add(i), n);
                    let xhat = s.mul(if CENTER { s.sub(x, m) } else { x }, k);
                    let xhat = s.select(s.first(n), xhat, s.zero());
                    b = s.fma(g, xhat, b);
                    if CENTER {
                        a = s.add(a, g);
                        c = s.add(c, xhat);
                    }
                    i += n;
                }
            }
            sum_gx += s.sum(b) as f64;
            if CENTER {
                sum_g += s.sum(a) as f64;
                sum_x += s.sum(c) as f64;
            }
            at = end;
        }
        [sum_g, sum_gx, sum_x]
    }

    /// dx and the columns' sums of row `r`; `offsets` of its gamma, and of its dgamma and dbeta.
    ///
    /// # Safety
    /// As for [`Rows::sums`], and the row is inside of dx and dsum, cols of dgamma and dbeta are at the offset.
    #[inline(always)]
    unsafe fn one<S: Simd, const CENTER: bool>(&self, s: S, r: usize, offsets: [usize; 2], row: Averages) {
        if row.wide {
            s.outline(Wide { center: CENTER, all: self, r, offsets, row });
        } else {
            // SAFETY: the caller's contract.
            unsafe { self.apply::<S, 1, CENTER>(s, r, offsets, [row]) };
        }
    }

    /// As [`Rows::one`], of `R` rows from `r` with the same offsets.
    ///
    /// # Safety
    /// As for [`Rows::one`], for each of them.
    #[inline(always)]
    unsafe fn apply<S: Simd, const R: usize, const CENTER: bool>(
        &self,
        s: S,
        r: usize,
        offsets: [usize; 2],
        rows: [Averages; R],
    ) {
        let cols = self.cols;
        let mut splat = [[s.zero(); 5]; R];
        for k in 0..R {
            let row = &rows[k];
            splat[k] = [s.splat(row.mean), s.splat(row.rstd), s.splat(row.shift), s.splat(row.a), s.splat(row.b)];
        }
        // SAFETY: whole vectors and the parts before and after them, each inside of every row.
        unsafe {
            let mut i = 0;
            let mut part = first_part::<S>(self.head, cols);
            loop {
                if part > 0 {
                    self.vector::<S, R, CENTER, false, false>(s, r, offsets, i, part, &splat);
                    i += part;
                }
                if !S::COMPACT && !self.dgamma.is_null() && !self.dx.is_null() && self.dsum.is_null() {
                    while i + LANES <= cols {
                        self.vector::<S, R, CENTER, true, true>(s, r, offsets, i, LANES, &splat);
                        i += LANES;
                    }
                }
                while !S::COMPACT && i + LANES <= cols {
                    self.vector::<S, R, CENTER, true, false>(s, r, offsets, i, LANES, &splat);
                    i += LANES;
                }
                if i == cols {
                    return;
                }
                part = last_part::<S>(cols - i);
            }
        }
    }

    /// `n` columns from `i`, 16 of them if `FULL`; if `PLAIN`, dx and dgamma are wanted and there is no dsum.
    ///
    /// # Safety
    /// As for [`Rows::apply`]; the columns are there.
    #[inline(always)]
    unsafe fn vector<S: Simd, const R: usize, const CENTER: bool, const FULL: bool, const PLAIN: bool>(
        &self,
        s: S,
        r: usize,
        offsets: [usize; 2],
        i: usize,
        n: usize,
        splat: &[[S::F; 5]; R],
    ) {
        let params = PLAIN || !self.dgamma.is_null();
        // SAFETY: n elements from i are inside of every row.
        unsafe {
            let (dgamma, dbeta) = (self.dgamma.wrapping_add(offsets[1] + i), self.dbeta.wrapping_add(offsets[1] + i));
            let gamma = load::<S, f32, FULL>(s, self.gamma.add(offsets[0] + i), n);
            let (mut sum_gamma, mut sum_beta) = (s.zero(), s.zero());
            if params {
                sum_gamma = load::<S, f32, FULL>(s, dgamma, n);
                if CENTER {
                    sum_beta = load::<S, f32, FULL>(s, dbeta, n);
                }
            }
            for k in 0..R {
                let at = (r + k) * self.cols + i;
                let [mean, rstd, shift, a, b] = splat[k];
                if FULL {
                    // The rows of the next tile, while these are written.
                    s.prefetch(self.dy.wrapping_add(at + self.ahead).cast());
                    s.prefetch(self.x.wrapping_add(at + self.ahead).cast());
                }
                let dy = load::<S, T, FULL>(s, self.dy.add(at), n);
                let x = load::<S, T, FULL>(s, self.x.add(at), n);
                let xhat = if CENTER { s.fma(s.sub(x, mean), rstd, shift) } else { s.mul(x, rstd) };
                sum_gamma = s.fma(dy, xhat, sum_gamma);
                if CENTER {
                    sum_beta = s.add(sum_beta, dy);
                }
                if PLAIN || !self.dx.is_null() {
                    let g = s.mul(dy, gamma);
                    let g = if CENTER { s.sub(g, a) } else { g };
                    let mut v = s.mul(s.fnma(xhat, b, g), rstd);
                    if !PLAIN && !self.dsum.is_null() {
                        v = s.add(v, load::<S, T, FULL>(s, self.dsum.add(at), n));
                    }
                    if FULL {
                        put(s, self.dx.add(at), v, self.stream);
                    } else {
                        T::store_first(s, self.dx.add(at), v, n);
                    }
                }
            }
            if params {
                let stored = if FULL { LANES } else { n };
                s.store_up_to(dgamma, sum_gamma, stored);
                if CENTER {
                    s.store_up_to(dbeta, sum_beta, stored);
                }
            }
        }
    }
}

/// 16 elements, or the first `n`.
///
/// # Safety
/// p is valid for reading as many.
#[inline(always)]
unsafe fn load<S: Simd, T: Storage, const FULL: bool>(s: S, p: *const T, n: usize) -> S::F {
    // SAFETY: the caller's contract.
    unsafe { if FULL { T::load(s, p) } else { T::load_first(s, p, n) } }
}

/// A row in f64, from the saved statistics; if those left f32's range, from its own (then ε was 0).
struct Wide<'a, T> {
    center: bool,
    all: &'a Rows<T>,
    r: usize,
    offsets: [usize; 2],
    row: Averages,
}

impl<T: Storage> Kernel for Wide<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { cols, dx, dgamma, dbeta, .. } = *self.all;
        let n = cols as f64;
        // SAFETY: the row and its columns, as for Rows::one.
        unsafe {
            let at = self.r * cols;
            let (dy, x, gamma) = (self.all.dy.add(at), self.all.x.add(at), self.all.gamma.add(self.offsets[0]));
            let mut mean = if self.center { self.row.mean as f64 } else { 0.0 };
            let mut rstd = self.row.rstd as f64;
            if rstd == f64::INFINITY {
                let [own, var] = rows::wide(s, cols, x, self.center);
                mean = own;
                rstd = if var == 0.0 { 0.0 } else { 1.0 / var.sqrt() };
            } else if self.center {
                mean += rows::wide_sums(s, cols, x, mean)[0] / n;
            }
            let (m, k) = (s.splat_d(mean), s.splat_d(rstd));
            let zero = s.splat_d(0.0);
            let (mut a, mut b) = ([zero; 2], [zero; 2]);
            for i in (0..cols).step_by(LANES) {
                let rest = cols - i;
                let d = deviations(s, x.add(i), rest, m);
                let g = product(s, T::load_up_to(s, dy.add(i), rest), s.load_up_to(gamma.add(i), rest));
                for h in 0..2 {
                    a[h] = s.add_d(a[h], g[h]);
                    b[h] = s.fma_d(g[h], s.mul_d(d[h], k), b[h]);
                }
            }
            let a = s.splat_d(if self.center { s.sum_dd(a[0], a[1]) / n } else { 0.0 });
            let b = s.splat_d(s.sum_dd(b[0], b[1]) / n);
            for i in (0..cols).step_by(LANES) {
                let rest = cols - i;
                let mut xhat = deviations(s, x.add(i), rest, m);
                let dy = T::load_up_to(s, dy.add(i), rest);
                let g = product(s, dy, s.load_up_to(gamma.add(i), rest));
                let mut v = g;
                for h in 0..2 {
                    xhat[h] = s.mul_d(xhat[h], k);
                    v[h] = s.mul_d(s.sub_d(s.sub_d(g[h], a), s.mul_d(xhat[h], b)), k);
                }
                if !dx.is_null() {
                    let mut v = s.narrow(v[0], v[1]);
                    if !self.all.dsum.is_null() {
                        v = s.add(v, T::load_up_to(s, self.all.dsum.add(at + i), rest));
                    }
                    T::store_up_to(s, dx.add(at + i), v, rest);
                }
                if !dgamma.is_null() {
                    let (dgamma, dbeta) = (dgamma.add(self.offsets[1] + i), dbeta.add(self.offsets[1] + i));
                    let sum = s.fma(dy, s.narrow(xhat[0], xhat[1]), s.load_up_to(dgamma, rest));
                    s.store_up_to(dgamma, sum, rest);
                    if self.center {
                        s.store_up_to(dbeta, s.add(s.load_up_to(dbeta, rest), dy), rest);
                    }
                }
            }
        }
    }
}

/// a·b in f64, exactly.
#[inline(always)]
fn product<S: Simd>(s: S, a: S::F, b: S::F) -> [S::D; 2] {
    let ((a, c), (b, d)) = (s.widen(a), s.widen(b));
    [s.mul_d(a, b), s.mul_d(c, d)]
}
