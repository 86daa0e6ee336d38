//! Sums whose order is fixed by the length alone.
//!
//! A long tensor is cut into chunks of [`CHUNK`] elements. Inside a chunk, element i adds into lane i mod 16 in f64,
//! and the lanes fold by halves; chunk sums join in ascending order. Threads only decide who computes a chunk.

use crate::context::Context;
use crate::error::Result;
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::{Number, Scratch};
use std::ops::Range;

/// Elements of a chunk.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Computes `parts` numbers of every chunk with `chunk(range)`, on as many threads as it is worth, and hands them to
/// `join` chunk by chunk in ascending order.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn chunks<T: Number + Send, const PARTS: usize>(
    function: &'static str,
    ctx: &Context,
    n: usize,
    ns: f64,
    chunk: impl Fn(Range<usize>) -> [T; PARTS] + Sync,
    mut join: impl FnMut([T; PARTS]),
) -> Result {
    let tasks = n.div_ceil(CHUNK);
    if tasks == 1 {
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        join(chunk(0..n));
        return Ok(());
    }
    let mut scratch = Scratch::take::<T>(function, tasks * PARTS)?;
    let parts = scratch.slice::<T>(tasks * PARTS);
    let shared = Shared::new(parts);
    ctx.for_each(Work::elements(n, ns), tasks, |task| {
        let sums = chunk(task * CHUNK..n.min((task + 1) * CHUNK));
        // SAFETY: each task has its own PARTS elements.
        unsafe { shared.piece(task * PARTS..(task + 1) * PARTS) }.copy_from_slice(&sums);
    });
    parts.as_chunks::<PARTS>().0.iter().for_each(|p| join(*p));
    Ok(())
}
