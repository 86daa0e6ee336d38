//! Halves in programs that are to be short ([`Simd::COMPACT`]): a kernel widens its rows and leaves the rest to that for
//! f32.

use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{Convert, Way};
use crate::error::Result;
use crate::parallel::Shared;
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
    if size_of::<T>() < size_of::<f32>() { room_if_compact(function, ctx, workers * each) } else { Ok(None) }
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

/// What `worker` has of the room; nothing where there is none.
///
/// # Safety
/// No two callers at once have the same number.
#[inline(always)]
pub(super) unsafe fn piece<'a, T: Storage>(
    room: &'a Option<Shared<'_, f32>>,
    worker: usize,
    each: usize,
) -> &'a mut [f32] {
    match room {
        // SAFETY: the contract.
        Some(room) if size_of::<T>() < size_of::<f32>() => unsafe { room.piece(worker * each..(worker + 1) * each) },
        _ => &mut [],
    }
}

/// Whether a kernel for T is to widen its rows.
pub(super) const fn widens<S: Simd, T: Storage>() -> bool {
    S::COMPACT && size_of::<T>() < size_of::<f32>()
}

/// y = x, rounded if it is the narrower.
#[inline(always)]
pub(super) fn convert<S: Simd, A: Storage, B: Storage>(s: S, x: &[A], y: &mut [B]) {
    s.outline(Convert { x, y, way: Way::NEAR });
}
