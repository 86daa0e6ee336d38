//! Lists of tensors, and how work over a whole list is cut: by elements, never by tensor.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::parallel::{Shared, Work};
use crate::reduce::CHUNK;
use std::marker::PhantomData;
use std::ops::Range;

/// Where the tensors of a list are: a Rust slice of slices, or the parallel arrays of the C contract.
#[derive(Clone, Copy)]
enum Repr {
    Slices(*const *const [f32]),
    #[cfg_attr(not(any(test, feature = "capi")), allow(dead_code))]
    Arrays {
        sizes: *const usize,
        tensors: *const *const f32,
    },
}

impl Repr {
    /// Start and length of tensor `i`. The start of an empty tensor may be any pointer.
    ///
    /// # Safety
    /// `i` is below the list's length, and the list is still borrowed.
    #[inline]
    unsafe fn get(&self, i: usize) -> (*const f32, usize) {
        // SAFETY: the arrays have an entry i (contract here and of the constructors). Only the entries are read.
        unsafe {
            match *self {
                Repr::Slices(slices) => {
                    let slice = *slices.add(i);
                    (slice.cast(), slice.len())
                }
                Repr::Arrays { sizes, tensors } => (*tensors.add(i), *sizes.add(i)),
            }
        }
    }
}

/// A list of tensors that are read.
#[derive(Clone, Copy)]
pub(crate) struct TensorList<'a> {
    repr: Repr,
    count: usize,
    lifetime: PhantomData<&'a [f32]>,
}

// SAFETY: it is a borrowed `&[&[f32]]` in another form, which may go to any thread.
unsafe impl Send for TensorList<'_> {}
// SAFETY: as above.
unsafe impl Sync for TensorList<'_> {}

impl<'a> From<&'a [&'a [f32]]> for TensorList<'a> {
    fn from(list: &'a [&'a [f32]]) -> Self {
        // A `&[f32]` and a `*const [f32]` have the same layout.
        TensorList { repr: Repr::Slices(list.as_ptr().cast()), count: list.len(), lifetime: PhantomData }
    }
}

impl<'a> TensorList<'a> {
    /// The list that the C contract passes as parallel arrays.
    ///
    /// # Safety
    /// For `'a`, `sizes` and `tensors` hold `count` entries, and entry i of `tensors`, unless its size is 0, is valid
    /// for reading that many floats, which nobody writes.
    #[cfg(any(test, feature = "capi"))]
    pub(crate) unsafe fn from_arrays(count: usize, sizes: *const usize, tensors: *const *const f32) -> Self {
        TensorList { repr: Repr::Arrays { sizes, tensors }, count, lifetime: PhantomData }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn size(&self, i: usize) -> usize {
        assert!(i < self.count);
        // SAFETY: i is in bounds (asserted), and 'a keeps the list borrowed.
        unsafe { self.repr.get(i).1 }
    }

    /// Tensor `i`.
    pub(crate) fn tensor(&self, i: usize) -> &'a [f32] {
        assert!(i < self.count);
        // SAFETY: i is in bounds (asserted), and 'a keeps the list borrowed.
        let (start, len) = unsafe { self.repr.get(i) };
        if len == 0 {
            return &[];
        }
        // SAFETY: valid for reading for 'a (constructors).
        unsafe { std::slice::from_raw_parts(start, len) }
    }
}

/// A list of tensors that are written, whose disjoint pieces several tasks write at once.
pub(crate) struct TensorListMut<'a> {
    repr: Repr,
    count: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a borrowed `&mut [&mut [f32]]` in another form, which may go to any thread.
unsafe impl Send for TensorListMut<'_> {}
// SAFETY: the only shared way to the elements is `piece`, whose contract keeps pieces disjoint.
unsafe impl Sync for TensorListMut<'_> {}

impl<'a> From<&'a mut [&mut [f32]]> for TensorListMut<'a> {
    fn from(list: &'a mut [&mut [f32]]) -> Self {
        // A `&mut [f32]` and a `*const [f32]` have the same layout.
        TensorListMut { repr: Repr::Slices(list.as_mut_ptr().cast()), count: list.len(), lifetime: PhantomData }
    }
}

impl<'a> TensorListMut<'a> {
    /// The list that the C contract passes as parallel arrays.
    ///
    /// # Safety
    /// For `'a`, `sizes` and `tensors` hold `count` entries, and entry i of `tensors`, unless its size is 0, is valid
    /// for reading and writing that many floats, which nobody else touches.
    #[cfg(any(test, feature = "capi"))]
    pub(crate) unsafe fn from_arrays(count: usize, sizes: *const usize, tensors: *const *mut f32) -> Self {
        TensorListMut { repr: Repr::Arrays { sizes, tensors: tensors.cast() }, count, lifetime: PhantomData }
    }

    /// The same tensors, for reading while nothing is written.
    pub(crate) fn as_list(&self) -> TensorList<'_> {
        TensorList { repr: self.repr, count: self.count, lifetime: PhantomData }
    }

    /// Elements `range` of tensor `i` for one task.
    ///
    /// # Safety
    /// No two pieces that overlap, and no tensor of [`TensorListMut::as_list`], are alive at once.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn piece(&self, i: usize, range: Range<usize>) -> &mut [f32] {
        assert!(i < self.count);
        // SAFETY: i is in bounds (asserted), and 'a keeps the list borrowed.
        let (start, len) = unsafe { self.repr.get(i) };
        assert!(range.start <= range.end && range.end <= len);
        if range.is_empty() {
            return &mut [];
        }
        // SAFETY: in bounds (asserted); writable for 'a (constructors); disjoint from every other piece (contract).
        unsafe { std::slice::from_raw_parts_mut(start.cast_mut().add(range.start), range.len()) }
    }
}

/// `list` must hold tensors of the same sizes as `like`, which is called `like_name`.
pub(crate) fn check_same(
    function: &'static str,
    name: &str,
    list: TensorList<'_>,
    like_name: &str,
    like: TensorList<'_>,
) -> Result {
    if list.count() != like.count() {
        let detail = format!("{name} holds {} tensors, but {like_name} holds {}", list.count(), like.count());
        return Err(Error::invalid_size(function, detail));
    }
    for i in 0..list.count() {
        if list.size(i) != like.size(i) {
            let detail =
                format!("{name}[{i}] holds {} elements, but {like_name}[{i}] holds {}", list.size(i), like.size(i));
            return Err(Error::invalid_size(function, detail));
        }
    }
    Ok(())
}

/// Chunks of the whole list: each tensor is cut into chunks of [`CHUNK`] elements, its last one shorter.
pub(crate) fn chunk_count(list: TensorList<'_>) -> usize {
    (0..list.count()).map(|i| list.size(i).div_ceil(CHUNK)).sum()
}

/// What a small tensor costs beside its elements, in elements.
const TENSOR_COST: usize = 128;

/// The list cut into tasks: a task is a run of chunks worth about one full chunk of work, so that neither thousands
/// of small tensors nor one large tensor is slow.
pub(crate) struct Plan<'a> {
    /// Where each task starts, and at the end where the last one stops: tensor, chunk in it, chunk of the list.
    starts: &'a [[usize; 3]],
    elements: usize,
}

/// One chunk of a list.
pub(crate) struct Chunk {
    /// Its number in the whole list.
    pub index: usize,
    pub tensor: usize,
    /// Its elements in the tensor.
    pub range: Range<usize>,
}

impl<'a> Plan<'a> {
    /// How many words of workspace a plan of `chunks` chunks takes.
    pub(crate) fn words(chunks: usize) -> usize {
        3 * (chunks + 1)
    }

    /// Cuts `list`, in a workspace of [`Plan::words`].
    pub(crate) fn new(list: TensorList<'_>, workspace: &'a mut [usize]) -> Plan<'a> {
        let starts = workspace.as_chunks_mut::<3>().0;
        let (mut tasks, mut weight, mut index, mut elements) = (0, CHUNK, 0, 0);
        for tensor in 0..list.count() {
            let size = list.size(tensor);
            elements += size;
            for chunk in 0..size.div_ceil(CHUNK) {
                if weight >= CHUNK {
                    starts[tasks] = [tensor, chunk, index];
                    tasks += 1;
                    weight = 0;
                }
                weight += CHUNK.min(size - chunk * CHUNK) + TENSOR_COST;
                index += 1;
            }
        }
        starts[tasks] = [list.count(), 0, index];
        Plan { starts: &starts[..=tasks], elements }
    }

    /// Calls `f` once for every chunk of `list`, which is the planned one or one of the same sizes, at about `ns`
    /// nanoseconds an element.
    pub(crate) fn for_each(&self, ctx: &Context, ns: f64, list: TensorList<'_>, f: impl Fn(Chunk) + Sync) {
        let tasks = self.starts.len() - 1;
        ctx.for_each(Work::elements(self.elements, ns), tasks, |task| {
            let [mut tensor, mut chunk, first] = self.starts[task];
            for index in first..self.starts[task + 1][2] {
                while chunk * CHUNK >= list.size(tensor) {
                    (tensor, chunk) = (tensor + 1, 0);
                }
                let size = list.size(tensor);
                f(Chunk { index, tensor, range: chunk * CHUNK..size.min((chunk + 1) * CHUNK) });
                chunk += 1;
            }
        });
    }

    /// As [`Plan::for_each`], keeping `PARTS` numbers of every chunk at `parts[chunk·PARTS ..]`.
    pub(crate) fn parts<const PARTS: usize>(
        &self,
        ctx: &Context,
        ns: f64,
        list: TensorList<'_>,
        parts: &mut [f64],
        f: impl Fn(Chunk) -> [f64; PARTS] + Sync,
    ) {
        let shared = Shared::new(parts);
        self.for_each(ctx, ns, list, |chunk| {
            let at = chunk.index * PARTS;
            let sums = f(chunk);
            // SAFETY: each chunk has its own PARTS elements.
            unsafe { shared.piece(at..at + PARTS) }.copy_from_slice(&sums);
        });
    }
}

/// Joins number `part` of `parts` of every chunk: chunk sums of a tensor in ascending order, handed to `each` with
/// the tensor's number, and tensor sums in ascending order.
pub(crate) fn join<const PARTS: usize>(
    list: TensorList<'_>,
    parts: &[f64],
    part: usize,
    mut each: impl FnMut(usize, f64),
) -> f64 {
    let mut chunks = parts.as_chunks::<PARTS>().0.iter();
    let mut total = 0.0;
    for tensor in 0..list.count() {
        let sum = chunks.by_ref().take(list.size(tensor).div_ceil(CHUNK)).fold(0.0, |sum, c| sum + c[part]);
        each(tensor, sum);
        total += sum;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Both forms of a list agree, empty tensors with a null pointer included.
    #[test]
    fn arrays_and_slices_agree() {
        let (mut a, mut b) = (vec![1.0f32, 2.0, 3.0], vec![4.0f32]);
        let sizes = [3usize, 0, 1];
        {
            let slices: [&[f32]; 3] = [&a, &[], &b];
            let tensors = [a.as_ptr(), std::ptr::null(), b.as_ptr()];
            // SAFETY: three entries each, of the sizes said.
            let arrays = unsafe { TensorList::from_arrays(3, sizes.as_ptr(), tensors.as_ptr()) };
            let list = TensorList::from(&slices[..]);
            assert_eq!(list.count(), arrays.count());
            for (i, slice) in slices.iter().enumerate() {
                assert_eq!(arrays.tensor(i), *slice);
                assert_eq!(list.tensor(i), *slice);
            }
        }
        let tensors = [a.as_mut_ptr(), std::ptr::null_mut(), b.as_mut_ptr()];
        // SAFETY: three entries each, of the sizes said, borrowed by nobody else.
        let arrays = unsafe { TensorListMut::from_arrays(3, sizes.as_ptr(), tensors.as_ptr()) };
        // SAFETY: the pieces are disjoint.
        unsafe {
            arrays.piece(0, 1..2)[0] = 7.0;
            assert!(arrays.piece(1, 0..0).is_empty());
            arrays.piece(2, 0..1)[0] = 8.0;
        }
        assert_eq!((a[1], b[0]), (7.0, 8.0));
    }

    /// Every element is visited once, whatever the sizes.
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
            assert!(sizes.len() < 100 || plan.starts.len() < sizes.len() / 50);
            let seen = Mutex::new(Vec::new());
            plan.for_each(&ctx, 1e3, list, |c| seen.lock().unwrap().push((c.index, c.tensor, c.range)));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_by_key(|s| s.0);
            let mut expected = Vec::new();
            for (tensor, &n) in sizes.iter().enumerate() {
                for start in (0..n).step_by(CHUNK) {
                    expected.push((expected.len(), tensor, start..n.min(start + CHUNK)));
                }
            }
            assert_eq!(seen, expected);
        }
    }
}
