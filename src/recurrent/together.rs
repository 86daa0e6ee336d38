//! Pieces that go through time together: every stage of all of them is done before the next begins.
//!
//! Nobody waits for a thread that is not there: a piece whose own worker is missing or late is taken by another. So the
//! stages also end on one thread, and on a host's threads that come one after the other.

use crate::context::Context;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Pieces at most.
pub(super) const MOST: usize = 64;

/// Turns of waiting until another's piece is taken: some microseconds.
const PATIENCE: usize = 100;
/// Turns of waiting until the CPU is given to others.
const YIELD: usize = 10_000;

/// What is known of one piece, in a line of its own.
#[repr(align(64))]
struct Mark {
    /// Stages that someone has begun.
    begun: AtomicUsize,
    /// Its worker has arrived.
    present: AtomicBool,
}

struct Together {
    marks: [Mark; MOST],
    /// Pieces of all stages that are done.
    done: AtomicUsize,
    /// Someone panicked.
    broken: AtomicBool,
}

/// Calls `f(worker, stage, piece)` for every stage and piece; there are as many workers as pieces, at most [`MOST`].
pub(super) fn together(ctx: &Context, pieces: usize, stages: usize, f: impl Fn(usize, usize, usize) + Sync) {
    assert!(pieces <= MOST);
    let all = Together {
        marks: [const { Mark { begun: AtomicUsize::new(0), present: AtomicBool::new(false) } }; MOST],
        done: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
    };
    ctx.for_each_worker(pieces, pieces, |worker, _| {
        let leave = Leave(&all.broken);
        all.marks[worker].present.store(true, Ordering::Relaxed);
        for stage in 0..stages {
            if !all.stage(stage, pieces, worker, &f) {
                break;
            }
        }
        std::mem::forget(leave);
    });
}

/// Tells the others when `f` unwinds.
struct Leave<'a>(&'a AtomicBool);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Together {
    /// False if someone panicked.
    fn stage(&self, stage: usize, pieces: usize, worker: usize, f: &impl Fn(usize, usize, usize)) -> bool {
        let end = (stage + 1) * pieces;
        let take = |piece: usize| {
            let begun = &self.marks[piece].begun;
            // All of this stage may begin: whoever is here saw the stage before end.
            if begun.compare_exchange(stage, stage + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                f(worker, stage, piece);
                self.done.fetch_add(1, Ordering::AcqRel);
            }
        };
        take(worker);
        let mut turns = 0usize;
        while self.done.load(Ordering::Acquire) < end {
            if self.broken.load(Ordering::Relaxed) {
                return false;
            }
            for piece in (0..pieces).filter(|&piece| piece != worker) {
                if turns >= PATIENCE || !self.marks[piece].present.load(Ordering::Relaxed) {
                    take(piece);
                }
            }
            turns += 1;
            if turns.is_multiple_of(YIELD) { std::thread::yield_now() } else { spin_loop() }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_ends_before_the_next_begins() {
        for threads in [1, 2, 3, 8] {
            let ctx = Context::builder().num_threads(threads).build().unwrap();
            let one_after_the_other = Context::builder()
                .num_threads(threads)
                .parallel_for(|tasks, task| (0..tasks).for_each(task))
                .build()
                .unwrap();
            for ctx in [ctx, one_after_the_other] {
                let (pieces, stages) = (threads, 200);
                let (count, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let runs: Vec<AtomicUsize> = (0..stages * pieces).map(|_| AtomicUsize::new(0)).collect();
                together(&ctx, pieces, stages, |_, stage, piece| {
                    if count.load(Ordering::Acquire) < stage * pieces {
                        late.fetch_add(1, Ordering::Relaxed);
                    }
                    runs[stage * pieces + piece].fetch_add(1, Ordering::Relaxed);
                    count.fetch_add(1, Ordering::AcqRel);
                });
                assert_eq!(late.into_inner(), 0);
                assert!(runs.iter().all(|n| n.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_ends_all() {
        let ctx = Context::builder().num_threads(3).build().unwrap();
        let run = std::panic::AssertUnwindSafe(|| {
            together(&ctx, 3, 50, |_, stage, piece| assert!(stage != 20 || piece != 1, "as planned"));
        });
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
