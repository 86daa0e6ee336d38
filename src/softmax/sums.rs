//! The first two passes over a row: its maximum, and the sum of its exponentials.

use super::pass::Pass;
use crate::simd::{LANES, Simd};
use crate::vecmath;
use std::mem::MaybeUninit;

/// Columns that add in f32, 16 to a lane, before f64 takes over.
pub(super) const BLOCK: usize = 256;

/// The largest of `n` floats at x, NaN passed over; −Inf if there is none.
///
/// # Safety
/// x is valid for reading `n` floats.
#[inline(always)]
pub(super) unsafe fn max<S: Simd>(s: S, x: *const f32, n: usize) -> f32 {
    let low = s.splat(f32::NEG_INFINITY);
    let mut m = [low; 4];
    let mut i = 0;
    // SAFETY: every load ends at or before n.
    unsafe {
        while !S::COMPACT && i + 4 * LANES <= n {
            for k in 0..4 {
                s.prefetch_far(x.wrapping_add(i + k * LANES + AHEAD));
            }
            m[0] = s.max(s.load(x.add(i)), m[0]);
            m[1] = s.max(s.load(x.add(i + LANES)), m[1]);
            m[2] = s.max(s.load(x.add(i + 2 * LANES)), m[2]);
            m[3] = s.max(s.load(x.add(i + 3 * LANES)), m[3]);
            i += 4 * LANES;
        }
        while i < n {
            let v = s.load_up_to(x.add(i), n - i);
            m[0] = s.max(s.select(s.first((n - i).min(LANES)), v, low), m[0]);
            i += LANES;
        }
    }
    if S::COMPACT {
        return s.max_lane(m[0]);
    }
    s.max_lane(s.max(s.max(m[0], m[1]), s.max(m[2], m[3])))
}

/// Elements from one that is read for the first time to one that is asked for: they come while exponentials are computed.
pub(super) const AHEAD: usize = 4096;

/// Each lane's number.
const COLUMNS: [f32; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// [`max`] and the first column that holds it, of a short row; any column if the maximum is −Inf.
///
/// # Safety
/// x is valid for reading `n` ≤ 2²⁴ floats.
#[inline(always)]
pub(super) unsafe fn max_and_column<S: Simd>(s: S, x: *const f32, n: usize) -> (f32, f32) {
    let (mut most, mut at) = (s.splat(f32::NEG_INFINITY), s.from_array(COLUMNS));
    let (mut column, step) = (at, s.splat(LANES as f32));
    let mut i = 0;
    // SAFETY: every load ends at or before n.
    unsafe {
        while i + LANES <= n {
            s.prefetch_far(x.wrapping_add(i + AHEAD));
            let v = s.load(x.add(i));
            at = s.select(s.gt(v, most), column, at);
            most = s.max(v, most);
            column = s.add(column, step);
            i += LANES;
        }
        if i < n {
            let v = s.load_first(x.add(i), n - i);
            let more = s.and_m(s.gt(v, most), s.first(n - i));
            at = s.select(more, column, at);
            most = s.select(more, v, most);
        }
    }
    let top = s.max_lane(most);
    let first = s.select(s.eq(most, s.splat(top)), at, s.splat(f32::INFINITY));
    (top, s.min_lane(first))
}

/// Vectors that go through half an exponential, and then through the other half.
pub(super) const STAGE: usize = 8;

/// The element that a sum leaves out.
pub(super) enum LeaveOut<'a> {
    /// The first that equals the maximum, while this is set; then it is cleared.
    First(&'a mut bool),
    /// The one in this column.
    Column(f32),
}

/// Sums exp(x − m), and max − x, over one chunk; stores the exponentials in y; both as the pass has it.
///
/// # Safety
/// x is valid for reading `n` floats, and y for writing them if the pass writes; y may be x.
#[inline(always)]
pub(super) unsafe fn exp_sum<S: Simd, P: Pass>(
    s: S,
    pass: &P,
    x: *const f32,
    y: *mut f32,
    n: usize,
    m: f32,
    mut leave_out: LeaveOut<'_>,
) -> (f64, f64) {
    let (writes, drops) = (pass.writes(), pass.drops());
    let m = s.splat(m);
    let low = s.splat(f32::NEG_INFINITY);
    let (mut sum_low, mut sum_high) = (s.splat_d(0.0), s.splat_d(0.0));
    let (mut drop_low, mut drop_high) = (s.splat_d(0.0), s.splat_d(0.0));
    let (mut column, step) = (s.from_array(COLUMNS), s.splat(LANES as f32));
    // Exponentials that nobody wants go here: a store in any case is cheaper than a branch.
    let mut nowhere = [const { MaybeUninit::<S::F>::uninit() }; STAGE];
    let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; STAGE];
    let mut i = 0;
    while i < n {
        let end = n.min(i + BLOCK);
        let (mut sum, mut drop) = (s.zero(), s.zero());
        while !S::COMPACT && i + LANES <= end {
            let count = ((end - i) / LANES).min(STAGE);
            for (k, half) in halves[..count].iter_mut().enumerate() {
                // SAFETY: count vectors end at or before n.
                let below = s.sub(unsafe { s.load(x.add(i + k * LANES)) }, m);
                if drops {
                    drop = s.sub(drop, below);
                }
                half.write(vecmath::exp_fall_start(s, below));
            }
            let to = if writes { y.wrapping_add(i) } else { nowhere.as_mut_ptr().cast() };
            for (k, half) in halves[..count].iter().enumerate() {
                let at = i + k * LANES;
                // SAFETY: just written.
                let mut e = vecmath::exp_fall_end(s, unsafe { half.assume_init() });
                let out = match &mut leave_out {
                    LeaveOut::First(pending) if **pending => {
                        // SAFETY: as above, and read before it is written.
                        let x = unsafe { s.load(x.add(at)) };
                        let found = s.bits_m(s.eq(x, m));
                        without_first(s, found, e, pending)
                    }
                    LeaveOut::First(_) => e,
                    LeaveOut::Column(left_out) => {
                        let here = s.eq(column, s.splat(*left_out));
                        column = s.add(column, step);
                        s.select(here, s.zero(), e)
                    }
                };
                if P::STORE {
                    // SAFETY: as above; the buffer holds STAGE vectors.
                    unsafe { s.store(to.add(k * LANES), e) };
                }
                e = out;
                sum = s.add(sum, e);
            }
            i += count * LANES;
        }
        while i < end {
            let rest = if S::COMPACT { LANES.min(end - i) } else { end - i };
            let inside = s.first(rest);
            // SAFETY: masked at n, where a block that is no multiple of 16 ends.
            let v = unsafe { s.select(inside, s.load_first(x.add(i), rest), low) };
            let below = s.sub(v, m);
            let mut e = vecmath::exp_fall(s, below);
            if P::STORE && writes {
                // SAFETY: as above.
                unsafe { s.store_first(y.add(i), e, rest) };
            }
            if drops {
                drop = s.sub(drop, s.select(inside, below, s.zero()));
            }
            e = match &mut leave_out {
                LeaveOut::First(pending) if **pending => without_first(s, s.bits_m(s.eq(v, m)), e, pending),
                LeaveOut::First(_) => e,
                LeaveOut::Column(left_out) => {
                    let here = s.eq(column, s.splat(*left_out));
                    column = s.add(column, step);
                    s.select(here, s.zero(), e)
                }
            };
            sum = s.add(sum, e);
            i += rest;
        }
        let (a, b) = s.widen(sum);
        (sum_low, sum_high) = (s.add_d(sum_low, a), s.add_d(sum_high, b));
        if drops {
            let (a, b) = s.widen(drop);
            (drop_low, drop_high) = (s.add_d(drop_low, a), s.add_d(drop_high, b));
        }
    }
    (s.sum_dd(sum_low, sum_high), if drops { s.sum_dd(drop_low, drop_high) } else { 0.0 })
}

/// e, zero in the first lane that `found` has a bit for, if any; then nothing is pending.
#[inline(always)]
fn without_first<S: Simd>(s: S, found: u32, e: S::F, pending: &mut bool) -> S::F {
    if found == 0 {
        return e;
    }
    *pending = false;
    let lane = found.trailing_zeros() as usize;
    s.select(s.and_m(s.first(lane + 1), s.not_m(s.first(lane))), s.zero(), e)
}

/// The maximum as the second pass takes it, and whether the row is empty.
#[inline(always)]
pub(super) fn pivot(max: f32) -> (f32, bool) {
    if max == f32::NEG_INFINITY { (0.0, true) } else { (max, false) }
}

/// A softmax of a row with +Inf does not exist.
#[inline(always)]
pub(super) fn checked_rest(max: f32, rest: f64) -> f64 {
    if max == f32::INFINITY { f64::NAN } else { rest }
}
