//! Every operation of the vectors: each instruction set gives the bits of `Scalar`, and `Scalar` gives those that the
//! documentation states.

use crate::common::{Float, Rng, isas, same_bits, samples};
use evenkeel::Isa;
use evenkeel::simd::{Kernel, LANES, Simd, dispatch};

// What an operation returned, in a form that all instruction sets share.

/// Bits that are compared as they are, except that NaN results of arithmetic are all alike.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Bits(Vec<u64>),
    Numbers(Vec<u64>),
}

/// The result of arithmetic: any NaN is the same as any other.
fn numbers<T: Float>(lanes: &[T]) -> Value {
    Value::Numbers(lanes.iter().map(|x| if x.is_nan() { u64::MAX } else { x.raw() }).collect())
}

/// Lanes that an operation only moved or masked: the payload of a NaN counts too.
fn bits<T: Float>(lanes: &[T]) -> Value {
    Value::Bits(lanes.iter().map(|x| x.raw()).collect())
}

fn integers(lanes: &[i32]) -> Value {
    Value::Bits(lanes.iter().map(|&x| x as u32 as u64).collect())
}

type Results = Vec<(&'static str, Value)>;

/// What the operations are given.
#[derive(Debug)]
struct Operands {
    a: [f32; 16],
    b: [f32; 16],
    c: [f32; 16],
    i: [i32; 16],
    j: [i32; 16],
    p: [f64; 8],
    q: [f64; 8],
    r: [f64; 8],
}

impl Operands {
    /// Any bit patterns; some lanes of `b`, `j` equal those of `a`, `i`, or differ in the sign alone.
    fn any(rng: &mut Rng) -> Operands {
        let (a, i): ([f32; 16], [i32; 16]) = (rng.array(Rng::any_f32), rng.array(|rng| rng.u32() as i32));
        let b = a.map(|a| match rng.below(8) {
            0 => a,
            1 => -a,
            _ => rng.any_f32(),
        });
        // One third of c is about to cancel a·b, which is where a second rounding shows.
        let c = std::array::from_fn(|k| if rng.below(3) == 0 { -(a[k] * b[k]) } else { rng.any_f32() });
        let j = i.map(|i| if rng.below(4) == 0 { i } else { rng.u32() as i32 });
        let (p, q): ([f64; 8], [f64; 8]) = (rng.array(Rng::any_f64), rng.array(Rng::any_f64));
        let r = std::array::from_fn(|k| if rng.below(3) == 0 { -(p[k] * q[k]) } else { rng.any_f64() });
        Operands { a, b, c, i, j, p, q, r }
    }

    /// Numbers near 1, so that sums and products round and do not overflow.
    fn ordinary(rng: &mut Rng) -> Operands {
        let mut o = Operands::any(rng);
        for lanes in [&mut o.a, &mut o.b, &mut o.c] {
            *lanes = rng.array(|rng| rng.binades(-12, 12));
        }
        for lanes in [&mut o.p, &mut o.q, &mut o.r] {
            *lanes = rng.array(|rng| rng.normal() as f64 * 1e3 * (1.0 + rng.unit()));
        }
        o
    }
}

/// [`Operands`] in registers.
struct Vectors<S: Simd> {
    a: S::F,
    b: S::F,
    c: S::F,
    i: S::I,
    j: S::I,
    p: S::D,
    q: S::D,
    r: S::D,
}

impl<S: Simd> Vectors<S> {
    #[inline(always)]
    fn load(s: S, o: &Operands) -> Self {
        // SAFETY: each array has the eight doubles that are loaded.
        let [p, q, r] = [&o.p, &o.q, &o.r].map(|x| unsafe { s.load_d(x.as_ptr()) });
        Vectors {
            a: s.from_array(o.a),
            b: s.from_array(o.b),
            c: s.from_array(o.c),
            i: s.from_array_i(o.i),
            j: s.from_array_i(o.j),
            p,
            q,
            r,
        }
    }
}

/// A kernel that runs a list of operations and returns their results by name.
macro_rules! operations {
    ($(#[$doc:meta])* $kernel:ident($s:ident, $v:ident) { $($name:literal: $value:expr;)* }) => {
        $(#[$doc])*
        struct $kernel<'a>(&'a Operands);
        impl Kernel for $kernel<'_> {
            type Out = Results;
            #[inline(always)]
            fn run<S: Simd>(self, $s: S) -> Results {
                let $v = Vectors::load($s, self.0);
                vec![$(($name, $value)),*]
            }
        }
    };
}

operations! {
    Arithmetic(s, v) {
        "add": numbers(&s.to_array(s.add(v.a, v.b)));
        "sub": numbers(&s.to_array(s.sub(v.a, v.b)));
        "mul": numbers(&s.to_array(s.mul(v.a, v.b)));
        "div": numbers(&s.to_array(s.div(v.a, v.b)));
        "sqrt": numbers(&s.to_array(s.sqrt(v.a)));
        "min": numbers(&s.to_array(s.min(v.a, v.b)));
        "max": numbers(&s.to_array(s.max(v.a, v.b)));
        "round": numbers(&s.to_array(s.round(v.a)));
        "from_int": numbers(&s.to_array(s.from_int(v.i)));
        "widen, low": numbers(&s.to_array_d(s.widen(v.a).0));
        "widen, high": numbers(&s.to_array_d(s.widen(v.a).1));
        "narrow": numbers(&s.to_array(s.narrow(v.p, v.q)));
        "add_d": numbers(&s.to_array_d(s.add_d(v.p, v.q)));
        "sub_d": numbers(&s.to_array_d(s.sub_d(v.p, v.q)));
        "mul_d": numbers(&s.to_array_d(s.mul_d(v.p, v.q)));
        "div_d": numbers(&s.to_array_d(s.div_d(v.p, v.q)));
        "sqrt_d": numbers(&s.to_array_d(s.sqrt_d(v.p)));
    }
}

operations! {
    Fused(s, v) {
        "fma": numbers(&s.to_array(s.fma(v.a, v.b, v.c)));
        "fnma": numbers(&s.to_array(s.fnma(v.a, v.b, v.c)));
        "fms": numbers(&s.to_array(s.fms(v.a, v.b, v.c)));
        "fma_d": numbers(&s.to_array_d(s.fma_d(v.p, v.q, v.r)));
        "fma_h": numbers(&s.to_array_h(fma_h(s, v.a, v.b, v.c)));
    }
}

/// The first eight lanes of each, as halves.
#[inline(always)]
fn fma_h<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::H {
    let [a, b, c] = [a, b, c].map(|x| {
        let x = s.to_array(x);
        // SAFETY: eight of x's sixteen floats.
        unsafe { s.load_h(x.as_ptr()) }
    });
    s.fma_h(a, b, c)
}

operations! {
    Logic(s, v) {
        "from_array": bits(&s.to_array(v.a));
        "from_array_i": integers(&s.to_array_i(v.i));
        "splat": bits(&s.to_array(s.splat(s.to_array(v.a)[0])));
        "splat_i": integers(&s.to_array_i(s.splat_i(s.to_array_i(v.i)[0])));
        "splat_d": bits(&s.to_array_d(s.splat_d(s.to_array_d(v.p)[0])));
        "splat_h": bits(&s.to_array_h(s.splat_h(s.to_array(v.a)[0])));
        "zero": bits(&s.to_array(s.zero()));
        "lt": mask(s, s.lt(v.a, v.b));
        "le": mask(s, s.le(v.a, v.b));
        "eq": mask(s, s.eq(v.a, v.b));
        "gt": mask(s, s.gt(v.a, v.b));
        "ge": mask(s, s.ge(v.a, v.b));
        "is_nan": mask(s, s.is_nan(v.a));
        "gt_i": mask(s, s.gt_i(v.i, v.j));
        "eq_i": mask(s, s.eq_i(v.i, v.j));
        "and_m": mask(s, s.and_m(s.lt(v.a, v.b), s.gt_i(v.i, v.j)));
        "or_m": mask(s, s.or_m(s.lt(v.a, v.b), s.gt_i(v.i, v.j)));
        "not_m": mask(s, s.not_m(s.le(v.a, v.b)));
        "any": Value::Bits(vec![s.any(s.is_nan(v.a)) as u64]);
        "all": Value::Bits(vec![s.all(s.not_m(s.is_nan(v.a))) as u64]);
        "select by lt": bits(&s.to_array(s.select(s.lt(v.a, v.b), v.a, v.c)));
        "select by gt_i": bits(&s.to_array(s.select(s.gt_i(v.i, v.j), v.a, v.c)));
        "select by not_m": bits(&s.to_array(s.select(s.not_m(s.is_nan(v.b)), v.a, v.c)));
        "bits": integers(&s.to_array_i(s.bits(v.a)));
        "from_bits": bits(&s.to_array(s.from_bits(v.i)));
        "and": bits(&s.to_array(s.and(v.a, v.b)));
        "or": bits(&s.to_array(s.or(v.a, v.b)));
        "xor": bits(&s.to_array(s.xor(v.a, v.b)));
        "neg": bits(&s.to_array(s.neg(v.a)));
        "abs": bits(&s.to_array(s.abs(v.a)));
        "copysign": bits(&s.to_array(s.copysign(v.a, v.b)));
        "and_i": integers(&s.to_array_i(s.and_i(v.i, v.j)));
        "or_i": integers(&s.to_array_i(s.or_i(v.i, v.j)));
        "add_i": integers(&s.to_array_i(s.add_i(v.i, v.j)));
        "sub_i": integers(&s.to_array_i(s.sub_i(v.i, v.j)));
        "shl_i 0": integers(&s.to_array_i(s.shl_i::<0>(v.i)));
        "shl_i 1": integers(&s.to_array_i(s.shl_i::<1>(v.i)));
        "shl_i 23": integers(&s.to_array_i(s.shl_i::<23>(v.i)));
        "shl_i 31": integers(&s.to_array_i(s.shl_i::<31>(v.i)));
        "shr_i 0": integers(&s.to_array_i(s.shr_i::<0>(v.i)));
        "shr_i 16": integers(&s.to_array_i(s.shr_i::<16>(v.i)));
        "shr_i 31": integers(&s.to_array_i(s.shr_i::<31>(v.i)));
        "sra_i 0": integers(&s.to_array_i(s.sra_i::<0>(v.i)));
        "sra_i 9": integers(&s.to_array_i(s.sra_i::<9>(v.i)));
        "sra_i 31": integers(&s.to_array_i(s.sra_i::<31>(v.i)));
    }
}

#[inline(always)]
fn mask<S: Simd>(s: S, m: S::M) -> Value {
    Value::Bits(vec![s.bits_m(m) as u64])
}

operations! {
    Folds(s, v) {
        "sum": numbers(&[s.sum(v.a)]);
        "sum_d": numbers(&[s.sum_d(v.p)]);
        "sum_dd": numbers(&[s.sum_dd(v.p, v.q)]);
    }
}

operations! {
    /// Their result is specified only where no lane is NaN.
    Extremes(s, v) {
        "max_lane": numbers(&[s.max_lane(v.a)]);
        "min_lane": numbers(&[s.min_lane(v.a)]);
    }
}

operations! {
    /// `a` in the contract of `ldexp`, `b` integral; `c` in the contract of `to_int`.
    Exponents(s, v) {
        "ldexp": numbers(&s.to_array(s.ldexp(v.a, v.b)));
        "to_int": integers(&s.to_array_i(s.to_int(v.c)));
        "round": numbers(&s.to_array(s.round(v.c)));
    }
}

/// Fails unless `isa` gives what the specification gives.
fn compare(isa: Isa, operands: &Operands, got: Results, want: Results) {
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        assert_eq!(got, want, "{name} on {} of {operands:x?}", isa.name());
    }
    assert_eq!(got.len(), want.len());
}

/// Compares every instruction set with the specification, over operands that `draw` makes.
macro_rules! check {
    ($kernel:ident, $isas:expr, $seed:expr, $draw:expr) => {
        for isa in $isas.filter(|isa| *isa != Isa::Scalar) {
            let mut rng = Rng::new($seed);
            for _ in 0..samples(8000) {
                let o: Operands = $draw(&mut rng);
                compare(isa, &o, dispatch(isa, $kernel(&o)), dispatch(Isa::Scalar, $kernel(&o)));
            }
        }
    };
}

#[test]
fn arithmetic_is_the_specification_bit_for_bit() {
    check!(Arithmetic, isas(), 1, Operands::any);
    check!(Arithmetic, isas(), 2, Operands::ordinary);
}

#[test]
fn fused_arithmetic_is_the_specification_bit_for_bit() {
    for isa in isas().filter(|isa| !isa.is_fused()) {
        println!("{} has no fused multiply-add: fma, fnma, fms, fma_d, fma_h are not compared", isa.name());
    }
    check!(Fused, isas().filter(|isa| isa.is_fused()), 3, Operands::any);
    check!(Fused, isas().filter(|isa| isa.is_fused()), 4, Operands::ordinary);
}

#[test]
fn unfused_arithmetic_rounds_twice() {
    let twice = |a: f32, b: f32, c: f32| a * b + c;
    for isa in isas().filter(|isa| !isa.is_fused()) {
        let mut rng = Rng::new(5);
        for _ in 0..samples(8000) {
            let o = Operands::any(&mut rng);
            let lanes = |f: &dyn Fn(usize) -> f32| numbers(&std::array::from_fn::<f32, 16, _>(f));
            let want = vec![
                ("fma", lanes(&|k| twice(o.a[k], o.b[k], o.c[k]))),
                ("fnma", lanes(&|k| twice(-o.a[k], o.b[k], o.c[k]))),
                ("fms", lanes(&|k| twice(o.a[k], o.b[k], -o.c[k]))),
                ("fma_d", numbers(&std::array::from_fn::<f64, 8, _>(|k| o.p[k] * o.q[k] + o.r[k]))),
                ("fma_h", numbers(&std::array::from_fn::<f32, 8, _>(|k| twice(o.a[k], o.b[k], o.c[k])))),
            ];
            compare(isa, &o, dispatch(isa, Fused(&o)), want);
        }
    }
}

#[test]
fn comparisons_and_bits_are_the_specification_bit_for_bit() {
    check!(Logic, isas(), 6, Operands::any);
}

#[test]
fn folds_are_the_specification_bit_for_bit() {
    check!(Folds, isas(), 7, Operands::any);
    check!(Folds, isas(), 8, Operands::ordinary);
    check!(Extremes, isas(), 9, Operands::ordinary);
    check!(Extremes, isas(), 10, |rng: &mut Rng| Operands {
        a: rng.array(|rng| if rng.below(20) == 0 { f32::NEG_INFINITY } else { rng.finite() }),
        ..Operands::any(rng)
    });
}

/// Operands in the contracts of `ldexp` and `to_int`, at their ends more often than elsewhere.
fn exponents(rng: &mut Rng) -> Operands {
    let mut o = Operands::any(rng);
    for k in 0..LANES {
        o.a[k] = match rng.below(12) {
            0 => [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN][rng.below(5)],
            1 => 2f32.powi([-25, 25, 0][rng.below(3)]),
            // Next to a tie once the result is subnormal.
            2 => f32::from_bits(1.5f32.to_bits() + rng.below(3) as u32 - 1),
            _ => rng.binades(-25, 24),
        };
        o.b[k] = match rng.below(4) {
            0 => [-250.0, 250.0, -126.0, -127.0, -149.0, -150.0, 127.0, 128.0][rng.below(8)],
            _ => rng.below(501) as f32 - 250.0,
        };
        o.c[k] = match rng.below(4) {
            // Ties, and next to them.
            0 => rng.below(1 << 22) as f32 - (1 << 21) as f32 + 0.5,
            1 => (rng.below(64) as f32 + 0.5) * [1.0, 1.0 + f32::EPSILON, 1.0 - f32::EPSILON / 2.0][rng.below(3)],
            _ => rng.binades(-127, 30),
        };
    }
    o
}

#[test]
fn ldexp_and_to_int_are_the_specification_within_their_contracts() {
    check!(Exponents, isas(), 11, exponents);
}

/// The specification itself, against formulas that share none of its code.
#[test]
fn the_specification_is_what_its_documentation_says() {
    let mut rng = Rng::new(12);
    let by_halves = |lanes: &[f32; 16]| {
        let eight: [f32; 8] = std::array::from_fn(|k| lanes[k] + lanes[k + 8]);
        let [a, b, c, d, e, f, g, h] = eight;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    };
    for _ in 0..samples(8000) {
        let o = Operands::ordinary(&mut rng);
        let [p0, p1, p2, p3, p4, p5, p6, p7] = o.p;
        let folded = ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7));
        let summed: [f64; 8] = std::array::from_fn(|k| o.p[k] + o.q[k]);
        let [t0, t1, t2, t3, t4, t5, t6, t7] = summed;
        let want = vec![
            ("sum", numbers(&[by_halves(&o.a)])),
            ("sum_d", numbers(&[folded])),
            ("sum_dd", numbers(&[((t0 + t4) + (t2 + t6)) + ((t1 + t5) + (t3 + t7))])),
        ];
        compare(Isa::Scalar, &o, dispatch(Isa::Scalar, Folds(&o)), want);

        let extremes = vec![
            ("max_lane", numbers(&[o.a.iter().copied().fold(f32::NEG_INFINITY, f32::max)])),
            ("min_lane", numbers(&[o.a.iter().copied().fold(f32::INFINITY, f32::min)])),
        ];
        compare(Isa::Scalar, &o, dispatch(Isa::Scalar, Extremes(&o)), extremes);

        // In f64 the product with a power of two is exact, and the conversion rounds once.
        let o = exponents(&mut rng);
        let rounded = o.c.map(|c| (c as f64).round_ties_even());
        let want = vec![
            ("ldexp", numbers(&std::array::from_fn::<f32, 16, _>(|k| (o.a[k] as f64 * (o.b[k] as f64).exp2()) as f32))),
            ("to_int", integers(&rounded.map(|c| c as i32))),
            ("round", numbers(&rounded.map(|c| c as f32))),
        ];
        compare(Isa::Scalar, &o, dispatch(Isa::Scalar, Exponents(&o)), want);

        // The product of two floats is exact in f64. Where the sum is too, one conversion rounds it once.
        let o = Operands::any(&mut rng);
        let fused = dispatch(Isa::Scalar, Fused(&o));
        let Value::Numbers(fma) = &fused[0].1 else { unreachable!() };
        for k in 0..LANES {
            let (product, c) = (o.a[k] as f64 * o.b[k] as f64, o.c[k] as f64);
            let sum = product + c;
            if sum - product == c && sum - c == product {
                let got = f32::from_bits(fma[k] as u32);
                assert!(same_bits(got, sum as f32), "fma({:e}, {:e}, {c:e}) is {got:e}", o.a[k], o.b[k]);
            }
        }
        // min and max keep their second operand where the comparison is false.
        let Value::Numbers(min) = &dispatch(Isa::Scalar, Arithmetic(&o))[5].1 else { unreachable!() };
        let Value::Numbers(max) = &dispatch(Isa::Scalar, Arithmetic(&o))[6].1 else { unreachable!() };
        for k in 0..LANES {
            let (a, b) = (o.a[k], o.b[k]);
            assert!(same_bits(f32::from_bits(min[k] as u32), if a < b { a } else { b }));
            assert!(same_bits(f32::from_bits(max[k] as u32), if a > b { a } else { b }));
        }
    }
}

// Shapes of lanes: transposition, the first n.

struct Transpose<'a>(&'a [[f32; 16]; 16]);

impl Kernel for Transpose<'_> {
    type Out = [[f32; 16]; 16];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        s.transpose(self.0.map(|row| s.from_array(row))).map(|row| s.to_array(row))
    }
}

#[test]
fn transpose_exchanges_rows_and_lanes() {
    let mut rng = Rng::new(13);
    let rows: [[f32; 16]; 16] = rng.array(|rng| rng.array(Rng::any_f32));
    for isa in isas() {
        let columns = dispatch(isa, Transpose(&rows));
        for i in 0..16 {
            for j in 0..16 {
                assert_eq!(columns[i][j].to_bits(), rows[j][i].to_bits(), "row {i}, lane {j} on {}", isa.name());
            }
        }
    }
}

/// Bits of the mask of the first `n` lanes, and of a choice by it.
struct First(usize);

impl Kernel for First {
    type Out = (u32, [f32; 16], bool, bool);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let m = s.first(self.0);
        (s.bits_m(m), s.to_array(s.select(m, s.splat(1.0), s.splat(-0.0))), s.any(m), s.all(m))
    }
}

#[test]
fn first_is_the_first_n_lanes() {
    for isa in isas() {
        for n in 0..=LANES {
            let (mask, chosen, any, all) = dispatch(isa, First(n));
            assert_eq!(mask, ((1u64 << n) - 1) as u32, "first({n}) on {}", isa.name());
            let want: [f32; 16] = std::array::from_fn(|k| if k < n { 1.0 } else { -0.0 });
            assert_eq!(chosen.map(f32::to_bits), want.map(f32::to_bits), "select by first({n}) on {}", isa.name());
            assert_eq!((any, all), (n > 0, n == LANES));
        }
    }
}

// Memory.

/// Loads up to `n` floats from `from`, returns all lanes, and stores up to `n` of them to `to`.
struct Copy<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    n: usize,
    /// Whether `n` may exceed a vector: `load_up_to` and `store_up_to`, instead of `load_first` and `store_first`.
    up_to: bool,
}

impl Kernel for Copy<'_> {
    type Out = [f32; 16];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 16] {
        let n = self.n;
        assert!(self.from.len() >= n.min(LANES) && self.to.len() >= n.min(LANES) && (self.up_to || n <= LANES));
        // SAFETY: both slices hold min(n, 16) floats (asserted).
        unsafe {
            if self.up_to {
                let v = s.load_up_to(self.from.as_ptr(), n);
                s.store_up_to(self.to.as_mut_ptr(), v, n);
                s.to_array(v)
            } else {
                let v = s.load_first(self.from.as_ptr(), n);
                s.store_first(self.to.as_mut_ptr(), v, n);
                s.to_array(v)
            }
        }
    }
}

/// `values[..16]`, with +0 from lane `n` on.
fn first_lanes(values: &[f32], n: usize) -> [u32; 16] {
    std::array::from_fn(|k| if k < n { values[k].to_bits() } else { 0 })
}

#[test]
fn masked_loads_and_stores_touch_n_lanes() {
    let guard = f32::from_bits(0xdead_beef);
    let values: Vec<f32> = Rng::new(14).vec(64, Rng::any_f32);
    let raw = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for isa in isas() {
        for n in 0..=20 {
            for offset in 0..5 {
                let (up_to, moved) = (n > LANES, n.min(LANES));
                let mut out = vec![guard; 64];
                let copy = Copy { from: &values[offset..], to: &mut out[3 + offset..], n, up_to };
                let lanes = dispatch(isa, copy).map(f32::to_bits);
                assert_eq!(lanes, first_lanes(&values[offset..], moved), "load {n} on {}", isa.name());
                let mut want = vec![guard; 64];
                want[3 + offset..][..moved].copy_from_slice(&values[offset..][..moved]);
                assert_eq!(raw(&out), raw(&want), "store {n} on {}", isa.name());
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn masked_loads_and_stores_stop_at_a_guard_page() {
    use crate::common::Guarded;
    let values: Vec<f32> = Rng::new(15).vec(LANES, Rng::any_f32);
    for isa in isas() {
        for n in 0..=LANES {
            for place in [Guarded::at_end, Guarded::at_start] {
                for up_to in [false, true] {
                    let (from, mut to) = (place(&values[..n]), place(&vec![f32::NAN; n]));
                    let lanes = dispatch(isa, Copy { from: &from, to: &mut to, n, up_to }).map(f32::to_bits);
                    assert_eq!(lanes, first_lanes(&values, n), "load {n} on {}", isa.name());
                    let same = to.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "store {n} on {}", isa.name());
                }
            }
        }
    }
}

/// Full vectors of every type, through memory and back, flush against a guard page where there is one.
#[cfg(unix)]
struct Whole<'a> {
    floats: &'a [f32],
    doubles: &'a [f64],
    floats_out: &'a mut [f32],
    doubles_out: &'a mut [f64],
}

#[cfg(unix)]
impl Kernel for Whole<'_> {
    type Out = [f32; 8];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 8] {
        assert!(self.floats.len() >= 16 && self.floats_out.len() >= 16);
        assert!(self.doubles.len() >= 8 && self.doubles_out.len() >= 8);
        s.prefetch(self.floats.as_ptr());
        s.prefetch(std::ptr::null());
        // SAFETY: the lengths are asserted above.
        unsafe {
            s.store(self.floats_out.as_mut_ptr(), s.load(self.floats.as_ptr()));
            s.store_d(self.doubles_out.as_mut_ptr(), s.load_d(self.doubles.as_ptr()));
            s.to_array_h(s.load_h(self.floats.as_ptr().add(8)))
        }
    }
}

#[cfg(unix)]
#[test]
fn whole_loads_and_stores_are_exact() {
    use crate::common::Guarded;
    let mut rng = Rng::new(16);
    let (floats, doubles) = (rng.vec(LANES, Rng::any_f32), rng.vec(8, Rng::any_f64));
    for isa in isas() {
        let (from, from_d) = (Guarded::at_end(&floats), Guarded::at_end(&doubles));
        let (mut to, mut to_d) = (Guarded::at_end(&[0f32; 16]), Guarded::at_end(&[0f64; 8]));
        let kernel = Whole { floats: &from, doubles: &from_d, floats_out: &mut to, doubles_out: &mut to_d };
        let half = dispatch(isa, kernel);
        assert_eq!(bits(&to), bits(&floats), "{}", isa.name());
        assert_eq!(bits(&to_d), bits(&doubles), "{}", isa.name());
        assert_eq!(bits(&half), bits(&floats[8..]), "{}", isa.name());
    }
}

/// Four numbers of each of 16 rows.
#[cfg(unix)]
struct Quad<'a> {
    x: &'a [f32],
    row: usize,
}

#[cfg(unix)]
impl Kernel for Quad<'_> {
    type Out = [[f32; 16]; 4];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [[f32; 16]; 4] {
        assert!(15 * self.row + 4 <= self.x.len());
        let row = |r: usize| self.x[r * self.row..].as_ptr();
        // SAFETY: 4 floats of each of 16 rows are in x.
        let quad = unsafe { s.load_turned_quad([row(0), row(1), row(6), row(11)], self.row * size_of::<f32>()) };
        let mut out = [[0.0; 16]; 4];
        for (out, v) in out.iter_mut().zip(quad) {
            // SAFETY: a whole vector.
            unsafe { s.store(out.as_mut_ptr(), v) };
        }
        out
    }
}

/// On every instruction set, up to a guard page: no more than four numbers of the last row are read.
#[cfg(unix)]
#[test]
fn quads_of_rows_turn() {
    use crate::common::Guarded;
    for row in [4, 5, 64, 1025] {
        let x: Vec<f32> = (0..15 * row + 4).map(|i| i as f32).collect();
        let x = Guarded::at_end(&x);
        for isa in isas() {
            let got = dispatch(isa, Quad { x: &x, row });
            for (i, got) in got.iter().enumerate() {
                let want: Vec<f32> = (0..16).map(|r| (r * row + i) as f32).collect();
                assert_eq!(got[..], want[..], "number {i} of rows {row} apart on {isa:?}");
            }
        }
    }
}
