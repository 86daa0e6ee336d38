//! Highway connections (whitepaper §15): y = σ(g)·h + (1 − σ(g))·x, a gate between what a layer makes and what it was given.
//!
//! The carry 1 − σ(g) is computed as σ(−g), so that it is true where the gate is shut or wide open: a bias of −20 carries a
//! gradient through, and still lets 2e-9 of it into the layer.

use crate::context::Context;
use crate::elementwise::{Fence, PIECE, STREAM_BYTES, STREAM_PIECE, whole_vectors};
use crate::error::{Result, check_len};
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath::exp_fall;

/// y = σ(gate_z)·h + σ(−gate_z)·x, element by element, all of one length (whitepaper §15).
///
/// `h` is what the layer makes of `x`. Accuracy: each of σ(gate_z) and σ(−gate_z) within 3 ULP, subnormal results included,
/// then a rounded product and a fused multiply-add: within 4 ULP of the larger of the two terms. y never leaves the interval
/// between h and x by more than that. Aliasing: none. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`.
///
/// ```
/// use evenkeel::{Context, gate::highway_forward_f32};
/// let mut y = [0.0; 2];
/// highway_forward_f32(Context::global()?, &[0.0, -200.0], &[1.0, 9.0], &[3.0, 5.0], &mut y)?;
/// assert_eq!(y, [2.0, 5.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn highway_forward_f32(ctx: &Context, gate_z: &[f32], h: &[f32], x: &[f32], y: &mut [f32]) -> Result {
    let (f, n) = ("highway_forward_f32", gate_z.len());
    check_len(f, "h", h, n)?;
    check_len(f, "x", x, n)?;
    check_len(f, "y", y, n)?;
    pieces(ctx, 0.5, [gate_z, h, x], [y], |[gate_z, h, x], [y], stream| {
        ctx.dispatch(&mut Run { inputs: [gate_z, h, x], outputs: [y], stream, gate: Forward });
    });
    Ok(())
}

/// The gradients of [`highway_forward_f32`], all of one length: with s = σ(gate_z) and c = σ(−gate_z),
/// dgate_z = dy·(h − x)·s·c, dh = dy·s, dx = dy·c (whitepaper §15).
///
/// `dx` is the carried part only: what comes back through the layer is to be added. Accuracy: s and c within 3 ULP, dh and
/// dx within 4, dgate_z within 8 of dy·(h − x) as f32 has h − x. dy·(h − x) is formed first, so that a small derivative
/// times a scaled gradient does not pass through 0. Aliasing: none. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`.
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
    let (f, n) = ("highway_backward_f32", gate_z.len());
    for (name, input) in [("h", h), ("x", x), ("dy", dy)] {
        check_len(f, name, input, n)?;
    }
    for (name, output) in [("dgate_z", &*dgate_z), ("dh", dh), ("dx", dx)] {
        check_len(f, name, output, n)?;
    }
    pieces(ctx, 0.8, [gate_z, h, x, dy], [dgate_z, dh, dx], |inputs, outputs, stream| {
        ctx.dispatch(&mut Run { inputs, outputs, stream, gate: Backward });
    });
    Ok(())
}

/// Cuts tensors of one length into pieces; the flag asks for stores past the caches.
fn pieces<const I: usize, const O: usize>(
    ctx: &Context,
    ns: f64,
    inputs: [&[f32]; I],
    outputs: [&mut [f32]; O],
    run: impl Fn([&[f32]; I], [&mut [f32]; O], bool) + Sync,
) {
    let n = outputs[0].len();
    // Vectors of all outputs are aligned where those of the first are, or none streams.
    let phase = |y: &[f32]| y.as_ptr().addr() % (LANES * size_of::<f32>());
    let alike = outputs.iter().all(|y| phase(y) == phase(outputs[0]));
    let stream = alike && size_of_val(&*outputs[0]) >= STREAM_BYTES;
    let step = if stream { STREAM_PIECE } else { PIECE };
    let outputs = outputs.map(Shared::new);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let outputs = outputs.each_ref().map(|y| unsafe { y.piece(range.clone()) });
        run(inputs.map(|x| &x[range.clone()]), outputs, stream);
        if stream {
            ctx.dispatch(Fence);
        }
    });
}

/// What is made of one vector of each input, the first of which is the gate's pre-activation; `e` is exp(−|gate|).
trait Gate<const I: usize, const O: usize>: Copy {
    fn apply<S: Simd>(self, s: S, e: S::F, x: [S::F; I]) -> [S::F; O];
}

/// exp(−|z|).
#[inline(always)]
fn decay<S: Simd>(s: S, z: S::F) -> S::F {
    exp_fall(s, s.or(z, s.splat(-0.0)))
}

/// σ(z) and σ(−z), given exp(−|z|).
#[inline(always)]
fn sigmoids<S: Simd>(s: S, z: S::F, e: S::F) -> (S::F, S::F) {
    let one = s.splat(1.0);
    let large = s.div(one, s.add(one, e));
    let small = s.mul(e, large);
    let negative = s.lt(z, s.zero());
    (s.select(negative, small, large), s.select(negative, large, small))
}

#[derive(Clone, Copy)]
struct Forward;

impl Gate<3, 1> for Forward {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, e: S::F, [z, h, x]: [S::F; 3]) -> [S::F; 1] {
        let (open, carry) = sigmoids(s, z, e);
        [s.fma(open, h, s.mul(carry, x))]
    }
}

#[derive(Clone, Copy)]
struct Backward;

impl Gate<4, 3> for Backward {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, e: S::F, [z, h, x, dy]: [S::F; 4]) -> [S::F; 3] {
        let (open, carry) = sigmoids(s, z, e);
        let dz = s.mul(s.mul(dy, s.sub(h, x)), s.mul(open, carry));
        [dz, s.mul(dy, open), s.mul(dy, carry)]
    }
}

struct Run<'a, G, const I: usize, const O: usize> {
    inputs: [&'a [f32]; I],
    outputs: [&'a mut [f32]; O],
    stream: bool,
    gate: G,
}

impl<G: Gate<I, O>, const I: usize, const O: usize> Kernel for &mut Run<'_, G, I, O> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.outputs[0].len();
        assert!(self.inputs.iter().all(|x| x.len() == n) && self.outputs.iter().all(|y| y.len() == n));
        let (stream, gate) = (self.stream, self.gate);
        let (mut x, mut y) = ([std::ptr::null(); I], [std::ptr::null_mut(); O]);
        for k in 0..I {
            x[k] = self.inputs[k].as_ptr();
        }
        for k in 0..O {
            y[k] = self.outputs[k].as_mut_ptr();
        }
        let (head, end) = whole_vectors::<S, _>(y[0], n, stream);
        let mut i = head;
        // SAFETY: vectors end at n, the length of every slice (asserted); streamed ones are aligned (whole_vectors, pieces).
        unsafe {
            if head > 0 {
                s.outline(&Edge { x, y, from: 0, n: head, gate });
            }
            if i < end {
                // The exponential of one vector beside the rest of the one before.
                let mut e = decay(s, s.load(x[0].add(i)));
                while i < end {
                    let next = if i + LANES < end { i + LANES } else { i };
                    let e_next = decay(s, s.load(x[0].add(next)));
                    let mut v = [e; I];
                    for k in 0..I {
                        v[k] = s.load(x[k].add(i));
                    }
                    let out = gate.apply(s, e, v);
                    for k in 0..O {
                        if stream {
                            s.stream(y[k].add(i), out[k]);
                        } else {
                            s.store(y[k].add(i), out[k]);
                        }
                    }
                    e = e_next;
                    i += LANES;
                }
            }
            if i < n {
                s.outline(&Edge { x, y, from: i, n: n - i, gate });
            }
        }
    }
}

/// Less than a vector, in a function of its own: both ends share it.
struct Edge<G, const I: usize, const O: usize> {
    x: [*const f32; I],
    y: [*mut f32; O],
    from: usize,
    n: usize,
    gate: G,
}

impl<G: Gate<I, O>, const I: usize, const O: usize> Kernel for &Edge<G, I, O> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut v = [s.zero(); I];
        // SAFETY: n < 16 elements from `from` are readable and writable (Run).
        unsafe {
            for k in 0..I {
                v[k] = s.load_first(self.x[k].add(self.from), self.n);
            }
            let out = self.gate.apply(s, decay(s, v[0]), v);
            for k in 0..O {
                s.store_first(self.y[k].add(self.from), out[k], self.n);
            }
        }
    }
}
