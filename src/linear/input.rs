//! The gradient of a layer's input, times φ' of the layer below.

use super::{load, store};
use crate::activation::{self, Activation, Phi, Visitor};
use crate::context::Context;
use crate::elementwise::{Edge1, EdgeJoin};
use crate::error::{Result, check_len, product};
use crate::matmul::{Args, Epilogue, Finished, Numbers, Step, Transpose, multiply};
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// dx = (dz·W) ⊙ φ'(z_prev) (whitepaper §2: δ of the layer below; §5: why φ' must not vanish to rounding).
///
/// Shapes, row-major: `dz` `[batch, out_features]`, `w` `[out_features, in_features]`, `z_prev` and `dx`
/// `[batch, in_features]`. `z_prev` holds the pre-activations of the layer below, `act` and `act_param` its activation;
/// where `z_prev` is None, dx = dz·W and both are ignored.
///
/// The product's order is that of [`matmul_f32`](crate::matmul::matmul_f32); the derivative, accurate in saturation as
/// [`activation_derivative_f32`](crate::activation::activation_derivative_f32), multiplies the finished element.
///
/// # Errors
/// As [`linear_forward_f32`](super::linear_forward_f32).
#[allow(clippy::too_many_arguments)]
pub fn linear_backward_input_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    batch: usize,
    in_features: usize,
    out_features: usize,
    dz: &[f32],
    w: &[f32],
    z_prev: Option<&[f32]>,
    dx: &mut [f32],
) -> Result {
    let f = "linear_backward_input_f32";
    let len = product(f, "dx", &[batch, in_features])?;
    check_len(f, "dz", dz, product(f, "dz", &[batch, out_features])?)?;
    check_len(f, "w", w, product(f, "w", &[out_features, in_features])?)?;
    z_prev.map_or(Ok(()), |z| check_len(f, "z_prev", z, len))?;
    check_len(f, "dx", dx, len)?;
    if z_prev.is_some() {
        act.check(f, act_param)?;
    }
    let epilogue = Backward { act, act_param, z_prev };
    let args = Args {
        function: f,
        trans_a: Transpose::No,
        trans_b: Transpose::No,
        m: batch,
        n: in_features,
        k: out_features,
        alpha: 1.0,
        a: Numbers::Direct(dz),
        lda: out_features,
        b: Numbers::Direct(w),
        ldb: in_features,
        beta: 0.0,
        ldc: in_features,
        epilogue: Some(&epilogue),
    };
    multiply(ctx, &args, dx)
}

/// Multiplies by φ'(z_prev).
struct Backward<'a> {
    act: Activation,
    act_param: f32,
    z_prev: Option<&'a [f32]>,
}

impl Epilogue for Backward<'_> {
    unsafe fn apply(&self, step: Step, piece: Finished) {
        if let Some(z) = self.z_prev {
            self.act.visit(self.act_param, BackwardPiece { step, z, piece });
        }
    }
}

struct BackwardPiece<'a> {
    step: Step,
    z: &'a [f32],
    piece: Finished,
}

impl Visitor for BackwardPiece<'_> {
    type Out = ();
    #[inline(always)]
    fn visit<P: Phi>(self, phi: P) {
        self.step.run(BackwardRows { z: self.z, piece: self.piece, phi });
    }
}

/// Rows of z_prev that are asked for ahead of their use.
const AHEAD: usize = 8;

struct BackwardRows<'a, P> {
    z: &'a [f32],
    piece: Finished,
    phi: P,
}

impl<P: Phi> Kernel for BackwardRows<'_, P> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (p, phi) = (self.piece, self.phi);
        for j in (0..p.cols).step_by(LANES) {
            let width = LANES.min(p.cols - j);
            // SAFETY: the piece lies in dx and is this thread's; z_prev has dx's shape (checked in
            // linear_backward_input_f32).
            unsafe {
                let (c, z_prev) = (p.c.add(j), self.z.as_ptr().add(p.row * p.ldc + p.col + j));
                if S::COMPACT {
                    for i in 0..p.rows {
                        let (c, mut slope) = (c.add(i * p.ldc), [0.0; LANES]);
                        let (x, y, f) = (z_prev.add(i * p.ldc), slope.as_mut_ptr(), activation::Derivative(phi));
                        s.outline(&Edge1 { x, y, n: width, f });
                        s.outline(&EdgeJoin { first: y, b: c, y: c, n: width, join: activation::Times });
                    }
                    continue;
                }
                // In stages, as in ForwardRows.
                let mut before = MaybeUninit::uninit();
                for i in 0..=p.rows {
                    let z = load(s, z_prev.add(i.min(p.rows - 1) * p.ldc), width);
                    s.prefetch(z_prev.wrapping_add((i + AHEAD) * p.ldc));
                    let mid = phi.start(s, z);
                    if i > 0 {
                        let (z, mid) = before.assume_init();
                        let c = c.add((i - 1) * p.ldc);
                        store(s, c, s.mul(load(s, c, width), phi.derivative_from(s, z, mid)), width);
                    }
                    before.write((z, mid));
                }
            }
        }
    }
}
