//! Workspace that lives with the calling thread: it grows, and stays for the next call.
//!
//! A call takes all of its workspace on the calling thread before it writes its first output, so running out of
//! memory is an error like any other. Calls that nest (a host executor may start one inside another) take further
//! buffers.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;

const ALIGN: usize = 64;

/// A buffer of the calling thread, given back when dropped. What it holds at first is unspecified.
pub(crate) struct Scratch {
    buffer: Buffer,
}

thread_local! {
    /// Buffers not in use, the most recently used last.
    static FREE: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// Takes `len` elements of `T`, which must be plain numbers.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn take<T: Number>(function: &'static str, len: usize) -> Result<Scratch> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(Error::OutOfMemory { function, bytes: usize::MAX })?;
        let kept = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        let buffer = match kept {
            Some(buffer) if buffer.bytes >= bytes => buffer,
            _ => Buffer::new(bytes.max(4096).next_power_of_two().min(bytes.max(1 << 22)))
                .ok_or(Error::OutOfMemory { function, bytes })?,
        };
        Ok(Scratch { buffer })
    }

    /// The first `len` elements.
    ///
    /// # Panics
    /// If fewer were taken.
    pub(crate) fn slice<T: Number>(&mut self, len: usize) -> &mut [T] {
        assert!(len * size_of::<T>() <= self.buffer.bytes);
        // SAFETY: in bounds (asserted), aligned to 64, initialised since alloc_zeroed, and any bits are a Number.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.ptr.as_ptr().cast(), len) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        // While the thread is ending there is no list any more: the buffer is then freed.
        let _ = FREE.try_with(|free| free.borrow_mut().push(buffer));
    }
}

/// Types of which every bit pattern is a value.
///
/// # Safety
/// As said; no padding, alignment at most 64.
pub(crate) unsafe trait Number: Copy {}
// SAFETY: plain numbers.
unsafe impl Number for f32 {}
// SAFETY: plain numbers.
unsafe impl Number for f64 {}
// SAFETY: plain numbers.
unsafe impl Number for usize {}
// SAFETY: plain numbers.
unsafe impl Number for u16 {}
// SAFETY: transparent around u16.
unsafe impl Number for crate::element::bf16 {}
// SAFETY: transparent around u16.
unsafe impl Number for crate::element::f16 {}

struct Buffer {
    ptr: NonNull<u8>,
    bytes: usize,
}

impl Buffer {
    const fn empty() -> Buffer {
        Buffer { ptr: NonNull::dangling(), bytes: 0 }
    }

    fn new(bytes: usize) -> Option<Buffer> {
        let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
        if bytes == 0 {
            return Some(Buffer::empty());
        }
        // SAFETY: the layout's size is not zero (checked).
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Buffer { ptr, bytes })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes != 0 {
            // SAFETY: allocated by Buffer::new with this size and alignment.
            unsafe { dealloc(self.ptr.as_ptr(), Layout::from_size_align_unchecked(self.bytes, ALIGN)) }
        }
    }
}
