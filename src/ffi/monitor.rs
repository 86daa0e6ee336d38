//! Seeing the gradient.

use super::context::ek_context;
use super::context_of;
use super::record::{self, Report, record};
use super::status::{ek_status, guard};
use super::tensor::{In, check};
use crate::monitor::{FlowVerdict, gradient_flow, tensor_stats_f32};

/// What a tensor holds. Norm, mean, root mean square and magnitudes are those of its finite elements. Set it with
/// ek_tensor_stats_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_tensor_stats {
    /// sizeof(ek_tensor_stats) in the header that the program was built with.
    pub struct_size: usize,
    /// sqrt(sum x^2).
    pub l2: f64,
    /// The sum of x divided by the number of finite elements; 0 if there are none.
    pub mean: f64,
    /// sqrt(sum x^2 / the number of finite elements); 0 if there are none.
    pub rms: f64,
    /// The largest |x|; 0 if there are none.
    pub max_abs: f64,
    /// The smallest |x| that is not 0; 0 if there are none.
    pub min_abs_nonzero: f64,
    /// All elements, finite or not.
    pub count: u64,
    /// Elements that are +0 or -0.
    pub zeros: u64,
    /// Elements that are not 0 and smaller than the smallest normal number, 1.18e-38.
    pub subnormals: u64,
    /// Elements that are NaN.
    pub nans: u64,
    /// Elements that are +Inf or -Inf.
    pub infs: u64,
}

record! { ek_tensor_stats {
    l2: 0.0,
    mean: 0.0,
    rms: 0.0,
    max_abs: 0.0,
    min_abs_nonzero: 0.0,
    count: 0,
    zeros: 0,
    subnormals: 0,
    nans: 0,
    infs: 0,
} }

/// Sets struct_size, and the rest to 0. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_tensor_stats_init(stats: *mut ek_tensor_stats) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(stats) };
}

/// Norm, mean, extremes and kinds of the elements of x [n], in one pass. Sums are f64.
///
/// out must have its struct_size: see ek_tensor_stats_init. Aliasing: out does not overlap x.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, struct_size),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_tensor_stats_f32(
    ctx: *const ek_context,
    n: usize,
    x: *const f32,
    out: *mut ek_tensor_stats,
) -> ek_status {
    let f = "tensor_stats_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[n]);
        // SAFETY: the caller's promise.
        let out = unsafe { Report::new(f, "out", out, false) }?;
        check(f, &[&x, &out.span("out")])?;
        // SAFETY: checked above; the size is the caller's promise.
        let s = tensor_stats_f32(ctx, unsafe { x.slice() })?;
        out.set(&ek_tensor_stats {
            struct_size: size_of::<ek_tensor_stats>(),
            l2: s.l2,
            mean: s.mean,
            rms: s.rms,
            max_abs: s.max_abs,
            min_abs_nonzero: s.min_abs_nonzero,
            count: s.count,
            zeros: s.zeros,
            subnormals: s.subnormals,
            nans: s.nans,
            infs: s.infs,
        });
        Ok(())
    })
}

/// What the norms of the layers' gradients say: one of EK_FLOW_.
pub type ek_flow = i32;

/// None of the others.
pub const EK_FLOW_HEALTHY: ek_flow = 0;
/// Gradients shrink toward the input, by more than 1000 over the depth as fitted.
pub const EK_FLOW_VANISHING: ek_flow = 1;
/// Gradients grow toward the input, by more than 1000 over the depth as fitted.
pub const EK_FLOW_EXPLODING: ek_flow = 2;
/// A norm is NaN or infinite.
pub const EK_FLOW_NONFINITE: ek_flow = 3;
/// A norm is exactly 0 and no decay explains it: a layer that no gradient reaches.
pub const EK_FLOW_DEAD: ek_flow = 4;

const _: () = {
    assert!(EK_FLOW_HEALTHY == FlowVerdict::Healthy as i32 && EK_FLOW_VANISHING == FlowVerdict::Vanishing as i32);
    assert!(EK_FLOW_EXPLODING == FlowVerdict::Exploding as i32 && EK_FLOW_DEAD == FlowVerdict::Dead as i32);
    assert!(EK_FLOW_NONFINITE == FlowVerdict::Nonfinite as i32);
};

/// How gradients flow through the layers of a network, or the steps of a sequence. Set it with ek_flow_report_init.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_flow_report {
    /// sizeof(ek_flow_report) in the header that the program was built with.
    pub struct_size: usize,
    /// One of EK_FLOW_.
    pub verdict: ek_flow,
    /// alpha, the fitted factor of a layer toward the input: ||g|| ~ alpha^n after n layers. 1 if fewer than two norms
    /// can be fitted.
    pub rate: f64,
    /// The largest over the smallest norm, of those that are finite and not 0; 1 if there are none.
    pub spread: f64,
    /// The layer to look at first. Healthy: the norm farthest from their geometric mean. Vanishing: the smallest.
    /// Exploding: the largest. Nonfinite and dead: the one nearest to the output.
    pub worst_layer: usize,
}

record! { ek_flow_report { verdict: EK_FLOW_HEALTHY, rate: 1.0, spread: 1.0, worst_layer: 0 } }

/// Sets struct_size, and the rest as for no layers. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_flow_report_init(report: *mut ek_flow_report) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(report) };
}

/// Judges the norms of the layers' gradients, ordered from input to output: fits log ||g|| = log C + n * log(alpha), n
/// the layers below the output, by least squares over the norms that are finite and not 0.
///
/// grad_norms [layers]: those of ek_grad_norm_f32 serve. out must have its struct_size: see ek_flow_report_init.
/// Aliasing: out does not overlap grad_norms.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (a negative norm, alignment,
/// struct_size), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_gradient_flow(
    layers: usize,
    grad_norms: *const f64,
    out: *mut ek_flow_report,
) -> ek_status {
    let f = "gradient_flow";
    guard(f, || {
        let grad_norms = In::new("grad_norms", grad_norms, &[layers]);
        // SAFETY: the caller's promise.
        let out = unsafe { Report::new(f, "out", out, false) }?;
        check(f, &[&grad_norms, &out.span("out")])?;
        // SAFETY: checked above; the size is the caller's promise.
        let r = gradient_flow(unsafe { grad_norms.slice() })?;
        out.set(&ek_flow_report {
            struct_size: size_of::<ek_flow_report>(),
            verdict: r.verdict as ek_flow,
            rate: r.rate,
            spread: r.spread,
            worst_layer: r.worst_layer,
        });
        Ok(())
    })
}
