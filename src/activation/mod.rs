//! Activation functions and their derivatives (whitepaper §5), accurate where they saturate.
//!
//! A derivative comes from the pre-activation z, never from a rounded output: σ', tanh', GELU' keep their true value,
//! down to subnormal numbers, where 1 − y would be 0. Every forward and derivative is within 1 ULP of the exact value
//! (GELU' within 1.5), but for the tolerances that [`Activation`] lists; limits are taken at ±∞, and NaN gives NaN (IDENTITY' is 1).
//!
//! The largest errors over all 2³² arguments, in ULP, forward and derivative: ELU, CELU 0.82 and 0.76 (with other parameters
//! than α = 1 up to 0.79), SELU 1.00 and 0.77, GELU 0.86 and 1.48, GELU_TANH 0.83 and 0.88, SILU 0.88 and 0.90, MISH 0.88 and
//! 0.98, SIGMOID 0.80 and 0.80, TANH 0.77 and 0.81, SOFTPLUS and LOG_SIGMOID 0.80 and 0.80, SOFTSIGN 0.50 and 1.00, the others
//! 0.50. Beside their zero the derivatives of the gated ones were within 2⁻²⁸.
//!
//! In bf16 and f16 a result is that of f32 rounded once more: half a unit of the storage and 1 ULP of f32.
//!
//! ```
//! use evenkeel::activation::activation_derivative_f32;
//! use evenkeel::{Activation, Context};
//!
//! let ctx = Context::global()?;
//! // tanh(12) rounds to 1, and 1 − y² to 0; the derivative is 1.5e-10.
//! let (z, mut d) = ([0.0, 12.0], [0.0; 2]);
//! activation_derivative_f32(ctx, Activation::Tanh, 0.0, &z, &mut d)?;
//! assert_eq!(d[0], 1.0);
//! assert!((d[1] / 1.5101e-10 - 1.0).abs() < 1e-4);
//! # Ok::<(), evenkeel::Error>(())
//! ```

/// What a function of one stage leaves out of [`Phi`].
macro_rules! one_stage {
    () => {
        const STAGED: bool = false;
        type Mid<S: Simd> = ();
        type Forward<S: Simd> = ();
        type Derivative<S: Simd> = ();
        #[inline(always)]
        fn start<S: Simd>(self, _: S, _: S::F) {}
        #[inline(always)]
        fn forward_middle<S: Simd>(self, _: S, _: S::F, (): ()) {}
        #[inline(always)]
        fn derivative_middle<S: Simd>(self, _: S, _: S::F, (): ()) {}
    };
}

mod elu;
mod piecewise;
mod smooth;
mod stored;

use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{Input, Join, Map1, Part, each, one_stage_map, piece1, piece2};
use crate::error::{Error, Result, check_len};
use crate::simd::Simd;
use elu::{Celu, Elu, Selu};
use piecewise::{HardSigmoid, HardSwish, HardTanh, Identity, LeakyRelu, Relu, Softsign};
pub use stored::*;

use smooth::{Gelu, GeluTanh, LogSigmoid, Mish, Sigmoid, Silu, Softplus, Tanh};

/// An activation function φ. The numbers are those of `EK_ACTIVATION_*`.
///
/// | | φ(z) | φ'(z) |
/// |---|---|---|
/// | `Identity` | z | 1 |
/// | `Relu` | max(z, 0) | 1 for z > 0, else 0 |
/// | `LeakyRelu` | z for z > 0, else p·z | 1 for z > 0, else p |
/// | `Elu` | z for z > 0, else p·(eᶻ − 1) | 1 for z > 0, else p·eᶻ |
/// | `Selu` | λ·z for z > 0, else λα·(eᶻ − 1) | λ for z > 0, else λα·eᶻ |
/// | `Celu` | z for z > 0, else p·(e^(z/p) − 1), p > 0 | 1 for z > 0, else e^(z/p) |
/// | `Gelu` | z·Φ(z), by erf | Φ(z) + z·e^(−z²/2)/√(2π) |
/// | `GeluTanh` | z·σ(2u), u = √(2/π)·(z + 0.044715·z³) | σ(2u) + z·2u'·σ(2u)·σ(−2u) |
/// | `Silu` | z·σ(z) | σ(z)·(1 + z·σ(−z)) |
/// | `Mish` | z·t, t = tanh(log(1 + eᶻ)) | t + z·(1 − t²)·σ(z) |
/// | `Sigmoid` | σ(z) = 1/(1 + e⁻ᶻ) | σ(z)·σ(−z) |
/// | `Tanh` | tanh z | sech² z |
/// | `Softplus` | log(1 + eᶻ) | σ(z) |
/// | `Softsign` | z/(1 + \|z\|) | 1/(1 + \|z\|)² |
/// | `HardSigmoid` | (z + 3)/6 cut off at 0 and 1 | 1/6 for \|z\| < 3, else 0 |
/// | `HardSwish` | z·HardSigmoid(z) | (2z + 3)/6 for \|z\| < 3, else 0 or 1 |
/// | `HardTanh` | z cut off at ±1 | 1 for \|z\| < 1, else 0 |
/// | `LogSigmoid` | −log(1 + e⁻ᶻ) | σ(−z) |
///
/// p is `act_param`. Within 0.05 of its zero a derivative that crosses zero (`Gelu`, `GeluTanh`, `Silu`, `Mish`) may leave its
/// bound, 1 ULP or `Gelu`'s 1.5, and is then within 2⁻²⁵ of the exact value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Activation {
    Identity = 0,
    Relu = 1,
    LeakyRelu = 2,
    Elu = 3,
    Selu = 4,
    Celu = 5,
    Gelu = 6,
    GeluTanh = 7,
    Silu = 8,
    Mish = 9,
    Sigmoid = 10,
    Tanh = 11,
    Softplus = 12,
    Softsign = 13,
    HardSigmoid = 14,
    HardSwish = 15,
    HardTanh = 16,
    LogSigmoid = 17,
}

impl Activation {
    /// Every activation, in the order of its numbers.
    pub const ALL: [Activation; 18] = {
        use Activation::*;
        [
            Identity,
            Relu,
            LeakyRelu,
            Elu,
            Selu,
            Celu,
            Gelu,
            GeluTanh,
            Silu,
            Mish,
            Sigmoid,
            Tanh,
            Softplus,
            Softsign,
            HardSigmoid,
            HardSwish,
            HardTanh,
            LogSigmoid,
        ]
    };

    /// The activation of this number of `EK_ACTIVATION_*`.
    pub fn from_i32(value: i32) -> Option<Activation> {
        usize::try_from(value).ok().and_then(|i| Activation::ALL.get(i).copied())
    }

    /// Whether φ' is a function of y = φ(z) with this parameter, so that
    /// [`activation_backward_from_output_f32`] does it.
    pub fn has_derivative_from_output(self, act_param: f32) -> bool {
        use Activation::*;
        match self {
            Gelu | GeluTanh | Silu | Mish | HardSwish => false,
            LeakyRelu | Elu => act_param >= 0.0,
            _ => true,
        }
    }

    /// `act_param` must make sense for this activation; where it has none it is ignored.
    #[inline(never)]
    pub(crate) fn check(self, function: &'static str, act_param: f32) -> Result {
        let takes_one = matches!(self, Activation::LeakyRelu | Activation::Elu | Activation::Celu);
        if takes_one && !act_param.is_finite() {
            return Err(Error::invalid_argument(
                function,
                format!("act_param is {act_param}, {self:?} needs a number"),
            ));
        }
        if self == Activation::Celu && act_param <= 0.0 {
            return Err(Error::invalid_argument(function, format!("act_param is {act_param}, CELU needs alpha > 0")));
        }
        Ok(())
    }

    /// About how long an element takes, in nanoseconds.
    fn ns(self) -> f64 {
        struct Ns;
        impl Visitor for Ns {
            type Out = f64;
            fn visit<P: Phi>(self, _: P) -> f64 {
                P::NS
            }
        }
        self.visit(0.0, Ns)
    }

    /// Calls `visitor` with the type of this activation, so that what it runs is compiled for that one alone.
    #[inline(always)]
    pub(crate) fn visit<V: Visitor>(self, act_param: f32, visitor: V) -> V::Out {
        match self {
            Activation::Identity => visitor.visit(Identity),
            Activation::Relu => visitor.visit(Relu),
            Activation::LeakyRelu => visitor.visit(LeakyRelu { slope: act_param }),
            Activation::Elu => visitor.visit(Elu { alpha: act_param }),
            Activation::Selu => visitor.visit(Selu),
            Activation::Celu => visitor.visit(Celu { alpha: act_param }),
            Activation::Gelu => visitor.visit(Gelu),
            Activation::GeluTanh => visitor.visit(GeluTanh),
            Activation::Silu => visitor.visit(Silu),
            Activation::Mish => visitor.visit(Mish),
            Activation::Sigmoid => visitor.visit(Sigmoid),
            Activation::Tanh => visitor.visit(Tanh),
            Activation::Softplus => visitor.visit(Softplus),
            Activation::Softsign => visitor.visit(Softsign),
            Activation::HardSigmoid => visitor.visit(HardSigmoid),
            Activation::HardSwish => visitor.visit(HardSwish),
            Activation::HardTanh => visitor.visit(HardTanh),
            Activation::LogSigmoid => visitor.visit(LogSigmoid),
        }
    }
}

/// φ and φ' on one vector, in three stages each, the first of which they share.
pub(crate) trait Phi: Copy + Send + Sync {
    /// About how long an element takes, for deciding how many threads it is worth.
    const NS: f64;
    /// Whether the first two stages compute anything.
    const STAGED: bool;
    type Mid<S: Simd>: Copy;
    type Forward<S: Simd>: Copy;
    type Derivative<S: Simd>: Copy;
    fn start<S: Simd>(self, s: S, z: S::F) -> Self::Mid<S>;
    fn forward_middle<S: Simd>(self, s: S, z: S::F, mid: Self::Mid<S>) -> Self::Forward<S>;
    fn forward_end<S: Simd>(self, s: S, z: S::F, late: Self::Forward<S>) -> S::F;
    fn derivative_middle<S: Simd>(self, s: S, z: S::F, mid: Self::Mid<S>) -> Self::Derivative<S>;
    fn derivative_end<S: Simd>(self, s: S, z: S::F, late: Self::Derivative<S>) -> S::F;
    /// What follows the first stage.
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, z: S::F, mid: Self::Mid<S>) -> S::F {
        self.forward_end(s, z, self.forward_middle(s, z, mid))
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, z: S::F, mid: Self::Mid<S>) -> S::F {
        self.derivative_end(s, z, self.derivative_middle(s, z, mid))
    }
}

/// φ' as a function of y = φ(z).
pub(crate) trait FromOutput: Phi {
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F;
}

/// What to do with an activation whose type is known.
pub(crate) trait Visitor {
    type Out;
    /// Inside a kernel, implementations are `#[inline(always)]`.
    fn visit<P: Phi>(self, phi: P) -> Self::Out;
}

#[derive(Clone, Copy)]
pub(crate) struct Forward<P>(pub(crate) P);

impl<P: Phi> Map1 for Forward<P> {
    const STAGED: bool = P::STAGED;
    type Mid<S: Simd> = P::Mid<S>;
    type Late<S: Simd> = P::Forward<S>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, z: S::F) -> P::Mid<S> {
        self.0.start(s, z)
    }
    #[inline(always)]
    fn middle<S: Simd>(self, s: S, z: S::F, mid: P::Mid<S>) -> P::Forward<S> {
        self.0.forward_middle(s, z, mid)
    }
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, z: S::F, late: P::Forward<S>) -> S::F {
        self.0.forward_end(s, z, late)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Derivative<P>(pub(crate) P);

impl<P: Phi> Map1 for Derivative<P> {
    const STAGED: bool = P::STAGED;
    type Mid<S: Simd> = P::Mid<S>;
    type Late<S: Simd> = P::Derivative<S>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, z: S::F) -> P::Mid<S> {
        self.0.start(s, z)
    }
    #[inline(always)]
    fn middle<S: Simd>(self, s: S, z: S::F, mid: P::Mid<S>) -> P::Derivative<S> {
        self.0.derivative_middle(s, z, mid)
    }
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, z: S::F, late: P::Derivative<S>) -> S::F {
        self.0.derivative_end(s, z, late)
    }
}

/// φ' from the output.
#[derive(Clone, Copy)]
struct OfOutput<P>(P);

impl<P: FromOutput> Map1 for OfOutput<P> {
    one_stage_map!();
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, y: S::F, (): ()) -> S::F {
        self.0.derivative_from_output(s, y)
    }
}

/// φ' times dy.
#[derive(Clone, Copy)]
pub(crate) struct Times;

impl Join for Times {
    #[inline(always)]
    fn join<S: Simd>(self, s: S, slope: S::F, dy: S::F) -> S::F {
        s.mul(dy, slope)
    }
}

/// What is computed of an activation.
#[derive(Clone, Copy)]
enum What {
    /// φ(z).
    Forward,
    /// φ'(z).
    Derivative,
    /// dy·φ'(z).
    Backward,
}

/// [`What`] of a piece, inside a task: a function of its own, so that each activation is in the program once, whatever its
/// tensors are stored as.
#[inline(never)]
fn piece(ctx: &Context, what: What, act: Activation, act_param: f32, part: &mut Part<'_>) {
    struct Piece<'a, 'b>(&'a Context, What, &'a mut Part<'b>);
    impl Visitor for Piece<'_, '_> {
        type Out = ();
        fn visit<P: Phi>(self, phi: P) {
            let Piece(ctx, what, part) = self;
            match what {
                What::Forward => piece1(ctx, part, Forward(phi)),
                What::Derivative => piece1(ctx, part, Derivative(phi)),
                What::Backward => piece2(ctx, part, Derivative(phi), Times),
            }
        }
    }
    act.visit(act_param, Piece(ctx, what, part));
}

/// φ(z) of a piece, inside a task.
pub(crate) fn forward_piece(ctx: &Context, act: Activation, act_param: f32, z: &[f32], y: &mut [f32]) {
    piece(ctx, What::Forward, act, act_param, &mut Part::new(z, None, y));
}

/// dz = dy·φ'(z) of a piece, inside a task.
pub(crate) fn backward_piece(ctx: &Context, act: Activation, act_param: f32, z: &[f32], dy: &[f32], dz: &mut [f32]) {
    piece(ctx, What::Backward, act, act_param, &mut Part::new(z, Some(dy), dz));
}

/// φ(z), or φ'(z) if `derivative`, called `out` in errors; z None is the output's old values.
pub(crate) fn one_input<T: Storage>(
    function: &'static str,
    ctx: &Context,
    derivative: bool,
    act: Activation,
    act_param: f32,
    z: Option<&[T]>,
    y: &mut [T],
) -> Result {
    if let Some(z) = z {
        check_len(function, if derivative { "d" } else { "y" }, y, z.len())?;
    }
    act.check(function, act_param)?;
    let what = if derivative { What::Derivative } else { What::Forward };
    each(ctx, act.ns(), z, Input::Absent, y, &|part| piece(ctx, what, act, act_param, part));
    Ok(())
}

/// dy·φ'(z); an input that is None is the output's old values.
pub(crate) fn backward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    act: Activation,
    act_param: f32,
    z: Option<&[T]>,
    dy: Option<&[T]>,
    dz: &mut [T],
) -> Result {
    let n = z.map_or(dz.len(), |z| z.len());
    if let Some(dy) = dy {
        check_len(function, "dy", dy, n)?;
    }
    check_len(function, if dy.is_some() { "dz" } else { "dy" }, dz, n)?;
    act.check(function, act_param)?;
    let dy = dy.map_or(Input::Old, Input::Given);
    each(ctx, act.ns(), z, dy, dz, &|part| piece(ctx, What::Backward, act, act_param, part));
    Ok(())
}

/// y = φ(z), element by element, y as long as z.
///
/// Formula: the table of [`Activation`]; whitepaper §5. `act_param` is the slope of LEAKY_RELU and the α of ELU and
/// CELU, else ignored. Aliasing: [`activation_forward_in_place_f32`] writes over z. Accuracy: within 1 ULP, subnormal
/// results included. Threads: the same bits for any number. Errors: `InvalidArgument` for a parameter that is not
/// finite, or not positive for CELU; `InvalidSize`.
pub fn activation_forward_f32(ctx: &Context, act: Activation, act_param: f32, z: &[f32], y: &mut [f32]) -> Result {
    one_input("activation_forward_f32", ctx, false, act, act_param, Some(z), y)
}

/// [`activation_forward_f32`] written over its input.
pub fn activation_forward_in_place_f32(ctx: &Context, act: Activation, act_param: f32, z: &mut [f32]) -> Result {
    one_input("activation_forward_f32", ctx, false, act, act_param, None, z)
}

/// d = φ'(z), element by element, d as long as z.
///
/// Formula: the table of [`Activation`]; whitepaper §5. Aliasing: [`activation_derivative_in_place_f32`] writes over z.
/// Accuracy: within 1 ULP (GELU' 1.5), saturated and subnormal results included, or 2⁻²⁵ absolute within 0.05 of a zero of
/// φ'.
/// Threads: the same bits for any number. Errors: as [`activation_forward_f32`].
pub fn activation_derivative_f32(ctx: &Context, act: Activation, act_param: f32, z: &[f32], d: &mut [f32]) -> Result {
    one_input("activation_derivative_f32", ctx, true, act, act_param, Some(z), d)
}

/// [`activation_derivative_f32`] written over its input.
pub fn activation_derivative_in_place_f32(ctx: &Context, act: Activation, act_param: f32, z: &mut [f32]) -> Result {
    one_input("activation_derivative_f32", ctx, true, act, act_param, None, z)
}

/// dz = dy·φ'(z), element by element, all of one length: δ = (…) ⊙ φ'(z) of whitepaper §3.
///
/// Aliasing: [`activation_backward_in_place_f32`] writes over dy, [`activation_backward_over_z_f32`] over z. Accuracy:
/// φ' as in [`activation_derivative_f32`], then one rounded product. Threads: the same bits for any number. Errors: as
/// [`activation_forward_f32`].
pub fn activation_backward_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    z: &[f32],
    dy: &[f32],
    dz: &mut [f32],
) -> Result {
    backward("activation_backward_f32", ctx, act, act_param, Some(z), Some(dy), dz)
}

/// [`activation_backward_f32`] written over dy.
pub fn activation_backward_in_place_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    z: &[f32],
    dy: &mut [f32],
) -> Result {
    backward("activation_backward_f32", ctx, act, act_param, Some(z), None, dy)
}

/// [`activation_backward_f32`] written over z.
pub fn activation_backward_over_z_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    z: &mut [f32],
    dy: &[f32],
) -> Result {
    backward("activation_backward_f32", ctx, act, act_param, None, Some(dy), z)
}

/// dz = dy·φ'(z) from the output y = φ(z) alone, element by element, all of one length.
///
/// For callers that did not keep z. It costs what rounding y has lost: an absolute error of about 2⁻²⁴ in φ', all of
/// it where y rounds to a limit. SIGMOID y·(1 − y) is 0 from z = 16.7 up (and right below zero); TANH (1 − y)(1 + y)
/// from |z| = 9.1; SOFTSIGN (1 − |y|)² from |z| = 3.4e7; ELU y + α, SELU and CELU below about −17 (times α for CELU);
/// SOFTPLUS 1 − e⁻ʸ and LOG_SIGMOID 1 − eʸ lose nothing but accuracy for y beside 0, which a rounded y does not carry.
/// IDENTITY, RELU, LEAKY_RELU, HARD_TANH and HARD_SIGMOID lose nothing, unless y underflows or rounds to the corner.
///
/// Aliasing: [`activation_backward_from_output_in_place_f32`] writes over dy. Threads: the same bits for any number.
/// Errors: as [`activation_forward_f32`], and `Unsupported` where φ' is no function of y: GELU, GELU_TANH, SILU, MISH,
/// HARD_SWISH, and LEAKY_RELU and ELU with a negative parameter.
pub fn activation_backward_from_output_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    y: &[f32],
    dy: &[f32],
    dz: &mut [f32],
) -> Result {
    from_output("activation_backward_from_output_f32", ctx, act, act_param, y, Some(dy), dz)
}

/// [`activation_backward_from_output_f32`] written over dy.
pub fn activation_backward_from_output_in_place_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    y: &[f32],
    dy: &mut [f32],
) -> Result {
    from_output("activation_backward_from_output_f32", ctx, act, act_param, y, None, dy)
}

/// dy·φ' from y; dy None is the output's old values.
pub(crate) fn from_output<T: Storage>(
    function: &'static str,
    ctx: &Context,
    act: Activation,
    act_param: f32,
    y: &[T],
    dy: Option<&[T]>,
    dz: &mut [T],
) -> Result {
    if let Some(dy) = dy {
        check_len(function, "dy", dy, y.len())?;
    }
    check_len(function, if dy.is_some() { "dz" } else { "dy" }, dz, y.len())?;
    act.check(function, act_param)?;
    if !act.has_derivative_from_output(act_param) {
        let detail = format!("act is {act:?} with act_param {act_param}, whose derivative is no function of y");
        return Err(Error::unsupported(function, detail));
    }
    let dy = dy.map_or(Input::Old, Input::Given);
    each(ctx, act.ns(), Some(y), dy, dz, &|part| piece_from_output(ctx, act, act_param, part));
    Ok(())
}

/// dy·φ' from y of a piece, inside a task; the activation [has one](Activation::has_derivative_from_output).
#[inline(never)]
fn piece_from_output(ctx: &Context, act: Activation, act_param: f32, part: &mut Part<'_>) {
    macro_rules! of_output {
        ($phi:expr) => {
            piece2(ctx, part, OfOutput($phi), Times)
        };
    }
    match act {
        Activation::Elu => of_output!(Elu { alpha: act_param }),
        Activation::Selu => of_output!(Selu),
        Activation::Celu => of_output!(Celu { alpha: act_param }),
        Activation::Sigmoid => of_output!(Sigmoid),
        Activation::Tanh => of_output!(Tanh),
        Activation::Softplus => of_output!(Softplus),
        Activation::Softsign => of_output!(Softsign),
        Activation::HardSigmoid => of_output!(HardSigmoid),
        Activation::LogSigmoid => of_output!(LogSigmoid),
        // The others have the same derivative at y as at z.
        _ => piece(ctx, What::Backward, act, act_param, part),
    }
}
