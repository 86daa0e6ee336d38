//! How work over a list of tensors is cut: by elements of the whole list, never by tensor.
//!
//! The tensors of a list stand one after another, as if they were one; that row is cut into chunks of [`CHUNK`]
//! elements. Sums belong to chunks, so that they are the same bits however the same elements are split into tensors.

use super::lists::TensorList;
use crate::context::Context;
use crate::element::Storage;
use crate::parallel::{Shared, Work};
use crate::reduce::CHUNK;
use std::ops::Range;

/// What a tensor costs beside its elements, in elements.
const TENSOR_COST: usize = 64;

/// A list cut into chunks, each a task.
pub(super) struct Plan<'a> {
    /// Where each chunk starts: a tensor and an element in it.
    starts: &'a [[usize; 2]],
    elements: usize,
    tensors: usize,
}

/// The elements of one tensor in one chunk.
pub(super) struct Piece {
    pub tensor: usize,
    /// In the tensor.
    pub range: Range<usize>,
    /// Where it starts in the chunk.
    pub at: usize,
}

/// All elements of a list.
fn elements<T: Storage>(list: TensorList<'_, T>) -> usize {
    (0..list.count()).map(|i| list.size(i)).sum()
}

/// Chunks of a list.
pub(super) fn chunk_count<T: Storage>(list: TensorList<'_, T>) -> usize {
    elements(list).div_ceil(CHUNK)
}

impl<'a> Plan<'a> {
    /// How many words of workspace a plan of `chunks` chunks takes.
    pub(super) fn words(chunks: usize) -> usize {
        2 * chunks
    }

    /// Cuts `list`, in a workspace of [`Plan::words`].
    pub(super) fn new<T: Storage>(list: TensorList<'_, T>, workspace: &'a mut [usize]) -> Plan<'a> {
        let starts = workspace.as_chunks_mut::<2>().0;
        let (mut chunks, mut before) = (0, 0);
        for tensor in 0..list.count() {
            let size = list.size(tensor);
            // The first element of a chunk lies in this tensor as long as it is below its end.
            while chunks * CHUNK < before + size {
                starts[chunks] = [tensor, chunks * CHUNK - before];
                chunks += 1;
            }
            before += size;
        }
        Plan { starts: &starts[..chunks], elements: before, tensors: list.count() }
    }

    pub(super) fn chunks(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of all elements as `T`.
    pub(super) fn bytes<T>(&self) -> usize {
        self.elements * size_of::<T>()
    }

    /// Calls `f` once for every chunk, at about `ns` nanoseconds an element. The order is descending if `back`: a second
    /// pass then begins with what the first one left in the caches.
    pub(super) fn for_each(&self, ctx: &Context, ns: f64, back: bool, f: impl Fn(usize) + Sync) {
        let chunks = self.chunks();
        let work = Work::elements(self.elements + self.tensors * TENSOR_COST, ns);
        ctx.for_each(work, chunks, |task| f(if back { chunks - 1 - task } else { task }));
    }

    /// Calls `f` once for every group of `size` chunks; the last one may have fewer.
    pub(super) fn groups(&self, ctx: &Context, ns: f64, size: usize, f: impl Fn(Range<usize>) + Sync) {
        let chunks = self.chunks();
        let work = Work::elements(self.elements + self.tensors * TENSOR_COST, ns);
        ctx.for_each(work, chunks.div_ceil(size), |task| f(task * size..chunks.min((task + 1) * size)));
    }

    /// As [`Plan::for_each`], keeping `PARTS` numbers of every chunk at `parts[chunk·PARTS ..]`.
    pub(super) fn parts<const PARTS: usize>(
        &self,
        ctx: &Context,
        ns: f64,
        back: bool,
        parts: &mut [f64],
        f: impl Fn(usize) -> [f64; PARTS] + Sync,
    ) {
        let shared = Shared::new(parts);
        self.for_each(ctx, ns, back, |chunk| {
            let sums = f(chunk);
            // SAFETY: each chunk has its own PARTS elements.
            unsafe { shared.piece(chunk * PARTS..(chunk + 1) * PARTS) }.copy_from_slice(&sums);
        });
    }

    /// The tensor and the range that a whole chunk is of, if it is of one tensor.
    pub(super) fn whole<T: Storage>(&self, list: TensorList<'_, T>, chunk: usize) -> Option<(usize, Range<usize>)> {
        let [tensor, start] = self.starts[chunk];
        (start + CHUNK <= list.size(tensor)).then_some((tensor, start..start + CHUNK))
    }

    /// The pieces of a chunk in ascending order, none of them empty. `list` is the planned one or one of the same sizes.
    pub(super) fn pieces<T: Storage>(&self, list: TensorList<'_, T>, chunk: usize) -> impl Iterator<Item = Piece> {
        let [mut tensor, mut start] = self.starts[chunk];
        let (mut at, end) = (0, CHUNK.min(self.elements - chunk * CHUNK));
        std::iter::from_fn(move || {
            if at == end {
                return None;
            }
            while list.size(tensor) == start {
                (tensor, start) = (tensor + 1, 0);
            }
            let n = (list.size(tensor) - start).min(end - at);
            let piece = Piece { tensor, range: start..start + n, at };
            (start, at) = (start + n, at + n);
            Some(piece)
        })
    }
}

/// The sum of chunk sums in ascending order, with what each addition rounds off carried along: its error is that of the
/// chunks alone, for any number of them.
pub(super) fn join(sums: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut rest) = (0.0f64, 0.0f64);
    for x in sums {
        let new = sum + x;
        let added = new - sum;
        rest += (sum - (new - added)) + (x - added);
        sum = new;
    }
    if sum.is_finite() { sum + rest } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Every element is visited once, in chunks of the whole list, whatever the sizes.
    #[test]
    fn plan_covers_everything_once() {
        let ctx = Context::builder().num_threads(3).build().unwrap();
        for sizes in
            [vec![], vec![0], vec![0, 0, 1, 0], vec![CHUNK - 1, 1, CHUNK, CHUNK + 1, 0, 3 * CHUNK, 5], vec![7; 4000]]
        {
            let tensors: Vec<Vec<f32>> = sizes.iter().map(|&n| vec![0.0; n]).collect();
            let slices: Vec<&[f32]> = tensors.iter().map(|t| &t[..]).collect();
            let list = TensorList::from(&slices[..]);
            let chunks = chunk_count(list);
            let mut workspace = vec![0; Plan::words(chunks)];
            let plan = Plan::new(list, &mut workspace);
            let seen = Mutex::new(Vec::new());
            plan.for_each(&ctx, 1e3, true, |chunk| {
                for p in plan.pieces(list, chunk) {
                    assert!(!p.range.is_empty());
                    let elements = p.range.clone().zip(chunk * CHUNK + p.at..);
                    seen.lock().unwrap().extend(elements.map(|(i, place)| (place, p.tensor, i)));
                }
            });
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            let all = sizes.iter().enumerate().flat_map(|(t, &n)| (0..n).map(move |i| (t, i)));
            let expected: Vec<_> = all.enumerate().map(|(place, (t, i))| (place, t, i)).collect();
            assert_eq!(seen, expected);
            assert_eq!((plan.elements, plan.chunks()), (expected.len(), expected.len().div_ceil(CHUNK)));
        }
    }

    #[test]
    fn join_loses_nothing() {
        // One large sum, then a million that are each lost beside it.
        let small = 2f64.powi(-54);
        let sums = || std::iter::once(1.0).chain(std::iter::repeat_n(small, 1 << 20));
        assert_eq!(sums().sum::<f64>(), 1.0);
        assert_eq!(join(sums()), 1.0 + small * (1 << 20) as f64);
        assert_eq!(join([1.0, f64::INFINITY, 2.0].into_iter()), f64::INFINITY);
        assert!(join([1.0, f64::NAN].into_iter()).is_nan());
        assert_eq!(join(std::iter::empty()), 0.0);
    }
}
