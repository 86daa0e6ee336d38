//! Norms of gradients, clipping and unscaling.

use super::context::ek_context;
use super::context_of;
use super::list::{List, Member};
use super::status::{ek_status, guard};
use super::tensor::{Out, check};
use crate::optim;

/// *norm = sqrt(sum g^2) over all elements of all tensors; tensor_norms[i] = the same over tensor i.
///
/// grads holds count pointers, to tensors of sizes[i] elements each; tensor_norms [count]. Sums are f64: finite gradients
/// of any size have a finite norm, non-zero unless all are zero. A NaN or infinite element makes its norms so. *norm is the
/// same however the same elements are split into tensors.
///
/// NULL: tensor_norms (not wanted); tensors of size 0. Aliasing: gradients may overlap each other; outputs overlap
/// nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_grad_norm_f32(
    ctx: *const ek_context,
    count: usize,
    sizes: *const usize,
    grads: *const *const f32,
    tensor_norms: *mut f64,
    norm: *mut f64,
) -> ek_status {
    let f = "grad_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let list = List::new(f, count, sizes);
        let grads = Member::input("grads", count, grads);
        let tensor_norms = Out::new("tensor_norms", tensor_norms, &[count]).optional();
        let norm = Out::new("norm", norm, &[1]);
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        unsafe {
            list.check(&[&grads], &[&tensor_norms, &norm])?;
            norm.slice()[0] = optim::grad_norm(ctx, list.read(&grads), tensor_norms.option())?;
        }
        Ok(())
    })
}

/// g := g * min(1, max_norm / ||g||) in place, with the norm over all tensors; *norm = ||g|| before.
///
/// grads holds count pointers, to tensors of sizes[i] elements each. Nothing is added to the norm, and gradients under
/// the limit keep their bits. Where the norm is NaN or infinite nothing is clipped: *norm tells.
///
/// NULL: norm (not wanted); tensors of size 0. Aliasing: tensors and norm overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless max_norm > 0),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_by_norm_f32(
    ctx: *const ek_context,
    max_norm: f32,
    count: usize,
    sizes: *const usize,
    grads: *const *mut f32,
    norm: *mut f64,
) -> ek_status {
    let f = "clip_by_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let list = List::new(f, count, sizes);
        let grads = Member::output("grads", count, grads);
        let norm = Out::new("norm", norm, &[1]).optional();
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        unsafe {
            list.check(&[&grads], &[&norm])?;
            let before = optim::clip_by_norm(ctx, max_norm, list.write(&grads))?;
            if let Some(norm) = norm.value() {
                *norm = before;
            }
        }
        Ok(())
    })
}

/// g := min(max(g, -limit), limit) in place. g [n]; a NaN stays a NaN.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless limit > 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_by_value_f32(ctx: *const ek_context, limit: f32, n: usize, g: *mut f32) -> ek_status {
    let f = "clip_by_value_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let g = Out::new("g", g, &[n]);
        check(f, &[&g])?;
        // SAFETY: checked above; the size is the caller's promise.
        optim::clip_by_value_f32(ctx, limit, unsafe { g.slice() })
    })
}

/// g := g / loss_scale in place; *nonfinite = how many quotients are NaN or infinite. g [n].
///
/// Aliasing: g and nonfinite do not overlap.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless loss_scale is
/// finite and positive), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_unscale_f32(
    ctx: *const ek_context,
    loss_scale: f32,
    n: usize,
    g: *mut f32,
    nonfinite: *mut u64,
) -> ek_status {
    let f = "unscale_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let g = Out::new("g", g, &[n]);
        let nonfinite = Out::new("nonfinite", nonfinite, &[1]);
        check(f, &[&g, &nonfinite])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (g, nonfinite) = unsafe { (g.slice(), nonfinite.slice()) };
        nonfinite[0] = optim::unscale_f32(ctx, loss_scale, g)?;
        Ok(())
    })
}
