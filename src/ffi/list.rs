//! Lists of tensors from C, as parallel arrays: `count`, `sizes`, and an array of pointers for each kind of tensor.

use super::tensor::{In, Span, check, check_alignment};
use crate::element::Storage;
use crate::error::{Error, Result, product};
use crate::optim::lists::{TensorList, TensorListMut};
use crate::scratch::Scratch;

/// The sizes, the members and the other arguments of one call.
const MOST_SPANS: usize = 12;

/// One array of pointers, each to a tensor of the list's sizes.
pub(super) struct Member {
    name: &'static str,
    /// Of any element.
    tensors: In<*const u8>,
    element: usize,
    output: bool,
}

impl Member {
    pub(super) fn input<T: Storage>(name: &'static str, count: usize, tensors: *const *const T) -> Member {
        Member { name, tensors: In::new(name, tensors.cast(), &[count]), element: size_of::<T>(), output: false }
    }

    pub(super) fn output<T: Storage>(name: &'static str, count: usize, tensors: *const *mut T) -> Member {
        Member { name, tensors: In::new(name, tensors.cast(), &[count]), element: size_of::<T>(), output: true }
    }

    /// NULL means that it is not given.
    pub(super) fn optional(mut self) -> Member {
        self.tensors = self.tensors.optional();
        self
    }

    fn given(&self) -> bool {
        // SAFETY: no element is looked at.
        unsafe { self.tensors.option() }.is_some()
    }
}

/// Where something starts and ends, and what it is.
type Place = [usize; 3];

/// All of `a` in ascending order, in one of two rooms of the same size. Merges runs that ascend already: the tensors of a list
/// mostly lie in memory as they were allocated, one after the other.
fn sorted<'a>(mut a: &'a mut [Place], mut b: &'a mut [Place]) -> &'a [Place] {
    loop {
        let run_from = |i: usize| (i + 1..a.len()).find(|&j| a[j] < a[j - 1]).unwrap_or(a.len());
        let mut i = 0;
        while i < a.len() {
            let middle = run_from(i);
            if i == 0 && middle == a.len() {
                return a;
            }
            let end = if middle < a.len() { run_from(middle) } else { middle };
            merge(&a[i..middle], &a[middle..end], &mut b[i..end]);
            i = end;
        }
        if a.is_empty() {
            return a;
        }
        std::mem::swap(&mut a, &mut b);
    }
}

/// x and y, both ascending, as one in `out`.
fn merge(x: &[Place], y: &[Place], out: &mut [Place]) {
    let (mut i, mut j) = (0, 0);
    for place in out {
        let left = j == y.len() || i < x.len() && x[i] <= y[j];
        *place = if left { x[i] } else { y[j] };
        (i, j) = (i + left as usize, j + !left as usize);
    }
}

/// The sizes of a list, and what checks its members.
pub(super) struct List {
    function: &'static str,
    count: usize,
    sizes: In<usize>,
}

impl List {
    pub(super) fn new(function: &'static str, count: usize, sizes: *const usize) -> List {
        List { function, count, sizes: In::new("sizes", sizes, &[count]) }
    }

    /// Every check on the arrays, on the tensors in them and on `others`, in the order of [`check`].
    ///
    /// # Safety
    /// Arrays that are not NULL hold `count` readable entries.
    pub(super) unsafe fn check(&self, members: &[&Member], others: &[&Span]) -> Result {
        let f = self.function;
        // On the stack: a call allocates nothing.
        let mut room: [&Span; MOST_SPANS] = [&self.sizes; MOST_SPANS];
        let arrays = members.iter().map(|m| &*m.tensors).chain(others.iter().copied());
        let used = 1 + room[1..].iter_mut().zip(arrays).map(|(place, span)| *place = span).count();
        assert!(used == 1 + members.len() + others.len());
        let spans = &room[..used];
        check(f, spans)?;
        // SAFETY: checked just now; readable (caller).
        let sizes = unsafe { self.sizes.slice() };
        for m in members.iter().filter(|m| m.given()) {
            // SAFETY: as above.
            let tensors = unsafe { m.tensors.slice() };
            if let Some(i) = (0..self.count).find(|&i| tensors[i].is_null() && sizes[i] != 0) {
                return Err(Error::null_pointer(f, format!("{}[{i}] is NULL", m.name)));
            }
        }
        for (i, &size) in sizes.iter().enumerate() {
            if product(f, "sizes", &[size]).is_err() {
                let detail = format!("sizes[{i}] is {size}, more than this machine can address");
                return Err(Error::invalid_size(f, detail));
            }
        }
        for m in members.iter().filter(|m| m.given()) {
            // SAFETY: as above.
            let tensors = unsafe { m.tensors.slice() };
            for i in (0..self.count).filter(|&i| sizes[i] != 0) {
                // An element is as aligned as it is large.
                if !tensors[i].addr().is_multiple_of(m.element) {
                    check_alignment(f, &format!("{}[{i}]", m.name), tensors[i].addr(), m.element)?;
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.check_overlap(members, spans) }
    }

    /// No tensor that is written overlaps anything: one pass over all of them in the order of their addresses.
    ///
    /// # Safety
    /// As for [`List::check`], and the arrays have passed the checks before.
    unsafe fn check_overlap(&self, members: &[&Member], spans: &[&Span]) -> Result {
        // SAFETY: checked; readable (caller).
        let sizes = unsafe { self.sizes.slice() };
        let kinds = members.len() + 1;
        let most = members.iter().filter(|m| m.given()).count() * self.count + spans.len();
        let mut scratch = Scratch::take::<usize>(self.function, 2 * 3 * most)?;
        let (ranges, room) = scratch.slice::<usize>(2 * 3 * most).as_chunks_mut::<3>().0.split_at_mut(most);
        let mut used = 0;
        let mut add = |start: usize, bytes: usize, what: usize| {
            if bytes != 0 {
                ranges[used] = [start, start.saturating_add(bytes), what];
                used += 1;
            }
        };
        for (kind, m) in members.iter().enumerate().filter(|(_, m)| m.given()) {
            // SAFETY: as above.
            for (i, tensor) in unsafe { m.tensors.slice() }.iter().enumerate() {
                add(tensor.addr(), sizes[i] * m.element, i * kinds + kind);
            }
        }
        for (i, span) in spans.iter().enumerate().filter(|(_, s)| !s.absent()) {
            add(span.address(), span.bytes(), i * kinds + members.len());
        }
        let ranges = sorted(&mut ranges[..used], &mut room[..used]);
        let output = |what: usize| match members.get(what % kinds) {
            Some(m) => m.output,
            None => spans[what / kinds].is_output(),
        };
        let name = |what: usize| match members.get(what % kinds) {
            Some(m) => format!("{}[{}]", m.name, what / kinds),
            None => spans[what / kinds].name.to_owned(),
        };
        // The furthest end so far, of all and of those written, and whose it is.
        let (mut any, mut written) = ((0, 0), (0, 0));
        for &[start, end, what] in ranges {
            let before = if output(what) { any } else { written };
            if start < before.0 {
                let (first, second) = if output(what) { (what, before.1) } else { (before.1, what) };
                let detail = format!("{} overlaps {}", name(first), name(second));
                return Err(Error::overlap(self.function, detail));
            }
            any = any.max((end, what));
            if output(what) {
                written = written.max((end, what));
            }
        }
        Ok(())
    }

    /// # Safety
    /// [`List::check`] passed with this member, whose elements are T, and the caller of the C function keeps its promise
    /// that each tensor is readable and written by nobody until it returns.
    pub(super) unsafe fn read<'a, T: Storage>(&self, member: &Member) -> TensorList<'a, T> {
        // SAFETY: checked, and the caller's promise.
        unsafe { TensorList::from_arrays(self.count, self.sizes.as_ptr(), member.tensors.as_ptr().cast()) }
    }

    /// # Safety
    /// [`List::check`] passed with this output, whose elements are T, and the caller of the C function keeps its promise
    /// that each tensor is writable and used by nobody else until it returns.
    pub(super) unsafe fn write<'a, T: Storage>(&self, member: &Member) -> TensorListMut<'a, T> {
        // SAFETY: checked, and the caller's promise.
        unsafe { TensorListMut::from_arrays(self.count, self.sizes.as_ptr(), member.tensors.as_ptr().cast()) }
    }

    /// As [`List::write`]; None where an optional member is not given.
    ///
    /// # Safety
    /// As for [`List::write`].
    pub(super) unsafe fn write_option<'a, T: Storage>(&self, member: &Member) -> Option<TensorListMut<'a, T>> {
        // SAFETY: the caller's promise.
        member.given().then(|| unsafe { self.write(member) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_into_one() {
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            ((state >> 33) % below) as usize
        };
        for n in [0, 1, 2, 3, 7, 100, 400] {
            for kind in 0..4 {
                let mut places: Vec<Place> = (0..n)
                    .map(|i| match kind {
                        0 => [i, i + 1, i],
                        1 => [n - i, n - i + 1, i],
                        // Three lists that interleave.
                        2 => [(i % (n / 3 + 1)) * 10 + i / (n / 3 + 1), 0, i],
                        _ => [draw(50), draw(3), i],
                    })
                    .collect();
                let mut want = places.clone();
                want.sort();
                assert_eq!(sorted(&mut places, &mut vec![[0; 3]; n]), want);
            }
        }
    }
}
