//! What the machine's memory does: copies, triads and reads, with plain and with non-temporal stores.
#![allow(dead_code)] // Each bench uses its part.

use std::hint::black_box;

/// A pool of `threads`, or the caller alone, that cuts streams evenly.
pub struct Streams {
    pool: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Streams {
    pub fn new(threads: usize) -> Streams {
        let pool = (threads > 1)
            .then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads for the ceilings"));
        Streams { pool, threads }
    }

    /// y = a, or y = a + b.
    pub fn write(&self, nontemporal: bool, a: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
        let piece = y.len().div_ceil(self.threads).next_multiple_of(1024);
        let run = |i: usize, y: &mut [f32]| {
            let range = i * piece..i * piece + y.len();
            stream(nontemporal, &a[range.clone()], b.map(|b| &b[range]), y);
        };
        match &self.pool {
            None => run(0, y),
            Some(pool) => pool.scope(|scope| {
                for (i, y) in y.chunks_mut(piece).enumerate() {
                    let run = &run;
                    scope.spawn(move |_| run(i, y));
                }
            }),
        }
    }

    /// x := x·1, in place.
    pub fn scale(&self, x: &mut [f32]) {
        let piece = x.len().div_ceil(self.threads).next_multiple_of(1024).max(1024);
        match &self.pool {
            None => scale(x),
            Some(pool) => pool.scope(|scope| x.chunks_mut(piece).for_each(|x| scope.spawn(move |_| scale(x)))),
        }
    }

    /// The sum of a, so that it is read.
    pub fn read(&self, a: &[f32]) {
        let piece = a.len().div_ceil(self.threads).next_multiple_of(1024).max(1024);
        match &self.pool {
            None => sum(a),
            Some(pool) => pool.scope(|scope| a.chunks(piece).for_each(|a| scope.spawn(move |_| sum(a)))),
        }
    }
}

fn stream(nontemporal: bool, a: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        // SAFETY: detected; all slices are of one length (write).
        return unsafe { stream_avx(nontemporal, a, b, y) };
    }
    let _ = nontemporal;
    match b {
        None => y.copy_from_slice(a),
        Some(b) => y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a + b),
    }
}

/// # Safety
/// AVX; slices of one length.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn stream_avx(nontemporal: bool, a: &[f32], b: Option<&[f32]>, y: &mut [f32]) {
    use std::arch::x86_64::*;
    let head = y.as_ptr().align_offset(32).min(y.len());
    let mut i = 0;
    while i < head {
        y[i] = a[i] + b.map_or(0.0, |b| b[i]);
        i += 1;
    }
    macro_rules! stream {
        ($store:ident, $value:expr) => {
            while i + 16 <= y.len() {
                // SAFETY: 16 elements from i lie within all slices, and y + i is aligned to 32.
                unsafe {
                    $store(y.as_mut_ptr().add(i), $value(i));
                    $store(y.as_mut_ptr().add(i + 8), $value(i + 8));
                }
                i += 16;
            }
        };
    }
    // SAFETY: the loops above stay within the slices.
    let copy = |i: usize| unsafe { _mm256_loadu_ps(a.as_ptr().add(i)) };
    match (nontemporal, b) {
        (true, None) => stream!(_mm256_stream_ps, copy),
        (false, None) => stream!(_mm256_store_ps, copy),
        (_, Some(b)) => {
            // SAFETY: as above.
            let add = |i: usize| unsafe { _mm256_add_ps(copy(i), _mm256_loadu_ps(b.as_ptr().add(i))) };
            if nontemporal { stream!(_mm256_stream_ps, add) } else { stream!(_mm256_store_ps, add) }
        }
    }
    while i < y.len() {
        y[i] = a[i] + b.map_or(0.0, |b| b[i]);
        i += 1;
    }
    _mm_sfence();
}

#[inline(never)]
fn scale(x: &mut [f32]) {
    let factor = black_box(1.0f32);
    x.iter_mut().for_each(|x| *x *= factor);
}

fn sum(a: &[f32]) {
    let mut lanes = [0.0f32; 64];
    for chunk in a.as_chunks::<64>().0 {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    black_box(lanes);
}
