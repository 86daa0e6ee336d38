//! The highway gate (whitepaper §15): y = σ(z)·h + σ(−z)·x, a way through for the gradient that the layer learns to open.

use crate::context::Context;
use crate::error::{Result, check_len};
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath::{decay_abs, sigmoid_derivative_from, sigmoid_from};

/// Elements of a task.
const PIECE: usize = 8 * 1024;

/// y = σ(gate_z)·h + σ(−gate_z)·x, element by element, all of one length (whitepaper §15).
///
/// `h` is what the layer makes of x, `gate_z` the gate before its σ. The carry is σ(−z), never 1 − σ(z), so that a gate at 40
/// still passes its 4e-18 of x. Each σ within 1 ULP, then one product and one fused multiply-add. Threads: the same bits for
/// any number. Errors: `InvalidSize`.
pub fn highway_forward_f32(ctx: &Context, gate_z: &[f32], h: &[f32], x: &[f32], y: &mut [f32]) -> Result {
    let f = "highway_forward_f32";
    let n = gate_z.len();
    check_len(f, "h", h, n)?;
    check_len(f, "x", x, n)?;
    check_len(f, "y", y, n)?;
    let y = Shared::new(y);
    ctx.for_each(Work::elements(n, 0.8), n.div_ceil(PIECE), |task| {
        let range = task * PIECE..n.min((task + 1) * PIECE);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        ctx.dispatch(Forward { z: &gate_z[range.clone()], h: &h[range.clone()], x: &x[range], y });
    });
    Ok(())
}

struct Forward<'a> {
    z: &'a [f32],
    h: &'a [f32],
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        for j in (0..n).step_by(LANES) {
            // SAFETY: elements j to n of slices of one length (checked in highway_forward_f32), tails masked.
            unsafe {
                let z = s.load_up_to(self.z.as_ptr().add(j), n - j);
                let d = decay_abs(s, z);
                let carried = s.mul(sigmoid_from(s, s.neg(z), d), s.load_up_to(self.x.as_ptr().add(j), n - j));
                let y = s.fma(sigmoid_from(s, z, d), s.load_up_to(self.h.as_ptr().add(j), n - j), carried);
                s.store_up_to(self.y.as_mut_ptr().add(j), y, n - j);
            }
        }
    }
}

/// Back through [`highway_forward_f32`]: dgate_z = dy·(h − x)·σ'(gate_z), dh = dy·σ(gate_z), dx = dy·σ(−gate_z).
///
/// `dx` is what reaches x past the layer; the caller adds what comes back through h and the gate. σ' is that of z, true
/// where the gate saturates. Threads and errors as there.
#[allow(clippy::too_many_arguments)]
pub fn highway_backward_f32(
    ctx: &Context,
    gate_z: &[f32],
    h: &[f32],
    x: &[f32],
    dy: &[f32],
    dgate_z: &mut [f32],
    dh: &mut [f32],
    dx: &mut [f32],
) -> Result {
    let f = "highway_backward_f32";
    let n = gate_z.len();
    check_len(f, "h", h, n)?;
    check_len(f, "x", x, n)?;
    check_len(f, "dy", dy, n)?;
    check_len(f, "dgate_z", dgate_z, n)?;
    check_len(f, "dh", dh, n)?;
    check_len(f, "dx", dx, n)?;
    let (dz, dh, dx) = (Shared::new(dgate_z), Shared::new(dh), Shared::new(dx));
    ctx.for_each(Work::elements(n, 1.2), n.div_ceil(PIECE), |task| {
        let range = task * PIECE..n.min((task + 1) * PIECE);
        // SAFETY: tasks have disjoint ranges.
        let (dz, dh, dx) = unsafe { (dz.piece(range.clone()), dh.piece(range.clone()), dx.piece(range.clone())) };
        let (z, h, x, dy) = (&gate_z[range.clone()], &h[range.clone()], &x[range.clone()], &dy[range]);
        ctx.dispatch(Backward { z, h, x, dy, dz, dh, dx });
    });
    Ok(())
}

struct Backward<'a> {
    z: &'a [f32],
    h: &'a [f32],
    x: &'a [f32],
    dy: &'a [f32],
    dz: &'a mut [f32],
    dh: &'a mut [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.dy.len();
        for j in (0..n).step_by(LANES) {
            // SAFETY: elements j to n of slices of one length (checked in highway_backward_f32), tails masked.
            unsafe {
                let z = s.load_up_to(self.z.as_ptr().add(j), n - j);
                let dy = s.load_up_to(self.dy.as_ptr().add(j), n - j);
                let h = s.load_up_to(self.h.as_ptr().add(j), n - j);
                let x = s.load_up_to(self.x.as_ptr().add(j), n - j);
                let d = decay_abs(s, z);
                let dz = s.mul(s.mul(dy, s.sub(h, x)), sigmoid_derivative_from(s, d));
                s.store_up_to(self.dz.as_mut_ptr().add(j), dz, n - j);
                s.store_up_to(self.dh.as_mut_ptr().add(j), s.mul(dy, sigmoid_from(s, z, d)), n - j);
                s.store_up_to(self.dx.as_mut_ptr().add(j), s.mul(dy, sigmoid_from(s, s.neg(z), d)), n - j);
            }
        }
    }
}
