//! The elementary functions against f64 formulas that do not cancel, and against the specification's bits.

use crate::common::*;
use evenkeel::Isa;
use evenkeel::simd::{Kernel, Simd, dispatch};
use evenkeel::vecmath;
use std::io::Write;

/// One function, its truth and its bound.
trait Function: Copy + Sync {
    const NAME: &'static str;
    /// The largest error over all 2³² arguments that its documentation states, in ULP.
    const BOUND: f64;
    fn truth(x: f64) -> f64;
    fn call<S: Simd>(s: S, x: S::F) -> S::F;
}

struct Apply<'a, F> {
    x: &'a [f32],
    y: &'a mut [f32],
    f: std::marker::PhantomData<F>,
}

impl<F: Function> Kernel for Apply<'_, F> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, y) in self.x.chunks(16).zip(self.y.chunks_mut(16)) {
            // SAFETY: x and y hold the same number of elements, at most 16.
            unsafe { s.store_first(y.as_mut_ptr(), F::call(s, s.load_first(x.as_ptr(), x.len())), y.len()) };
        }
    }
}

fn apply<F: Function>(isa: Isa, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    dispatch(isa, Apply::<F> { x, y, f: std::marker::PhantomData });
}

macro_rules! functions {
    ($($test:ident $type:ident $name:ident $bound:literal $truth:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $type;
            impl Function for $type {
                const NAME: &'static str = stringify!($name);
                const BOUND: f64 = $bound;
                fn truth(x: f64) -> f64 {
                    let truth: fn(f64) -> f64 = $truth;
                    truth(x)
                }
                #[inline(always)]
                fn call<S: Simd>(s: S, x: S::F) -> S::F {
                    function::$name(s, x)
                }
            }
            #[test]
            fn $test() {
                check::<$type>();
            }
        )*
        #[test]
        #[ignore = "exhaustive: all 2^32 arguments of every function, some minutes each"]
        fn exhaustive() {
            $(sweep::<$type>();)*
        }
    };
}

/// All of one argument.
mod function {
    use evenkeel::simd::Simd;
    pub use evenkeel::vecmath::*;

    #[inline(always)]
    pub fn gate<S: Simd>(s: S, x: S::F) -> Gate<S::F> {
        gate_finish(s, x, gate_start(s, x))
    }
    #[inline(always)]
    pub fn gate_open<S: Simd>(s: S, x: S::F) -> S::F {
        gate(s, x).open
    }
    #[inline(always)]
    pub fn gate_shut<S: Simd>(s: S, x: S::F) -> S::F {
        gate(s, x).shut
    }
    #[inline(always)]
    pub fn gate_slope<S: Simd>(s: S, x: S::F) -> S::F {
        gate(s, x).slope
    }
    #[inline(always)]
    pub fn squash<S: Simd>(s: S, x: S::F) -> S::F {
        squash_finish(s, x, squash_start(s, x)).0
    }
    #[inline(always)]
    pub fn squash_slope<S: Simd>(s: S, x: S::F) -> S::F {
        squash_finish(s, x, squash_start(s, x)).1
    }
}

functions! {
    exp_is_close Exp exp 1.0 f64::exp;
    expm1_is_close Expm1 expm1 1.0 f64::exp_m1;
    log_is_close Log log 1.0 f64::ln;
    log1p_is_close Log1p log1p 1.0 f64::ln_1p;
    tanh_is_close Tanh tanh 1.0 f64::tanh;
    sigmoid_is_close Sigmoid sigmoid 1.0 sigmoid;
    sigmoid_derivative_is_close SigmoidDerivative sigmoid_derivative 1.0 |x| bell(x.abs());
    sech2_is_close Sech2 sech2 1.0 |x| 4.0 * bell(2.0 * x.abs());
    softplus_is_close Softplus softplus 1.0 |x| x.max(0.0) + (-x.abs()).exp().ln_1p();
    erf_is_close Erf erf 1.0 libm::erf;
    erfc_is_close Erfc erfc 1.0 libm::erfc;
    gate_open_is_close GateOpen gate_open 2.0 sigmoid;
    gate_shut_is_close GateShut gate_shut 2.0 |x| sigmoid(-x);
    gate_slope_is_close GateSlope gate_slope 3.5 |x| bell(x.abs());
    squash_is_close Squash squash 2.5 f64::tanh;
    squash_slope_is_close SquashSlope squash_slope 4.5 |x| 4.0 * bell(2.0 * x.abs());
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

/// σ'(a) for a ≥ 0.
fn bell(a: f64) -> f64 {
    let e = (-a).exp();
    e / ((1.0 + e) * (1.0 + e))
}

/// exp and exp_fall of −|x|.
struct Falls<'a>(&'a [f32], &'a mut [f32], &'a mut [f32]);

impl Kernel for Falls<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ((x, y), z) in self.0.chunks(16).zip(self.1.chunks_mut(16)).zip(self.2.chunks_mut(16)) {
            // SAFETY: all three hold the same number of elements, at most 16.
            unsafe {
                let x = s.or(s.load_first(x.as_ptr(), x.len()), s.splat(-0.0));
                s.store_first(y.as_mut_ptr(), vecmath::exp(s, x), y.len());
                s.store_first(z.as_mut_ptr(), vecmath::exp_fall(s, x), z.len());
            }
        }
    }
}

#[test]
fn exp_fall_is_exp_below_zero() {
    let x = sample();
    for isa in isas() {
        let (mut y, mut z) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        dispatch(isa, Falls(&x, &mut y, &mut z));
        assert_same_bits(isa.name(), &z, &y);
    }
}

/// Every binade of both signs, subnormals, zeros, infinities and NaN among them.
fn sample() -> Vec<f32> {
    let stride = if quick() { 65_537 } else { 4_099 };
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
    let ends = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1.0, f32::MAX, f32::INFINITY, f32::NAN];
    x.extend(ends.iter().flat_map(|&v| [v, -v]));
    // Where results saturate, vanish or overflow.
    for edge in [0.75f32, 8.0, 9.01, 9.1, 10.05, 13.2, 14.4, 16.64, 17.33, 44.4, 52.0, 80.0, 87.3, 88.0, 88.72, 103.97]
    {
        x.extend((0..200).map(|i| f32::from_bits(edge.to_bits() - 100 + i)).flat_map(|v| [v, -v]));
    }
    x
}

fn check<F: Function>() {
    let x = sample();
    let mut want = vec![f32::NAN; x.len()];
    apply::<F>(Isa::Scalar, &x, &mut want);
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&want) {
        let truth = F::truth(x as f64);
        let error = ulp_error(y, truth);
        if error > worst.0 {
            worst = (error, x);
        }
        if truth == 0.0 && x == 0.0 {
            assert!(same_bits(y, x), "{}({x:e}) is {y:e}", F::NAME);
        }
    }
    let (error, at) = worst;
    assert!(error <= F::BOUND, "{}({at:e}) errs by {error} ULP, at most {}", F::NAME, F::BOUND);
    for isa in isas() {
        let mut got = vec![f32::NAN; x.len()];
        apply::<F>(isa, &x, &mut got);
        if isa.is_fused() {
            assert_same_bits(&format!("{} on {}", F::NAME, isa.name()), &got, &want);
        } else {
            // Each within its bound and half a unit more.
            assert_ulp(&format!("{} on {}", F::NAME, isa.name()), &got, &want, (2.0 * F::BOUND + 1.0) as u64);
        }
    }
}

/// The largest error over all arguments, printed and held against the bound.
fn sweep<F: Function>() {
    const CHUNK: u32 = 1 << 20;
    let isa = Isa::best();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u32;
    let stride: u32 = std::env::var("EVENKEEL_STRIDE").map_or(1, |s| s.parse().expect("a number"));
    let worst = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn(move || {
                    let mut worst = (0.0, 0.0f32);
                    let mut y = vec![0.0; (CHUNK / stride) as usize];
                    for chunk in (t..u32::MAX / CHUNK + 1).step_by(threads as usize) {
                        let bits = |i: u32| chunk * CHUNK + i * stride + chunk % stride;
                        let x: Vec<f32> = (0..CHUNK / stride).map(|i| f32::from_bits(bits(i))).collect();
                        apply::<F>(isa, &x, &mut y);
                        for (&x, &y) in x.iter().zip(&y) {
                            let error = ulp_error(y, F::truth(x as f64));
                            if error > worst.0 {
                                worst = (error, x);
                            }
                        }
                    }
                    worst
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("a worker")).fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
    });
    // Not println!, which the test harness would capture.
    writeln!(std::io::stderr(), "{}: {:.4} ULP at {:e}", F::NAME, worst.0, worst.1).expect("stderr");
    assert!(worst.0 <= F::BOUND, "{} errs by {} ULP at {:e}", F::NAME, worst.0, worst.1);
}
