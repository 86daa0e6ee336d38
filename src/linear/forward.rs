//! The forward layer: bias and φ on the finished elements of the product.

use super::{load, store};
use crate::activation::{self, Activation, Phi, Visitor};
use crate::context::Context;
use crate::elementwise::Edge1;
use crate::error::{Result, check_len, product};
use crate::matmul::{Args, Epilogue, Finished, Numbers, Step, Transpose, multiply};
use crate::parallel::Shared;
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// z = x·Wᵀ + bias and y = φ(z) (whitepaper §2).
///
/// Shapes, row-major: `x` `[batch, in_features]`, `w` `[out_features, in_features]`, `bias` `[out_features]`, `z` and
/// `y` `[batch, out_features]`. `act_param` is the slope of leaky ReLU and the α of ELU and CELU, else ignored. Give `z`
/// where a backward pass follows: derivatives are taken from it.
///
/// The product's order is that of [`matmul_f32`](crate::matmul::matmul_f32) with alpha 1, beta 0; then the bias is
/// added, rounded once. Accuracy of φ: as [`activation_forward_f32`](crate::activation::activation_forward_f32).
///
/// # Errors
/// `InvalidSize` for a slice of another length than its shape, `InvalidArgument` for an `act_param` that the activation
/// is not defined for, `OutOfMemory`. Outputs are then untouched.
#[allow(clippy::too_many_arguments)]
pub fn linear_forward_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    batch: usize,
    in_features: usize,
    out_features: usize,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    z: Option<&mut [f32]>,
    y: &mut [f32],
) -> Result {
    let f = "linear_forward_f32";
    let out = product(f, "y", &[batch, out_features])?;
    check_len(f, "x", x, product(f, "x", &[batch, in_features])?)?;
    check_len(f, "w", w, product(f, "w", &[out_features, in_features])?)?;
    bias.map_or(Ok(()), |bias| check_len(f, "bias", bias, out_features))?;
    z.as_ref().map_or(Ok(()), |z| check_len(f, "z", z, out))?;
    check_len(f, "y", y, out)?;
    act.check(f, act_param)?;
    // The product goes to z where it is wanted, and φ of it to y; else y alone holds both in turn.
    let (first, second) = match z {
        Some(z) => (z, Some(Shared::new(y))),
        None => (y, None),
    };
    let epilogue = Forward { act, act_param, bias, y: second };
    let args = Args {
        function: f,
        trans_a: Transpose::No,
        trans_b: Transpose::Yes,
        m: batch,
        n: out_features,
        k: in_features,
        alpha: 1.0,
        a: Numbers::Direct(x),
        lda: in_features,
        b: Numbers::Direct(w),
        ldb: in_features,
        beta: 0.0,
        ldc: out_features,
        epilogue: Some(&epilogue),
    };
    multiply(ctx, &args, first)
}

/// Adds the bias, applies φ.
struct Forward<'a> {
    act: Activation,
    act_param: f32,
    bias: Option<&'a [f32]>,
    /// Where φ(z) goes; None: to where z was.
    y: Option<Shared<'a, f32>>,
}

impl Epilogue for Forward<'_> {
    unsafe fn apply(&self, step: Step, piece: Finished) {
        if self.act == Activation::Identity && self.bias.is_none() && self.y.is_none() {
            return;
        }
        self.act.visit(self.act_param, ForwardPiece { step, forward: self, piece });
    }
}

struct ForwardPiece<'a, 'b> {
    step: Step,
    forward: &'a Forward<'b>,
    piece: Finished,
}

impl Visitor for ForwardPiece<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn visit<P: Phi>(self, phi: P) {
        self.step.run(ForwardRows { forward: self.forward, piece: self.piece, phi });
    }
}

struct ForwardRows<'a, 'b, P> {
    forward: &'a Forward<'b>,
    piece: Finished,
    phi: P,
}

impl<P: Phi> Kernel for ForwardRows<'_, '_, P> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (p, phi) = (self.piece, self.phi);
        if S::COMPACT {
            s.outline(&AddBias { forward: self.forward, piece: p });
        }
        for j in (0..p.cols).step_by(LANES) {
            let width = LANES.min(p.cols - j);
            // SAFETY: the piece lies in z (or y) and is this thread's; bias and y have its columns (checked in
            // linear_forward_f32).
            unsafe {
                let bias = self.forward.bias.map(|b| load(s, b.as_ptr().add(p.col + j), width));
                let c = p.c.add(j);
                let (out, keeps) = match &self.forward.y {
                    Some(y) => (y.as_ptr().add(p.row * p.ldc + p.col + j), bias.is_some()),
                    None => (c, false),
                };
                if S::COMPACT {
                    for i in 0..p.rows {
                        let (x, y) = (c.add(i * p.ldc), out.add(i * p.ldc));
                        s.outline(&Edge1 { x, y, n: width, f: activation::Forward(phi) });
                    }
                    continue;
                }
                // One row's first stage goes beside the other stages of the row before it, or each would wait for itself.
                let mut before = MaybeUninit::uninit();
                for i in 0..=p.rows {
                    let mut z = load(s, c.add(i.min(p.rows - 1) * p.ldc), width);
                    if let Some(bias) = bias {
                        z = s.add(z, bias);
                    }
                    let mid = phi.start(s, z);
                    if i > 0 {
                        let (z, mid) = before.assume_init();
                        let at = (i - 1) * p.ldc;
                        if keeps {
                            store(s, c.add(at), z, width);
                        }
                        store(s, out.add(at), phi.forward_from(s, z, mid), width);
                    }
                    before.write((z, mid));
                }
            }
        }
    }
}

/// Adds the bias to a piece, for [`Simd::COMPACT`].
struct AddBias<'a, 'b> {
    forward: &'a Forward<'b>,
    piece: Finished,
}

impl Kernel for &AddBias<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.piece;
        let Some(bias) = self.forward.bias else { return };
        for i in 0..p.rows {
            for j in (0..p.cols).step_by(LANES) {
                let width = LANES.min(p.cols - j);
                // SAFETY: as in ForwardRows.
                unsafe {
                    let (c, bias) = (p.c.add(i * p.ldc + j), bias.as_ptr().add(p.col + j));
                    s.store_first(c, s.add(s.load_first(c, width), s.load_first(bias, width)), width);
                }
            }
        }
    }
}
