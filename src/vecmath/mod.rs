//! Elementary functions on one vector, each with its error bound.
//!
//! Everything is branch-free and made of the basic operations of [`Simd`](crate::simd::Simd), so every instruction set
//! with FMA gives the same bits. A bound counts units in the last place of the result, against the exact value.
//! It was measured over all 2³² arguments for expm1 and log, over one in 16 or more for the others; the ordinary tests take
//! a sample of every binade, the ignored ones sweep. Subnormal arguments and results count like any other, NaN gives NaN,
//! and limits are taken at ±∞.
//! Where one float does not carry enough, [`dd`] carries two. The portable vector without FMA is a little less exact.
//!
//! ```
//! use evenkeel::simd::{Scalar, Simd};
//! let y = Scalar.to_array(evenkeel::vecmath::tanh(Scalar, Scalar.splat(0.0)));
//! assert_eq!(y, [0.0; 16]);
//! ```

/// A function that is inlined like all others, but for [`Simd::COMPACT`] is in the program once.
macro_rules! shared {
    ($(#[$doc:meta])* pub fn $name:ident($s:ident, $($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Simd>(s: S, $($arg: $type),*) -> $out {
            #[inline(always)]
            fn inlined<S: Simd>($s: S, $($arg: $type),*) -> $out $body
            #[inline(never)]
            fn apart<S: Simd>(s: S, $($arg: $type),*) -> $out {
                inlined(s, $($arg),*)
            }
            if S::COMPACT { apart(s, $($arg),*) } else { inlined(s, $($arg),*) }
        }
    };
}

pub mod dd;
mod exp;
mod gate;
mod log;
mod logistic;
mod normal;
pub(crate) mod tables;

pub use exp::{
    DOWN, Fall, FallDd, Reduced, UP, exp, exp_fall, exp_fall_end, exp_fall_start, exp_of, exp_parts, exp2_held, expm1,
    expm1_of, expm1_parts, fall, fall_dd, fall_short, reduce,
};
pub use gate::{Gate, gate_finish, gate_start, squash_finish, squash_start};
pub use log::{log, log1p};
pub use logistic::{
    Decay, EXP_END, Log1p, Parts, decay, decay_abs, decay_dd, fall_abs, fall_m1, finish, held, parts, plus, sech2,
    sech2_end, sech2_from, sigmoid, sigmoid_derivative, sigmoid_derivative_end, sigmoid_derivative_from, sigmoid_end,
    sigmoid_from, sigmoid_numerator, softplus, softplus_end, softplus_from, softplus_middle, tanh, tanh_end, tanh_fall,
    tanh_from,
};
pub use normal::{Tail, erf, erfc, mills, tail_parts, tail_start};
