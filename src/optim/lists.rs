//! Lists of tensors: Rust's slices of slices and C's parallel arrays in one form.

use crate::element::Storage;
use crate::error::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;

/// Where the tensors of a list are: a Rust slice of slices, or the parallel arrays of the C contract.
#[derive(Clone, Copy)]
enum Repr<T> {
    Slices(*const *const [T]),
    #[cfg_attr(not(any(test, feature = "capi")), allow(dead_code))]
    Arrays {
        sizes: *const usize,
        tensors: *const *const T,
    },
}

impl<T: Storage> Repr<T> {
    /// Start and length of tensor `i`. The start of an empty tensor may be any pointer.
    ///
    /// # Safety
    /// `i` is below the list's length, and the list is still borrowed.
    #[inline]
    unsafe fn get(&self, i: usize) -> (*const T, usize) {
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
pub(crate) struct TensorList<'a, T = f32> {
    repr: Repr<T>,
    count: usize,
    lifetime: PhantomData<&'a [T]>,
}

// SAFETY: it is a borrowed `&[&[T]]` in another form, which may go to any thread.
unsafe impl<T: Storage> Send for TensorList<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Storage> Sync for TensorList<'_, T> {}

impl<'a, T: Storage> From<&'a [&'a [T]]> for TensorList<'a, T> {
    fn from(list: &'a [&'a [T]]) -> Self {
        // A `&[T]` and a `*const [T]` have the same layout.
        TensorList { repr: Repr::Slices(list.as_ptr().cast()), count: list.len(), lifetime: PhantomData }
    }
}

impl<'a, T: Storage> TensorList<'a, T> {
    /// The list that the C contract passes as parallel arrays.
    ///
    /// # Safety
    /// For `'a`, `sizes` and `tensors` hold `count` entries, and entry i of `tensors`, unless its size is 0, is valid
    /// for reading that many numbers, which nobody writes.
    #[cfg(any(test, feature = "capi"))]
    pub(crate) unsafe fn from_arrays(count: usize, sizes: *const usize, tensors: *const *const T) -> Self {
        TensorList { repr: Repr::Arrays { sizes, tensors }, count, lifetime: PhantomData }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn size(&self, i: usize) -> usize {
        assert!(i < self.count);
        // SAFETY: i is in bounds (asserted), and 'a keeps the list borrowed.
        unsafe { self.repr.get(i).1 }
    }

    /// Tensor `i`.
    #[inline]
    pub(crate) fn tensor(&self, i: usize) -> &'a [T] {
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
pub(crate) struct TensorListMut<'a, T = f32> {
    repr: Repr<T>,
    count: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a borrowed `&mut [&mut [T]]` in another form, which may go to any thread.
unsafe impl<T: Storage> Send for TensorListMut<'_, T> {}
// SAFETY: the only shared way to the elements is `piece`, whose contract keeps pieces disjoint.
unsafe impl<T: Storage> Sync for TensorListMut<'_, T> {}

impl<'a, T: Storage> From<&'a mut [&mut [T]]> for TensorListMut<'a, T> {
    fn from(list: &'a mut [&mut [T]]) -> Self {
        // A `&mut [T]` and a `*const [T]` have the same layout.
        TensorListMut { repr: Repr::Slices(list.as_mut_ptr().cast()), count: list.len(), lifetime: PhantomData }
    }
}

impl<'a, T: Storage> TensorListMut<'a, T> {
    /// The list that the C contract passes as parallel arrays.
    ///
    /// # Safety
    /// For `'a`, `sizes` and `tensors` hold `count` entries, and entry i of `tensors`, unless its size is 0, is valid
    /// for reading and writing that many numbers, which nobody else touches.
    #[cfg(any(test, feature = "capi"))]
    pub(crate) unsafe fn from_arrays(count: usize, sizes: *const usize, tensors: *const *mut T) -> Self {
        TensorListMut { repr: Repr::Arrays { sizes, tensors: tensors.cast() }, count, lifetime: PhantomData }
    }

    /// The same tensors, for reading while nothing is written.
    pub(crate) fn as_list(&self) -> TensorList<'_, T> {
        TensorList { repr: self.repr, count: self.count, lifetime: PhantomData }
    }

    /// Elements `range` of tensor `i` for one task.
    ///
    /// # Safety
    /// No two pieces that overlap, and no tensor of [`TensorListMut::as_list`], are alive at once.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub(crate) unsafe fn piece(&self, i: usize, range: Range<usize>) -> &mut [T] {
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
pub(crate) fn check_same<T: Storage>(
    function: &'static str,
    name: &str,
    list: TensorList<'_, T>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
