//! Activations.

use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::activation::{self, Activation};
use crate::element::Storage;
use crate::error::Error;

/// An activation function phi: one of EK_ACTIVATION_. Where a formula has p, it is act_param: the slope of LEAKY_RELU,
/// the alpha of ELU and CELU; elsewhere act_param is ignored.
pub type ek_activation = i32;

/// phi(z) = z; phi'(z) = 1.
pub const EK_ACTIVATION_IDENTITY: ek_activation = 0;
/// phi(z) = max(z, 0); phi'(z) = 1 for z > 0, else 0.
pub const EK_ACTIVATION_RELU: ek_activation = 1;
/// phi(z) = z for z > 0, else p*z; phi'(z) = 1 for z > 0, else p.
pub const EK_ACTIVATION_LEAKY_RELU: ek_activation = 2;
/// phi(z) = z for z > 0, else p*(exp(z) - 1); phi'(z) = 1 for z > 0, else p*exp(z).
pub const EK_ACTIVATION_ELU: ek_activation = 3;
/// phi(z) = l*z for z > 0, else l*a*(exp(z) - 1), l = 1.0507..., a = 1.6732...; phi'(z) = l for z > 0, else l*a*exp(z).
pub const EK_ACTIVATION_SELU: ek_activation = 4;
/// phi(z) = z for z > 0, else p*(exp(z/p) - 1), p > 0; phi'(z) = 1 for z > 0, else exp(z/p).
pub const EK_ACTIVATION_CELU: ek_activation = 5;
/// phi(z) = z*Phi(z), by erf; phi'(z) = Phi(z) + z*exp(-z*z/2)/sqrt(2*pi).
pub const EK_ACTIVATION_GELU: ek_activation = 6;
/// phi(z) = z*sigma(2*u), u = sqrt(2/pi)*(z + 0.044715*z^3); phi'(z) = sigma(2*u) + z*2*u'*sigma(2*u)*sigma(-2*u).
pub const EK_ACTIVATION_GELU_TANH: ek_activation = 7;
/// phi(z) = z*sigma(z); phi'(z) = sigma(z)*(1 + z*sigma(-z)).
pub const EK_ACTIVATION_SILU: ek_activation = 8;
/// phi(z) = z*t, t = tanh(log(1 + exp(z))); phi'(z) = t + z*(1 - t*t)*sigma(z).
pub const EK_ACTIVATION_MISH: ek_activation = 9;
/// phi(z) = sigma(z) = 1/(1 + exp(-z)); phi'(z) = sigma(z)*sigma(-z).
pub const EK_ACTIVATION_SIGMOID: ek_activation = 10;
/// phi(z) = tanh(z); phi'(z) = sech(z)^2.
pub const EK_ACTIVATION_TANH: ek_activation = 11;
/// phi(z) = log(1 + exp(z)); phi'(z) = sigma(z).
pub const EK_ACTIVATION_SOFTPLUS: ek_activation = 12;
/// phi(z) = z/(1 + |z|); phi'(z) = 1/(1 + |z|)^2.
pub const EK_ACTIVATION_SOFTSIGN: ek_activation = 13;
/// phi(z) = (z + 3)/6 cut off at 0 and 1; phi'(z) = 1/6 for |z| < 3, else 0.
pub const EK_ACTIVATION_HARD_SIGMOID: ek_activation = 14;
/// phi(z) = z*hard_sigmoid(z); phi'(z) = (2*z + 3)/6 for |z| < 3, else 0 or 1.
pub const EK_ACTIVATION_HARD_SWISH: ek_activation = 15;
/// phi(z) = z cut off at -1 and 1; phi'(z) = 1 for |z| < 1, else 0.
pub const EK_ACTIVATION_HARD_TANH: ek_activation = 16;
/// phi(z) = -log(1 + exp(-z)); phi'(z) = sigma(-z).
pub const EK_ACTIVATION_LOG_SIGMOID: ek_activation = 17;

const _: () = {
    assert!(EK_ACTIVATION_IDENTITY == Activation::Identity as i32);
    assert!(EK_ACTIVATION_RELU == Activation::Relu as i32);
    assert!(EK_ACTIVATION_LEAKY_RELU == Activation::LeakyRelu as i32);
    assert!(EK_ACTIVATION_ELU == Activation::Elu as i32);
    assert!(EK_ACTIVATION_SELU == Activation::Selu as i32);
    assert!(EK_ACTIVATION_CELU == Activation::Celu as i32);
    assert!(EK_ACTIVATION_GELU == Activation::Gelu as i32);
    assert!(EK_ACTIVATION_GELU_TANH == Activation::GeluTanh as i32);
    assert!(EK_ACTIVATION_SILU == Activation::Silu as i32);
    assert!(EK_ACTIVATION_MISH == Activation::Mish as i32);
    assert!(EK_ACTIVATION_SIGMOID == Activation::Sigmoid as i32);
    assert!(EK_ACTIVATION_TANH == Activation::Tanh as i32);
    assert!(EK_ACTIVATION_SOFTPLUS == Activation::Softplus as i32);
    assert!(EK_ACTIVATION_SOFTSIGN == Activation::Softsign as i32);
    assert!(EK_ACTIVATION_HARD_SIGMOID == Activation::HardSigmoid as i32);
    assert!(EK_ACTIVATION_HARD_SWISH == Activation::HardSwish as i32);
    assert!(EK_ACTIVATION_HARD_TANH == Activation::HardTanh as i32);
    assert!(EK_ACTIVATION_LOG_SIGMOID == Activation::LogSigmoid as i32);
};

/// y = phi(z), element by element. z, y [n]. Within 1 unit in the last place, subnormal results included.
///
/// Aliasing: y may be z.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
/// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_forward_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const f32,
    y: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { one_input("activation_forward_f32", ctx, false, act, act_param, n, z, y) }
}

/// d = phi'(z), element by element. z, d [n]. Within 1 unit in the last place also where phi saturates, or within 2^-25
/// beside a zero of phi'.
///
/// Aliasing: d may be z.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
/// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_derivative_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const f32,
    d: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { one_input("activation_derivative_f32", ctx, true, act, act_param, n, z, d) }
}

/// dz = dy * phi'(z), element by element. z, dy, dz [n].
///
/// Aliasing: dz may be dy, or z, not both at once.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
/// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const f32,
    dy: *const f32,
    dz: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { backward("activation_backward_f32", ctx, act, act_param, n, z, dy, dz) }
}

/// dz = dy * phi'(z) from y = phi(z) alone, element by element. y, dy, dz [n].
///
/// For callers that did not keep z. What rounding y has lost is lost: SIGMOID's and TANH's gradients are 0 where y rounds
/// to a limit, from z = 16.7 and |z| = 9.1 on. ek_activation_backward_f32 loses nothing.
///
/// Aliasing: dz may be dy.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, alignment, an act_param that
/// is not finite, or not positive for EK_ACTIVATION_CELU), EK_STATUS_OVERLAP, EK_STATUS_UNSUPPORTED
/// where phi' is no function of y: GELU, GELU_TANH, SILU, MISH, HARD_SWISH, and LEAKY_RELU and ELU with a negative
/// parameter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_from_output_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    y: *const f32,
    dy: *const f32,
    dz: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { from_output("activation_backward_from_output_f32", ctx, act, act_param, n, y, dy, dz) }
}

/// phi or phi' of tensors in any storage.
///
/// # Safety
/// What every C function here asks of its pointers.
pub(super) unsafe fn one_input<T: Storage>(
    f: &'static str,
    ctx: *const ek_context,
    derivative: bool,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const T,
    y: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let z = In::new("z", z, &[n]);
        let y = Out::new(if derivative { "d" } else { "y" }, y, &[n]).may_be(&["z"]);
        check(f, &[&z, &y])?;
        // SAFETY: checked above, and there is no slice of z where y is z; the size is the caller's promise.
        let (z, y) = unsafe { ((!y.is(&z)).then(|| z.slice()), y.slice()) };
        activation::one_input(f, ctx, derivative, act, act_param, z, y)
    })
}

/// dy * phi'(z) of tensors in any storage.
///
/// # Safety
/// What every C function here asks of its pointers.
pub(super) unsafe fn backward<T: Storage>(
    f: &'static str,
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const T,
    dy: *const T,
    dz: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let z = In::new("z", z, &[n]);
        let dy = In::new("dy", dy, &[n]);
        let dz = Out::new("dz", dz, &[n]).may_be(&["z", "dy"]);
        check(f, &[&z, &dy, &dz])?;
        if dz.is(&dy) && dz.is(&z) {
            return Err(Error::overlap(f, "dz overlaps z and dy; it may be one of them"));
        }
        // SAFETY: checked above, and there is no slice of an input that dz is; the size is the caller's promise.
        let (z, dy, dz) = unsafe { ((!dz.is(&z)).then(|| z.slice()), (!dz.is(&dy)).then(|| dy.slice()), dz.slice()) };
        activation::backward(f, ctx, act, act_param, z, dy, dz)
    })
}

/// dy * phi' from y of tensors in any storage.
///
/// # Safety
/// What every C function here asks of its pointers.
pub(super) unsafe fn from_output<T: Storage>(
    f: &'static str,
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    y: *const T,
    dy: *const T,
    dz: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let y = In::new("y", y, &[n]);
        let dy = In::new("dy", dy, &[n]);
        let dz = Out::new("dz", dz, &[n]).may_be(&["dy"]);
        check(f, &[&y, &dy, &dz])?;
        // SAFETY: checked above, and there is no slice of dy where dz is dy; the size is the caller's promise.
        let (y, dy, dz) = unsafe { (y.slice(), (!dz.is(&dy)).then(|| dy.slice()), dz.slice()) };
        activation::from_output(f, ctx, act, act_param, y, dy, dz)
    })
}
