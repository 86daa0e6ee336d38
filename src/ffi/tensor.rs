//! Pointers from C: every check on them, and the only place where they become slices.

use crate::error::{Error, Result, product};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

/// Where an argument lies and what it holds, without its type. Each of its fields is code in every C function.
pub(super) struct Span {
    pub(super) name: &'static str,
    ptr: *const u8,
    dims: [usize; 4],
    /// Elements from the first to the last, set by [`check`]; none before.
    len: Cell<usize>,
    kind: Kind,
    /// Name and value of the leading dimension, and the name of the row's length.
    leading: Option<(&'static str, usize, &'static str)>,
    /// Elements from one matrix to the next, where the first dimension counts matrices.
    stride: Option<usize>,
    /// Inputs that this output may equal exactly.
    may_be: &'static [&'static str],
}

/// What an argument is, as one word.
#[derive(Clone, Copy)]
struct Kind {
    element_size: u8,
    element_align: u8,
    optional: bool,
    output: bool,
}

impl Span {
    #[inline]
    fn new<T>(name: &'static str, ptr: *const T, dims: &[usize], output: bool) -> Span {
        // By a match: what was copied into an array piece by piece would be moved on by whole vectors, which waits for the
        // stores, in every call.
        let dims = match *dims {
            [d] => [1, 1, 1, d],
            [c, d] => [1, 1, c, d],
            [b, c, d] => [1, b, c, d],
            [a, b, c, d] => [a, b, c, d],
            _ => unreachable!("{name} has {} dimensions", dims.len()),
        };
        let (element_size, element_align) = const { (size_of::<T>() as u8, align_of::<T>() as u8) };
        Span {
            name,
            ptr: ptr.cast(),
            dims,
            len: Cell::new(0),
            kind: Kind { element_size, element_align, optional: false, output },
            leading: None,
            stride: None,
            may_be: &[],
        }
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// NULL and allowed to be: nothing else is asked of it.
    #[inline]
    pub(super) fn absent(&self) -> bool {
        self.ptr.is_null()
    }

    #[inline]
    pub(super) fn address(&self) -> usize {
        self.ptr.addr()
    }

    #[inline]
    fn element_align(&self) -> usize {
        self.kind.element_align.into()
    }

    /// Once checked.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.len() * usize::from(self.kind.element_size)
    }

    pub(super) fn is_output(&self) -> bool {
        self.kind.output
    }

    /// Elements from the first to the last, or the error of a product that overflows. A leading dimension below the row
    /// length, which is the next check's error, counts as the row length.
    #[inline]
    fn checked_len(&self, function: &'static str) -> Result<usize> {
        let [a, b, c, d] = self.dims;
        if self.leading.is_none()
            && let Some(len) = a.checked_mul(b).and_then(|v| v.checked_mul(c)).and_then(|v| v.checked_mul(d))
            && len <= isize::MAX as usize / size_of::<f64>()
        {
            return Ok(len);
        }
        self.checked_len_strided(function)
    }

    /// [`Span::checked_len`] of all others.
    fn checked_len_strided(&self, function: &'static str) -> Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let [.., items, rows, cols] = self.dims;
        let Some((_, ld, _)) = self.leading else { return product(function, self.name, self.shape()) };
        let ld = ld.max(cols);
        let item = product(function, self.name, &[rows, ld])?;
        let between = match self.stride {
            None => 0,
            Some(stride) => {
                product(function, self.name, &[items, stride.max(item)])?;
                (items - 1) * stride
            }
        };
        Ok(between + (rows - 1) * ld + cols)
    }

    /// Whether it is small, aligned, contiguous and not NULL, so that nothing is left to check but overlaps. Sets the length.
    #[inline]
    fn is_plain(&self) -> bool {
        let [a, b, c, d] = self.dims;
        // The product of four such numbers does not overflow.
        const SMALL: usize = 1 << (usize::BITS / 4 - 1);
        self.len.set(a.wrapping_mul(b).wrapping_mul(c.wrapping_mul(d)));
        (a | b | c | d) < SMALL
            && self.leading.is_none()
            && !self.absent()
            && self.address() & (self.element_align() - 1) == 0
    }

    fn shape(&self) -> &[usize] {
        let first = self.dims.iter().position(|&d| d != 1).unwrap_or(3);
        &self.dims[first..]
    }

    /// Once checked.
    #[inline]
    fn len(&self) -> usize {
        self.len.get()
    }

    #[inline]
    fn end(&self) -> usize {
        self.address().saturating_add(self.bytes())
    }

    #[inline]
    fn overlaps(&self, other: &Span) -> bool {
        let both = !self.is_empty() && !other.is_empty() && !self.absent() && !other.absent();
        both && self.address() < other.end() && other.address() < self.end()
    }

    /// Whether both are the same memory exactly, and there is any.
    #[inline]
    pub(super) fn is(&self, other: &Span) -> bool {
        self.ptr == other.ptr && self.len() == other.len() && !self.is_empty() && !self.absent()
    }

    #[inline]
    fn allows(&self, other: &Span) -> bool {
        self.may_be.contains(&other.name) && self.is(other)
    }
}

/// Every check on pointers, in this order for all arguments: NULL, sizes, leading dimensions, alignment, overlap.
pub(super) fn check(function: &'static str, spans: &[&Span]) -> Result {
    // Small calls feel every branch: what is plainly right is seen at one look.
    if !spans.iter().all(|s| s.is_plain()) {
        check_each(function, spans)?;
    }
    for (i, a) in spans.iter().enumerate() {
        for b in &spans[i + 1..] {
            // The output first: it is the argument at fault.
            let (output, other) = if b.kind.output { (b, a) } else { (a, b) };
            if output.kind.output && output.overlaps(other) && !output.allows(other) {
                return Err(Error::overlap(function, format!("{} overlaps {}", output.name, other.name)));
            }
        }
    }
    Ok(())
}

/// [`check`] of each argument by itself.
fn check_each(function: &'static str, spans: &[&Span]) -> Result {
    for s in spans {
        if s.absent() && !s.kind.optional && !s.is_empty() {
            return Err(Error::null_pointer(function, format!("{} is NULL", s.name)));
        }
    }
    for s in spans {
        s.len.set(s.checked_len(function)?);
    }
    for s in spans {
        let [.., cols] = s.dims;
        if let Some((ld_name, ld, dim)) = s.leading
            && ld < cols
        {
            let detail = format!("{ld_name} is {ld} but rows of {} hold {dim} = {cols} elements", s.name);
            return Err(Error::invalid_size(function, detail));
        }
    }
    for s in spans {
        check_alignment(function, s.name, s.address(), s.element_align())?;
    }
    Ok(())
}

/// Pointers need the alignment of their element and no more.
#[inline]
pub(super) fn check_alignment(function: &'static str, name: &str, address: usize, align: usize) -> Result {
    // A power of two, for which the compiler would divide.
    if address & (align - 1) == 0 {
        return Ok(());
    }
    misaligned(function, name, address, align)
}

#[cold]
fn misaligned(function: &'static str, name: &str, address: usize, align: usize) -> Result {
    let detail = format!("{name} is at address {address:#x}, which is not aligned to {align} bytes");
    Err(Error::invalid_argument(function, detail))
}

/// A `const T *` of C.
pub(super) struct In<T> {
    span: Span,
    element: PhantomData<*const T>,
}

/// A `T *` of C that is written.
pub(super) struct Out<T> {
    span: Span,
    element: PhantomData<*mut T>,
}

macro_rules! builders {
    ($($name:ident)*) => {$(
        impl<T> $name<T> {
            /// The leading dimension: its name and value, and what the row's length is called.
            #[inline]
            pub(super) fn leading(mut self, name: &'static str, value: usize, row: &'static str) -> Self {
                self.span.leading = Some((name, value, row));
                self
            }

            /// The first dimension counts matrices that begin `stride` elements apart; they may overlap.
            #[inline]
            pub(super) fn items(mut self, stride: usize) -> Self {
                self.span.stride = Some(stride);
                self
            }

            /// NULL means that it is not given.
            #[inline]
            pub(super) fn optional(mut self) -> Self {
                self.span.kind.optional = true;
                self
            }
        }

        impl<T> Deref for $name<T> {
            type Target = Span;
            #[inline]
            fn deref(&self) -> &Span {
                &self.span
            }
        }
    )*};
}
builders! { In Out }

impl<T> In<T> {
    #[inline]
    pub(super) fn new(name: &'static str, ptr: *const T, dims: &[usize]) -> In<T> {
        In { span: Span::new(name, ptr, dims, false), element: PhantomData }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> *const T {
        self.span.ptr.cast()
    }

    /// # Safety
    /// [`check`] passed with this argument, and the caller of the C function keeps its promise that as many elements
    /// are readable and nobody writes them until it returns.
    #[inline]
    pub(super) unsafe fn slice<'a>(&self) -> &'a [T] {
        let len = self.len();
        let ptr = if len == 0 { NonNull::dangling().as_ptr() } else { self.as_ptr() };
        // SAFETY: not NULL, aligned, and the length in bytes fits isize (check); readable (caller).
        unsafe { std::slice::from_raw_parts(ptr, len) }
    }

    /// None where an optional argument is NULL.
    ///
    /// # Safety
    /// As for [`In::slice`].
    #[inline]
    pub(super) unsafe fn option<'a>(&self) -> Option<&'a [T]> {
        // SAFETY: the caller's promise.
        (!self.absent()).then(|| unsafe { self.slice() })
    }
}

impl<T> Out<T> {
    #[inline]
    pub(super) fn new(name: &'static str, ptr: *mut T, dims: &[usize]) -> Out<T> {
        Out { span: Span::new(name, ptr.cast_const(), dims, true), element: PhantomData }
    }

    /// The inputs that it may equal exactly; the function then works in place.
    #[inline]
    pub(super) fn may_be(mut self, inputs: &'static [&'static str]) -> Self {
        self.span.may_be = inputs;
        self
    }

    /// # Safety
    /// [`check`] passed with this argument; no slice of an input that it [`Span::is`] is alive; and the caller of the C
    /// function keeps its promise that as many initialised elements are writable, and used by nobody else until it
    /// returns.
    #[inline]
    pub(super) unsafe fn slice<'a>(&self) -> &'a mut [T] {
        let len = self.len();
        let ptr = if len == 0 { NonNull::dangling().as_ptr() } else { self.span.ptr.cast_mut().cast() };
        // SAFETY: not NULL, aligned, the length in bytes fits isize, and it overlaps no other slice (check); writable
        // (caller).
        unsafe { std::slice::from_raw_parts_mut(ptr, len) }
    }

    /// None where an optional argument is NULL.
    ///
    /// # Safety
    /// As for [`Out::slice`].
    #[inline]
    pub(super) unsafe fn option<'a>(&self) -> Option<&'a mut [T]> {
        // SAFETY: the caller's promise.
        (!self.absent()).then(|| unsafe { self.slice() })
    }

    /// One value. None where an optional argument is NULL.
    ///
    /// # Safety
    /// As for [`Out::slice`].
    pub(super) unsafe fn value<'a>(&self) -> Option<&'a mut T> {
        // SAFETY: the caller's promise.
        unsafe { self.option() }?.first_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: &str = "f";

    fn message(spans: &[&Span]) -> String {
        check(F, spans).unwrap_err().to_string()
    }

    #[test]
    fn the_checks_come_in_order_and_name_the_numbers() {
        let mut data = [0f32; 32];
        let p = data.as_mut_ptr();
        let odd = p.wrapping_byte_add(1);
        let null = std::ptr::null_mut::<f32>();
        let huge = usize::MAX / 2;
        let over = In::new("a", odd, &[huge, 3]);
        let thin = In::new("b", odd, &[3, 5]).leading("ldb", 3, "n");
        let bent = In::new("c", odd, &[4]);
        let good = In::new("x", p.cast_const(), &[2, 4]);
        let y = Out::new("y", p.wrapping_add(7), &[4]);
        assert_eq!(message(&[&y, &bent, &thin, &over, &Out::new("z", null, &[4])]), "f: z is NULL");
        assert_eq!(
            message(&[&y, &bent, &thin, &over]),
            format!("f: a has [{huge}, 3] elements, more than this machine can address")
        );
        assert_eq!(message(&[&y, &bent, &thin]), "f: ldb is 3 but rows of b hold n = 5 elements");
        assert!(message(&[&y, &good, &bent]).ends_with("is not aligned to 4 bytes"));
        assert_eq!(message(&[&y, &good]), "f: y overlaps x");
        assert_eq!(message(&[&good, &y]), "f: y overlaps x");
    }

    #[test]
    fn one_value_is_no_slice_of_null() {
        let mut x = 7.0f32;
        let null = Out::new("y", std::ptr::null_mut::<f32>(), &[1]).optional();
        let given = Out::new("y", &raw mut x, &[1]).optional();
        assert_eq!(check(F, &[&null, &given]), Ok(()));
        // SAFETY: checked above, and nobody else uses x.
        unsafe {
            assert!(null.option().is_none() && null.value().is_none());
            assert_eq!(given.value(), Some(&mut 7.0));
        }
    }

    #[test]
    fn what_may_alias_and_what_may_be_null() {
        let mut data = [0f32; 32];
        let p = data.as_mut_ptr();
        let null = std::ptr::null_mut::<f32>();
        let x = In::new("x", p.cast_const(), &[8]);
        let ok = |spans: &[&Span]| assert_eq!(check(F, spans), Ok(()));
        ok(&[&x, &In::new("b", p.wrapping_add(3).cast_const(), &[8])]);
        ok(&[&x, &Out::new("y", p.wrapping_add(8), &[8])]);
        ok(&[&x, &Out::new("y", p, &[8]).may_be(&["x"])]);
        ok(&[&x, &Out::new("y", p.wrapping_add(3), &[2, 0])]);
        ok(&[&Out::new("y", null, &[0, usize::MAX, usize::MAX]), &In::new("b", null, &[3]).optional()]);
        for y in [
            Out::new("y", p, &[8]),
            Out::new("y", p, &[7]).may_be(&["x"]),
            Out::new("y", p.wrapping_add(1), &[8]).may_be(&["x"]),
            Out::new("y", p, &[8]).may_be(&["dy"]),
        ] {
            assert_eq!(message(&[&x, &y]), "f: y overlaps x");
        }
        assert_eq!(message(&[&Out::new("u", p, &[8]), &Out::new("v", p, &[8])]), "f: v overlaps u");
    }
}
