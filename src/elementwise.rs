//! One function of every element, cut into pieces and run through vectors, tails masked.
//!
//! The storage type and the way to memory are decided here, once, and no kernel knows them. A kernel maps f32 to f32.
//! Halves pass through a block of f32 that stays in the first-level cache; outputs larger than caches go past them.

use crate::context::Context;
use crate::element::Storage;
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use core::mem::MaybeUninit;
use core::ops::Range;

/// Elements of one task: its input and output fit the second-level cache of any machine.
pub(crate) const PIECE: usize = 16 * 1024;

/// Elements of one task that writes past the caches, which ends with a fence.
pub(crate) const STREAM_PIECE: usize = 128 * 1024;

/// An output of this many bytes is not what caches hold for the next reader: it is better written past them.
pub(crate) const STREAM_BYTES: usize = 16 << 20;

/// An input of this many bytes comes from beyond the second-level cache.
const FAR_BYTES: usize = 1 << 20;

/// How a piece is read and written.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Whether the output goes past the caches.
    pub(crate) stream: bool,
    /// Elements from one that is read to one that is asked for: by themselves CPUs do not look far enough ahead of long
    /// computations. 0 where all is near.
    pub(crate) ahead: usize,
}

impl Way {
    pub(crate) const NEAR: Way = Way { stream: false, ahead: 0 };
    /// 16 KiB in f32.
    const AHEAD: usize = 4096;

    fn of<T>(n: usize, in_place: bool) -> Way {
        let bytes = n * size_of::<T>();
        // In place, lines are in the cache already when they are written.
        Way { stream: !in_place && bytes >= STREAM_BYTES, ahead: if bytes >= FAR_BYTES { Self::AHEAD } else { 0 } }
    }
}

/// Halves that are widened at once.
const BLOCK: usize = 1024;

/// Elements for which it pays to begin with a part of a vector, so that the others are aligned.
const WORTH_ALIGNING: usize = 8 * LANES;

/// Vectors that pass through one stage before the first of them enters the next.
const AHEAD: usize = 8;

/// y = f(x) of one vector, in three stages. A loop takes some vectors through a stage at a time: its constants then stay
/// in registers, and the chains of operations are short enough for the CPU to overlap several.
pub(crate) trait Map1: Copy + Sync {
    /// Whether the first two stages compute anything.
    const STAGED: bool;
    type Mid<S: Simd>: Copy;
    type Late<S: Simd>: Copy;
    fn start<S: Simd>(self, s: S, x: S::F) -> Self::Mid<S>;
    fn middle<S: Simd>(self, s: S, x: S::F, mid: Self::Mid<S>) -> Self::Late<S>;
    fn finish<S: Simd>(self, s: S, x: S::F, late: Self::Late<S>) -> S::F;
    /// All stages of one vector.
    #[inline(always)]
    fn whole<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.finish(s, x, self.middle(s, x, self.start(s, x)))
    }
}

/// y = join(f(a), b), what joins a function of one vector with another vector.
pub(crate) trait Join: Copy + Sync {
    /// Whether there is a b.
    const PAIRS: bool = true;
    fn join<S: Simd>(self, s: S, first: S::F, b: S::F) -> S::F;
}

/// f(a) alone.
#[derive(Clone, Copy)]
struct Alone;

impl Join for Alone {
    const PAIRS: bool = false;
    #[inline(always)]
    fn join<S: Simd>(self, _: S, first: S::F, _: S::F) -> S::F {
        first
    }
}

/// What a function of one stage leaves out of [`Map1`].
macro_rules! one_stage_map {
    () => {
        const STAGED: bool = false;
        type Mid<S: Simd> = ();
        type Late<S: Simd> = ();
        #[inline(always)]
        fn start<S: Simd>(self, _: S, _: S::F) {}
        #[inline(always)]
        fn middle<S: Simd>(self, _: S, _: S::F, (): ()) {}
    };
}
pub(crate) use one_stage_map;

/// y = f(x) for every element, at about `ns` nanoseconds each; where `x` is None, in place.
///
/// # Panics
/// If the lengths differ: callers check.
pub(crate) fn map1<T: Storage>(ctx: &Context, ns: f64, x: Option<&[T]>, y: &mut [T], f: impl Map1) {
    each(ctx, ns, x, Input::Absent, y, &|part| piece1(ctx, part, f));
}

/// y = join(f(a), b) for every element, at about `ns` nanoseconds each; an input that is None is the output's old value.
///
/// # Panics
/// If the lengths differ: callers check.
pub(crate) fn map2<T: Storage>(
    ctx: &Context,
    ns: f64,
    a: Option<&[T]>,
    b: Option<&[T]>,
    y: &mut [T],
    f: impl Map1,
    join: impl Join,
) {
    each(ctx, ns, a, b.map_or(Input::Old, Input::Given), y, &|part| piece2(ctx, part, f, join));
}

/// [`map1`] of a piece, inside a task.
pub(crate) fn piece1(ctx: &Context, part: &mut Part<'_>, f: impl Map1) {
    piece2(ctx, part, f, Alone);
}

/// [`map2`] of a piece, inside a task.
pub(crate) fn piece2(ctx: &Context, part: &mut Part<'_>, f: impl Map1, join: impl Join) {
    ctx.dispatch(Run { part, f, join });
}

/// A second input.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a, T> {
    /// There is none.
    Absent,
    /// The output's old values.
    Old,
    Given(&'a [T]),
}

/// A piece in f32. It is made once and passed by reference: what is passed on by whole vectors right after its fields were
/// stored waits for the stores, which small calls feel.
pub(crate) struct Part<'a> {
    /// None for the output's old values.
    a: Option<&'a [f32]>,
    /// The same, or there is none.
    b: Option<&'a [f32]>,
    y: &'a mut [f32],
    way: Way,
}

impl<'a> Part<'a> {
    /// A piece that is near.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(crate) fn new(a: &'a [f32], b: Option<&'a [f32]>, y: &'a mut [f32]) -> Part<'a> {
        assert!(a.len() == y.len() && b.is_none_or(|b| b.len() == y.len()));
        Part { a: Some(a), b, y, way: Way::NEAR }
    }
}

type Piece<'a> = &'a (dyn Fn(&mut Part<'_>) + Sync);

/// Runs `piece` over all elements. It is the same code for every function: `piece` alone knows which.
///
/// # Panics
/// If the lengths differ: callers check.
pub(crate) fn each<T: Storage>(
    ctx: &Context,
    ns: f64,
    a: Option<&[T]>,
    b: Input<'_, T>,
    y: &mut [T],
    piece: Piece<'_>,
) {
    let n = y.len();
    let second = if let Input::Given(b) = b { Some(b) } else { None };
    assert!(a.is_none_or(|a| a.len() == n) && second.is_none_or(|b| b.len() == n));
    if n <= BLOCK {
        // Small calls are many: straight to the piece.
        if let Some(y) = T::as_f32_mut(y) {
            let _fp = FpEnv::enter(ctx.flush_subnormals());
            let (a, b) = (a.and_then(T::as_f32), second.and_then(T::as_f32));
            return piece(&mut Part { a, b, y, way: Way::NEAR });
        }
    }
    let way = Way::of::<T>(n, a.is_none() || matches!(b, Input::Old));
    let step = if way.stream { STREAM_PIECE } else { PIECE };
    let y = Shared::new(y);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        let (first, second) = (a.map(|a| &a[range.clone()]), second.map(|b| &b[range]));
        if size_of::<T>() < size_of::<f32>() {
            through_blocks(ctx, first, second.map_or(b, Input::Given), y, way, piece);
        } else if let Some(y) = T::as_f32_mut(y) {
            piece(&mut Part { a: first.and_then(T::as_f32), b: second.and_then(T::as_f32), y, way });
        }
        if way.stream {
            ctx.dispatch(Fence);
        }
    });
}

/// A block is widened, mapped in place, and rounded.
#[inline(never)]
fn through_blocks<T: Storage>(
    ctx: &Context,
    a: Option<&[T]>,
    b: Input<'_, T>,
    y: &mut [T],
    way: Way,
    piece: Piece<'_>,
) {
    let (mut a_block, mut b_block) = ([0f32; BLOCK], [0f32; BLOCK]);
    let read = Way { stream: false, ..way };
    let mut start = 0;
    for y in y.chunks_mut(BLOCK) {
        let n = y.len();
        let (wide, second) = (&mut a_block[..n], &mut b_block[..n]);
        ctx.dispatch(Convert { x: a.map_or(&*y, |a| &a[start..start + n]), y: wide, way: read });
        match b {
            Input::Absent => {}
            Input::Old => ctx.dispatch(Convert { x: y, y: second, way: read }),
            Input::Given(b) => ctx.dispatch(Convert { x: &b[start..start + n], y: second, way: read }),
        }
        let second = if matches!(b, Input::Absent) { None } else { Some(&*second) };
        piece(&mut Part { a: None, b: second, y: wide, way: Way::NEAR });
        ctx.dispatch(Convert { x: &*wide, y, way: Way { ahead: 0, ..way } });
        start += n;
    }
}

/// Ends a run of stores past the caches.
pub(crate) struct Fence;

impl Kernel for Fence {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        s.fence();
    }
}

/// y = x, from one storage to another, rounded if it is the narrower.
pub(crate) struct Convert<'a, A, B> {
    pub(crate) x: &'a [A],
    pub(crate) y: &'a mut [B],
    pub(crate) way: Way,
}

impl<A: Storage, B: Storage> Kernel for Convert<'_, A, B> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        assert_eq!(self.x.len(), n);
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let (head, end) = whole_vectors::<S, _>(y, n, self.way.stream);
        // SAFETY: loads and stores end at n, the length of both (asserted); streamed ones are aligned (whole_vectors).
        unsafe {
            if head > 0 {
                B::store_first(s, y, A::load_first(s, x, head), head);
            }
            let mut i = head;
            while i < end {
                s.prefetch_far(x.wrapping_add(i + self.way.ahead).cast());
                put(s, y.add(i), A::load(s, x.add(i)), self.way.stream);
                i += LANES;
            }
            if i < n {
                B::store_first(s, y.add(i), A::load_first(s, x.add(i), n - i), n - i);
            }
        }
    }
}

/// Where whole vectors begin and end. Those of a stream begin at a multiple of their size, for which fewer than 16
/// elements are left before them; so do those that are lines of the cache.
#[inline(always)]
pub(crate) fn whole_vectors<S: Simd, T>(y: *const T, n: usize, stream: bool) -> (usize, usize) {
    let align = stream || S::LINES && n >= WORTH_ALIGNING;
    let past = y.addr() / size_of::<T>() % LANES;
    let head = if align { ((LANES - past) % LANES).min(n) } else { 0 };
    (head, head + (n - head) / LANES * LANES)
}

/// Stores 16 elements.
///
/// # Safety
/// y is valid for writing 16 elements, and aligned to their size if `stream`.
#[inline(always)]
pub(crate) unsafe fn put<S: Simd, T: Storage>(s: S, y: *mut T, v: S::F, stream: bool) {
    // SAFETY: the caller's contract.
    unsafe { if stream { T::stream(s, y, v) } else { T::store(s, y, v) } }
}

struct Run<'a, 'b, F, J> {
    part: &'a mut Part<'b>,
    f: F,
    join: J,
}

impl<F: Map1, J: Join> Kernel for Run<'_, '_, F, J> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Run { part: Part { a, b, y, way }, f, join } = self;
        let (n, y, way) = (y.len(), y.as_mut_ptr(), *way);
        let a = a.map_or(y.cast_const(), |a| a.as_ptr());
        let b = b.map_or(y.cast_const(), |b| b.as_ptr());
        let (head, end) = whole_vectors::<S, _>(y, n, way.stream);
        // SAFETY: all ends at n, the length of a, b and y (asserted in each); streamed vectors are aligned (whole_vectors). In
        // place, each vector is read to the end before it is written, and those after it are not touched by that.
        unsafe {
            if S::COMPACT {
                for i in (0..n).step_by(LANES) {
                    edge(s, f, join, a.add(i), b.add(i), y.add(i), LANES.min(n - i));
                }
                return;
            }
            if head > 0 {
                edge(s, f, join, a, b, y, head);
            }
            vectors(s, f, join, a, b, y, head..end, way);
            if end < n {
                edge(s, f, join, a.add(end), b.add(end), y.add(end), n - end);
            }
        }
    }
}

/// A range of whole vectors.
///
/// # Safety
/// The elements are readable and writable; streamed vectors are aligned.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn vectors<S: Simd, F: Map1, J: Join>(
    s: S,
    f: F,
    join: J,
    a: *const f32,
    b: *const f32,
    y: *mut f32,
    range: Range<usize>,
    Way { stream, ahead }: Way,
) {
    let Range { start: mut i, end } = range;
    // SAFETY: the contract. A stage reads what the one before it wrote.
    unsafe {
        if !F::STAGED {
            // Two loops: one would ask for every vector where it goes.
            while !stream && i < end {
                s.store(y.add(i), join.join(s, f.whole(s, s.load(a.add(i))), s.load(b.add(i))));
                i += LANES;
            }
            while i < end {
                s.stream(y.add(i), join.join(s, f.whole(s, s.load(a.add(i))), s.load(b.add(i))));
                i += LANES;
            }
            return;
        }
        let mut mids = [MaybeUninit::<F::Mid<S>>::uninit(); AHEAD];
        let mut lates = [MaybeUninit::<F::Late<S>>::uninit(); AHEAD];
        while i < end {
            let count = ((end - i) / LANES).min(AHEAD);
            let (a, b, y) = (a.add(i), b.add(i), y.add(i));
            for j in 0..count {
                s.prefetch_far(a.wrapping_add(j * LANES + ahead));
                if J::PAIRS {
                    s.prefetch_far(b.wrapping_add(j * LANES + ahead));
                }
                mids[j].write(f.start(s, s.load(a.add(j * LANES))));
            }
            for j in 0..count {
                lates[j].write(f.middle(s, s.load(a.add(j * LANES)), mids[j].assume_init()));
            }
            for j in 0..count {
                let (v, w) = (s.load(a.add(j * LANES)), s.load(b.add(j * LANES)));
                put(s, y.add(j * LANES), join.join(s, f.finish(s, v, lates[j].assume_init()), w), stream);
            }
            i += count * LANES;
        }
    }
}

/// The first `n` ≤ 16 elements, by functions of their own: both ends share them, and f and its joins do.
///
/// # Safety
/// So many elements are readable and writable.
#[inline(always)]
unsafe fn edge<S: Simd, F: Map1, J: Join>(s: S, f: F, join: J, a: *const f32, b: *const f32, y: *mut f32, n: usize) {
    if !J::PAIRS {
        return s.outline(&Edge1 { x: a, y, n, f });
    }
    let mut first = [0.0; LANES];
    s.outline(&Edge1 { x: a, y: first.as_mut_ptr(), n, f });
    s.outline(&EdgeJoin { first: first.as_ptr(), b, y, n, join });
}

/// The first `n` ≤ 16 elements of f alone. `x` and `y` are valid for reading and writing so many.
pub(crate) struct Edge1<F> {
    pub(crate) x: *const f32,
    pub(crate) y: *mut f32,
    pub(crate) n: usize,
    pub(crate) f: F,
}

impl<F: Map1> Kernel for &Edge1<F> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: n elements are readable and writable (its maker's promise).
        unsafe { s.store_first(self.y, self.f.whole(s, s.load_first(self.x, self.n)), self.n) }
    }
}

/// `n` ≤ 16 elements of what [`Edge1`] gave, joined with others. All are valid for reading or writing so many.
pub(crate) struct EdgeJoin<J> {
    pub(crate) first: *const f32,
    pub(crate) b: *const f32,
    pub(crate) y: *mut f32,
    pub(crate) n: usize,
    pub(crate) join: J,
}

impl<J: Join> Kernel for &EdgeJoin<J> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: as in Edge1.
        unsafe {
            let (first, b) = (s.load_first(self.first, self.n), s.load_first(self.b, self.n));
            s.store_first(self.y, self.join.join(s, first, b), self.n);
        }
    }
}
