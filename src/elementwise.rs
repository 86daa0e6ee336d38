//! One function of every element, cut into pieces and run through vectors, tails masked.

use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};

/// Elements of one task: its input and output fit the second-level cache of any machine.
const PIECE: usize = 16 * 1024;

/// y = f(x) of one vector.
pub(crate) trait Map1: Copy + Sync {
    fn call<S: Simd>(self, s: S, x: S::F) -> S::F;
}

/// y = f(a, b) of two vectors.
pub(crate) trait Map2: Copy + Sync {
    fn call<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

/// y = f(x) for every element, at about `ns` nanoseconds each; where `x` is None, in place.
///
/// # Panics
/// If the lengths differ: callers check.
pub(crate) fn map1(ctx: &Context, ns: f64, x: Option<&[f32]>, y: &mut [f32], f: impl Map1) {
    assert!(x.is_none_or(|x| x.len() == y.len()));
    let n = y.len();
    let y = Shared::new(y);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(PIECE), |task| {
        let range = task * PIECE..n.min((task + 1) * PIECE);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        ctx.dispatch(Run1 { x: x.map(|x| &x[range]), y, f });
    });
}

/// y = f(a, b) for every element, at about `ns` nanoseconds each; an input that is None is the output's old value.
///
/// # Panics
/// If the lengths differ: callers check.
pub(crate) fn map2(ctx: &Context, ns: f64, a: Option<&[f32]>, b: Option<&[f32]>, y: &mut [f32], f: impl Map2) {
    assert!(a.is_none_or(|a| a.len() == y.len()) && b.is_none_or(|b| b.len() == y.len()));
    let n = y.len();
    let y = Shared::new(y);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(PIECE), |task| {
        let range = task * PIECE..n.min((task + 1) * PIECE);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        ctx.dispatch(Run2 { a: a.map(|a| &a[range.clone()]), b: b.map(|b| &b[range]), y, f });
    });
}

struct Run1<'a, F> {
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
    f: F,
}

impl<F: Map1> Kernel for Run1<'_, F> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        let y = self.y.as_mut_ptr();
        let x = self.x.map_or(y.cast_const(), |x| x.as_ptr());
        let mut i = 0;
        // SAFETY: i + 16 <= n, and n is the length of x and y (asserted in map1); each vector is read before it is
        // written, so x may be y.
        unsafe {
            while i + LANES <= n {
                s.store(y.add(i), self.f.call(s, s.load(x.add(i))));
                i += LANES;
            }
            if i < n {
                s.store_first(y.add(i), self.f.call(s, s.load_first(x.add(i), n - i)), n - i);
            }
        }
    }
}

struct Run2<'a, F> {
    a: Option<&'a [f32]>,
    b: Option<&'a [f32]>,
    y: &'a mut [f32],
    f: F,
}

impl<F: Map2> Kernel for Run2<'_, F> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        let y = self.y.as_mut_ptr();
        let a = self.a.map_or(y.cast_const(), |a| a.as_ptr());
        let b = self.b.map_or(y.cast_const(), |b| b.as_ptr());
        let mut i = 0;
        // SAFETY: i + 16 <= n, and n is the length of a, b and y (asserted in map2); each vector is read before it is
        // written, so a or b may be y.
        unsafe {
            while i + LANES <= n {
                s.store(y.add(i), self.f.call(s, s.load(a.add(i)), s.load(b.add(i))));
                i += LANES;
            }
            if i < n {
                let rest = n - i;
                let v = self.f.call(s, s.load_first(a.add(i), rest), s.load_first(b.add(i), rest));
                s.store_first(y.add(i), v, rest);
            }
        }
    }
}
