//! Timing by turns, and the machine's own ceilings.
//!
//! Shared machines drift, so a ratio is taken between contestants that run by turns in one process, each with the
//! best of many short samples.
#![allow(dead_code)] // Each bench uses its part.

pub mod bandwidth;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One contestant: a name and what it runs.
pub struct Entry<'a> {
    pub name: String,
    pub run: Box<dyn FnMut() + 'a>,
}

impl<'a> Entry<'a> {
    pub fn new(name: impl Into<String>, run: impl FnMut() + 'a) -> Entry<'a> {
        Entry { name: name.into(), run: Box::new(run) }
    }
}

/// Seconds that each contest lasts, for each entry: `EVENKEEL_BENCH_SECONDS`, else 0.2.
fn seconds() -> f64 {
    std::env::var("EVENKEEL_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0.2)
}

/// Rest between turns, until the idle threads of whoever ran before have stopped spinning: `EVENKEEL_BENCH_PAUSE` in
/// milliseconds, else none.
fn pause() -> Duration {
    Duration::from_millis(std::env::var("EVENKEEL_BENCH_PAUSE").ok().and_then(|s| s.parse().ok()).unwrap_or(0))
}

/// What each turn begins with after a rest.
const WARM_UP: Duration = Duration::from_millis(5);

/// The best seconds per run of each entry, by turns.
pub fn contest(entries: &mut [Entry<'_>]) -> Vec<f64> {
    // Samples of at least 30 µs, so that reading the clock does not count.
    let repeats: Vec<usize> = entries
        .iter_mut()
        .map(|e| {
            (e.run)();
            let start = Instant::now();
            (e.run)();
            (30e-6 / start.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e5) as usize
        })
        .collect();
    let mut best = vec![f64::INFINITY; entries.len()];
    let pause = pause();
    let end = Instant::now() + Duration::from_secs_f64(seconds() * entries.len() as f64);
    loop {
        for ((entry, repeats), best) in entries.iter_mut().zip(&repeats).zip(&mut best) {
            if !pause.is_zero() {
                // Then as long as threads take to wake up and to spread over the CPUs.
                std::thread::sleep(pause);
                let start = Instant::now();
                while start.elapsed() < WARM_UP {
                    (entry.run)();
                }
            }
            // A turn is several samples: the first ones after another contestant find cold caches.
            for _ in 0..5 {
                let start = Instant::now();
                for _ in 0..*repeats {
                    (entry.run)();
                }
                *best = best.min(start.elapsed().as_secs_f64() / *repeats as f64);
            }
        }
        if Instant::now() > end {
            return best;
        }
    }
}

/// Fused multiply-adds in GFLOP/s on one thread, by independent chains in the widest vectors of the machine.
pub fn fma_ceiling() -> f64 {
    let run = || -> f64 {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: detected.
                return unsafe { fma_avx512() };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: detected.
                return unsafe { fma_avx2() };
            }
        }
        f64::NAN
    };
    (0..20).map(|_| run()).fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
macro_rules! fma_chains {
    ($name:ident, $features:literal, $lanes:literal, $set:ident, $fma:ident) => {
        /// # Safety
        /// The features.
        #[target_feature(enable = $features)]
        unsafe fn $name() -> f64 {
            use std::arch::x86_64::*;
            const CHAINS: usize = 12;
            const STEPS: usize = 200_000;
            let (x, y) = ($set(black_box(0.999)), $set(black_box(0.001)));
            let mut chains = [$set(black_box(1.0)); CHAINS];
            let start = Instant::now();
            for _ in 0..STEPS {
                for c in &mut chains {
                    *c = $fma(*c, x, y);
                }
            }
            let seconds = start.elapsed().as_secs_f64();
            black_box(chains);
            (CHAINS * STEPS * $lanes * 2) as f64 / seconds / 1e9
        }
    };
}
#[cfg(target_arch = "x86_64")]
fma_chains!(fma_avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
fma_chains!(fma_avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);

/// Deterministic values in (−1, 1).
pub fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The words after `--bench` on the command line; a case runs when it contains one of them, or there are none.
pub fn selected(case: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|a| !a.starts_with('-')).peekable();
    words.peek().is_none() || words.any(|word| case.contains(&word))
}
