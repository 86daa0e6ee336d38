//! Conversions between f32 and the halves: every bit, everywhere; rounding by chance: where, how often, of what.

use crate::common::{
    Rng, assert_same_bits, context, exact_contexts, exact_isas, isas, off_halfway, quick, repeated, samples,
    specification,
};
use evenkeel::convert::*;
use evenkeel::{Context, Error, bf16, f16};

/// All conversions of x, and back of what came out, as bits.
fn everything(ctx: &Context, x: &[f32]) -> Vec<u32> {
    let n = x.len();
    let (mut b, mut h) = (vec![bf16::NAN; n], vec![f16::NAN; n]);
    let (mut wide_b, mut wide_h) = (vec![7.0f32; n], vec![7.0f32; n]);
    let mut all = Vec::new();
    convert_f32_to_bf16(ctx, x, &mut b).unwrap();
    convert_f32_to_f16(ctx, x, &mut h).unwrap();
    convert_bf16_to_f32(ctx, &b, &mut wide_b).unwrap();
    convert_f16_to_f32(ctx, &h, &mut wide_h).unwrap();
    all.extend(b.iter().map(|b| b.to_bits() as u32));
    all.extend(h.iter().map(|h| h.to_bits() as u32));
    all.extend([wide_b, wide_h].concat().iter().map(|x| x.to_bits()));
    convert_f32_to_bf16_stochastic(ctx, 5, x, &mut b).unwrap();
    convert_f32_to_f16_stochastic(ctx, 5, x, &mut h).unwrap();
    all.extend(b.iter().map(|b| b.to_bits() as u32));
    all.extend(h.iter().map(|h| h.to_bits() as u32));
    all
}

#[test]
fn same_bits_everywhere() {
    for n in [0, 1, 15, 16, 17, 31, 1000, 1023, 1024, 1025, 50_021] {
        let x = off_halfway(Rng::new(n as u64).vec(n, |r| r.any_f32()));
        let want = everything(&specification(), &x);
        for ctx in exact_contexts() {
            assert!(everything(&ctx, &x) == want, "{n} on {ctx:?}");
        }
    }
}

/// bf16 of f32, to nearest even, in integers.
fn bf16_of(x: f32) -> u16 {
    let (upper, lower) = ((x.to_bits() >> 16) as u16, x.to_bits() & 0xffff);
    if x.is_nan() {
        return upper | 0x0040;
    }
    upper + (lower > 0x8000 || lower == 0x8000 && upper & 1 == 1) as u16
}

/// f16 of f32, to nearest even, by f64, which holds every multiple of a half's last place.
fn f16_of(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & 0x8000;
    let size = x.abs() as f64;
    sign | if x.is_nan() {
        0x7e00 | (x.to_bits() >> 13) as u16 & 0x03ff
    } else if size >= 65520.0 {
        0x7c00
    } else if size < 2f64.powi(-14) {
        (size * 2f64.powi(24)).round_ties_even() as u16
    } else {
        let exponent = (size.to_bits() >> 52) as i32 - 1023;
        let steps = (size * f64::from_bits(((1023 + 10 - exponent) as u64) << 52)).round_ties_even() as i32;
        ((exponent + 15) * 1024 + steps - 1024) as u16
    }
}

fn assert_nearest(ctx: &Context, x: &[f32], b: &mut [bf16], h: &mut [f16]) {
    convert_f32_to_bf16(ctx, x, b).unwrap();
    convert_f32_to_f16(ctx, x, h).unwrap();
    for ((x, b), h) in x.iter().zip(b).zip(h) {
        let (want_b, want_h) = (bf16_of(*x), f16_of(*x));
        let what = || format!("{:#010x} on {}", x.to_bits(), ctx.isa().name());
        assert!(b.to_bits() == want_b, "bf16 of {}: {:#x}, not {want_b:#x}", what(), b.to_bits());
        assert!(h.to_bits() == want_h, "f16 of {}: {:#x}, not {want_h:#x}", what(), h.to_bits());
    }
}

#[test]
fn samples_of_every_exponent_are_nearest() {
    let mut rng = Rng::new(1);
    let mut x: Vec<f32> = (0..512u32)
        .flat_map(|e| {
            let corners = [0, 1, 0x1000, 0x0fff, 0x1001, 0x3000, 0x8000, 0x7fff, 0x8001, 0x1_8000, 0x7f_ffff, 0x19000];
            let random = rng.vec(samples(200), |r| r.u32() & 0x7f_ffff);
            corners.into_iter().chain(random).map(move |m| f32::from_bits(e << 23 | m))
        })
        .collect();
    // Ties among subnormal halves.
    x.extend((0..1024).map(|n| ((n as f64 + 0.5) * 2f64.powi(-24)) as f32));
    let x = off_halfway(x);
    for ctx in isas().map(|isa| context(isa, 1)) {
        assert_nearest(&ctx, &x, &mut vec![bf16::ZERO; x.len()], &mut vec![f16::ZERO; x.len()]);
    }
}

#[test]
fn every_half_widens_exactly() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        let all: Vec<u16> = (0..=0xffff).collect();
        let mut wide = vec![7.0f32; all.len()];
        let b: Vec<bf16> = all.iter().map(|&b| bf16::from_bits(b)).collect();
        convert_bf16_to_f32(&ctx, &b, &mut wide).unwrap();
        assert!(all.iter().zip(&wide).all(|(b, x)| x.to_bits() == (*b as u32) << 16));
        let h: Vec<f16> = all.iter().map(|&h| f16::from_bits(h)).collect();
        convert_f16_to_f32(&ctx, &h, &mut wide).unwrap();
        for (&h, x) in all.iter().zip(&wide) {
            let (exponent, fraction) = ((h >> 10 & 31) as i32, (h & 1023) as f64);
            let size = match exponent {
                0 => fraction * 2f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                e => (1.0 + fraction / 1024.0) * 2f64.powi(e - 15),
            };
            assert!(x.abs() as f64 == size || x.is_nan() && size.is_nan(), "{h:#x} is {x:e}");
            assert_eq!(x.is_sign_negative(), h >> 15 == 1, "{h:#x}");
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_beyond_the_ends_is_touched() {
    use crate::common::Guarded;
    for ctx in isas().map(|isa| context(isa, 1)) {
        for n in (0..=33).chain([1024, 1025]) {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            for place in [Guarded::at_end, Guarded::at_start] {
                let (x, mut b, mut back) = (place(&x), Guarded::at_end(&vec![bf16::NAN; n]), place(&vec![7.0f32; n]));
                convert_f32_to_bf16(&ctx, &x, &mut b).unwrap();
                convert_bf16_to_f32(&ctx, &b, &mut back).unwrap();
                convert_f32_to_bf16_stochastic(&ctx, 1, &x, &mut b).unwrap();
                // Integers to 256 are bf16.
                assert!(n > 256 || *back == *x && b.iter().zip(&*x).all(|(b, x)| b.to_f32() == *x));
            }
        }
    }
}

/// Outputs of 16 MiB go past the caches, from any alignment.
#[test]
fn large_outputs_are_the_same() {
    let n = (8 << 20) + 21;
    let x = off_halfway(repeated(&mut Rng::new(3), n, |r| f32::from_bits(r.u32())));
    for (isa, threads) in exact_isas().take(1).flat_map(|isa| [(isa, 1), (isa, 3)]) {
        let ctx = context(isa, threads);
        // Emulators: the odd place, one thread.
        for offset in if quick() { &[3][..(threads == 1) as usize] } else { &[0, 3] } {
            let offset = *offset;
            let (mut b, mut h, mut wide) = (vec![bf16::ZERO; n], vec![f16::ZERO; n], vec![0.0f32; n]);
            convert_f32_to_bf16(&ctx, &x[offset..], &mut b[offset..]).unwrap();
            convert_f32_to_f16(&ctx, &x[offset..], &mut h[offset..]).unwrap();
            assert!((offset..n).all(|i| b[i].to_bits() == bf16_of(x[i]) && h[i].to_bits() == f16_of(x[i])));
            convert_bf16_to_f32(&ctx, &b[offset..], &mut wide[offset..]).unwrap();
            assert!((offset..n).all(|i| wide[i].to_bits() == (b[i].to_bits() as u32) << 16));
            convert_f16_to_f32(&ctx, &h[offset..], &mut wide[offset..]).unwrap();
            assert!((offset..n).all(|i| wide[i].to_bits() == f32::from(h[i]).to_bits()));
        }
    }
}

/// The share of `ways` draws that round x up, and the two neighbours that occur.
fn shares<T: Copy + Into<f32>>(x: f32, to: impl Fn(&[f32], &mut [T]), zero: T) -> (f64, f32, f32) {
    let mut y = vec![zero; 1 << 16];
    to(&vec![x; y.len()], &mut y);
    let y: Vec<f32> = y.into_iter().map(Into::into).collect();
    let (low, high) = y.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), y| (a.min(*y), b.max(*y)));
    assert!(y.iter().all(|y| *y == low || *y == high), "{x:e}");
    (y.iter().filter(|y| **y == high).count() as f64 / y.len() as f64, low, high)
}

#[test]
fn chance_has_the_right_odds() {
    for ctx in isas().map(|isa| context(isa, 2)) {
        let to_bf16 = |x: &[f32], y: &mut [bf16]| convert_f32_to_bf16_stochastic(&ctx, 11, x, y).unwrap();
        let to_f16 = |x: &[f32], y: &mut [f16]| convert_f32_to_f16_stochastic(&ctx, 12, x, y).unwrap();
        let fits = |(share, low, high): (f64, f32, f32), x: f32, step: f64| {
            let odds = (x as f64 - low as f64) / step;
            // Five standard deviations of 2¹⁶ draws.
            let spread = 5.0 * (odds * (1.0 - odds) / 65536.0).sqrt() + 2f64.powi(-16);
            assert!((high as f64 - low as f64 - step).abs() < 1e-6 * step, "{x:e}: {low:e} to {high:e}");
            assert!((share - odds).abs() <= spread, "{x:e}: {share}, not {odds}");
        };
        for (x, step) in
            [(1.001f32, 1.0 / 128.0), (-1.003, 1.0 / 128.0), (3.1e-39, 2f64.powi(-133)), (0.3, 1.0 / 512.0)]
        {
            fits(shares(x, to_bf16, bf16::ZERO), x, step);
        }
        for (x, step) in [
            (1.0001f32, 1.0 / 1024.0),
            (-1.0007, 1.0 / 1024.0),
            (60001.0, 32.0),
            (3.0e-8, 2f64.powi(-24)),
            (-1.37e-5, 2f64.powi(-24)),
            (6.1e-5, 2f64.powi(-24)),
        ] {
            fits(shares(x, to_f16, f16::ZERO), x, step);
        }
    }
}

#[test]
fn chance_leaves_what_fits_and_what_is_no_number() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        let all: Vec<u16> = (0..=0xffff).collect();
        let x: Vec<f32> = all.iter().map(|&b| f32::from_bits((b as u32) << 16)).collect();
        let mut b = vec![bf16::ZERO; x.len()];
        convert_f32_to_bf16_stochastic(&ctx, 1, &x, &mut b).unwrap();
        let same = |i: usize, got: u16, quiet: u16| got == if x[i].is_nan() { all[i] | quiet } else { all[i] };
        assert!((0..x.len()).all(|i| same(i, b[i].to_bits(), 0x40)));
        let x: Vec<f32> = all.iter().map(|&h| f16::from_bits(h).to_f32()).collect();
        let mut h = vec![f16::ZERO; x.len()];
        convert_f32_to_f16_stochastic(&ctx, 1, &x, &mut h).unwrap();
        let same = |i: usize, got: u16, quiet: u16| got == if x[i].is_nan() { all[i] | quiet } else { all[i] };
        assert!((0..x.len()).all(|i| same(i, h[i].to_bits(), 0x200)));
        // Payloads that a half cannot keep, and the ends of the range.
        let odd =
            [f32::from_bits(0x7f80_0001), f32::from_bits(0xff80_ffff), f32::INFINITY, 65536.0, -1e30, 1e-40, 0.0, -0.0];
        let mut h = [f16::ZERO; 8];
        convert_f32_to_f16_stochastic(&ctx, 1, &odd, &mut h).unwrap();
        assert!(h[0].is_nan() && h[1].is_nan() && h[1].is_sign_negative());
        assert_eq!(h[2..].iter().map(|h| h.to_bits()).collect::<Vec<_>>(), [0x7c00, 0x7c00, 0xfc00, 0, 0, 0x8000]);
        let mut b = [bf16::ZERO; 8];
        convert_f32_to_bf16_stochastic(&ctx, 1, &odd, &mut b).unwrap();
        assert!(b[0].is_nan() && b[1].is_nan() && b[1].is_sign_negative() && b[2] == bf16::INFINITY);
    }
}

/// Element i depends on the seed, i and xᵢ alone; another seed draws anew.
#[test]
fn chance_depends_on_seed_and_place_alone() {
    let ctx = context(isas().next().unwrap(), 1);
    let x = Rng::new(4).vec(40_000, |r| r.normal());
    let draw = |seed, n: usize| {
        let mut y = vec![bf16::ZERO; n];
        convert_f32_to_bf16_stochastic(&ctx, seed, &x[..n], &mut y).unwrap();
        y.into_iter().map(f32::from).collect::<Vec<f32>>()
    };
    let whole = draw(1, x.len());
    for n in [1, 17, 1025, 30_000] {
        assert_same_bits("a prefix", &draw(1, n), &whole[..n]);
    }
    let other = draw(2, x.len());
    let differ = whole.iter().zip(&other).filter(|(a, b)| a != b).count();
    // Two draws differ with probability 2p(1 − p), on average a third.
    assert!((0.3..0.37).contains(&(differ as f64 / x.len() as f64)), "{differ}");
    // The mean over seeds is x.
    let mut mean = vec![0.0f64; 100];
    (0..4000).for_each(|seed| mean.iter_mut().zip(draw(seed, 100)).for_each(|(m, y)| *m += y as f64 / 4000.0));
    for (x, m) in x.iter().zip(&mean) {
        let step = x.abs() as f64 / 128.0;
        assert!((*x as f64 - m).abs() < 5.0 * 0.5 * step / 4000f64.sqrt(), "{x} {m}");
    }
}

#[test]
fn lengths_must_agree() {
    let ctx = context(isas().next().unwrap(), 1);
    let (x, mut y) = ([1.0f32; 3], [bf16::ZERO; 2]);
    for result in [convert_f32_to_bf16(&ctx, &x, &mut y), convert_f32_to_bf16_stochastic(&ctx, 1, &x, &mut y)] {
        let Err(Error::InvalidSize { function, detail }) = result else { panic!("accepted") };
        assert!(function.starts_with("convert_f32_to_bf16") && detail == "y holds 2 elements, expected 3", "{detail}");
    }
    assert_eq!(y, [bf16::ZERO; 2]);
}
