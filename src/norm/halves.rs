//! Halves in programs that are to be short ([`Simd::COMPACT`]): a kernel widens its rows and leaves the rest to that for
//! f32.

use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{Convert, Way};
use crate::error::Result;
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};

/// Workspace of every worker, of `each` numbers, where kernels widen T.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn room<T: Storage>(
    function: &'static str,
    ctx: &Context,
    workers: usize,
    each: usize,
) -> Result<Option<Scratch>> {
    if is_half::<T>() { room_if_compact(function, ctx, workers * each) } else { Ok(None) }
}

#[inline(never)]
fn room_if_compact(function: &'static str, ctx: &Context, len: usize) -> Result<Option<Scratch>> {
    if ctx.dispatch(IsCompact) { Scratch::take::<f32>(function, len).map(Some) } else { Ok(None) }
}

struct IsCompact;

impl Kernel for IsCompact {
    type Out = bool;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> bool {
        S::COMPACT
    }
}

/// Whether T is stored in fewer bits than it is computed in.
pub(super) const fn is_half<T: Storage>() -> bool {
    size_of::<T>() < size_of::<f32>()
}

/// Whether a kernel for T is to widen its rows.
pub(super) const fn widens<S: Simd, T: Storage>() -> bool {
    S::COMPACT && is_half::<T>()
}

/// y = x, rounded if it is the narrower.
#[inline(always)]
pub(super) fn convert<S: Simd, A: Storage, B: Storage>(s: S, x: &[A], y: &mut [B]) {
    s.outline(Convert { x, y, way: Way::NEAR });
}
