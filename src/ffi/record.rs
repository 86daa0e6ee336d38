//! Structs that cross the boundary. They begin with `size_t struct_size`, the size that the caller's header gave them:
//! fields beyond it keep their defaults, or are not written, so that programs built against an older header go on.

use super::tensor::{Out, check_alignment};
use crate::error::{Error, Result};
use std::ffi::c_void;

/// More is no struct of any version but memory that was never set.
const LARGEST: usize = 4096;

/// A type that a field may have, read from memory that C filled.
///
/// # Safety
/// `read` returns only valid values, whatever the bytes.
pub(super) unsafe trait Field: Copy {
    /// # Safety
    /// As many bytes as the type has are readable at `at`, aligned.
    unsafe fn read(at: *const Self) -> Option<Self>;
}

macro_rules! plain_fields {
    ($($t:ty)*) => {$(
        // SAFETY: every bit pattern is a value.
        unsafe impl Field for $t {
            unsafe fn read(at: *const Self) -> Option<Self> {
                // SAFETY: the caller's promise.
                Some(unsafe { at.read() })
            }
        }
    )*};
}
plain_fields! { usize u64 u32 i32 f32 f64 *mut c_void super::context::ek_parallel_for }

// SAFETY: a byte that is neither 0 nor 1 is refused.
unsafe impl Field for bool {
    unsafe fn read(at: *const Self) -> Option<Self> {
        // SAFETY: the caller's promise; a bool is one byte.
        match unsafe { at.cast::<u8>().read() } {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// A struct of the header.
///
/// # Safety
/// `#[repr(C)]`, its first field is `struct_size: usize`, and `fields` visits fields inside it. [`record`] implements it.
pub(super) unsafe trait Record: Copy {
    /// What the init function sets, `struct_size` included.
    const DEFAULT: Self;

    /// Takes every field that lies within `size` bytes from `from`; the name of one that holds no value of its type.
    ///
    /// # Safety
    /// `size` bytes are readable at `from`, aligned for `Self`.
    unsafe fn take(&mut self, from: *const Self, size: usize) -> std::result::Result<(), &'static str>;

    /// Writes every field that lies within `size` bytes to `to`.
    ///
    /// # Safety
    /// `size` bytes are writable at `to`, aligned for `Self`.
    unsafe fn give(&self, to: *mut Self, size: usize);
}

/// Implements [`Record`] from the defaults of every field after `struct_size`.
macro_rules! record {
    ($name:ident { $($field:ident: $default:expr),* $(,)? }) => {
        // SAFETY: repr(C) with struct_size first (asserted); the fields are the struct's own.
        unsafe impl $crate::ffi::record::Record for $name {
            const DEFAULT: Self = $name { struct_size: size_of::<$name>(), $($field: $default),* };

            unsafe fn take(&mut self, from: *const Self, size: usize) -> std::result::Result<(), &'static str> {
                $(
                    if std::mem::offset_of!($name, $field) + size_of_val(&self.$field) <= size {
                        // SAFETY: the field lies within the readable bytes, and its place is aligned as the struct is.
                        self.$field = unsafe { $crate::ffi::record::Field::read(&raw const (*from).$field) }
                            .ok_or(stringify!($field))?;
                    }
                )*
                Ok(())
            }

            unsafe fn give(&self, to: *mut Self, size: usize) {
                $(
                    if std::mem::offset_of!($name, $field) + size_of_val(&self.$field) <= size {
                        // SAFETY: the field lies within the writable bytes, and its place is aligned as the struct is.
                        unsafe { (&raw mut (*to).$field).write(self.$field) };
                    }
                )*
            }
        }
        const _: () = assert!(std::mem::offset_of!($name, struct_size) == 0);
    };
}
pub(super) use record;

/// Sets a struct to its defaults; NULL is left alone.
///
/// A program that was built against an older header passes an older, shorter struct. So when a struct grows, its init
/// function goes on writing the struct it had, and the header maps the name to a new function for the new one.
///
/// # Safety
/// `to` is NULL or writable and aligned.
pub(super) unsafe fn init<R: Record>(to: *mut R) {
    if !to.is_null() {
        // SAFETY: not NULL; writable and aligned (caller).
        unsafe { to.write(R::DEFAULT) };
    }
}

/// The checked `struct_size` of a struct that is not NULL.
///
/// # Safety
/// At least `size_of::<usize>()` bytes are readable at `at`.
unsafe fn size<R: Record>(function: &'static str, name: &str, at: *const R) -> Result<usize> {
    check_alignment(function, name, at.addr(), align_of::<R>())?;
    // SAFETY: aligned (checked), readable (caller), and the first field is the size (Record).
    let size = unsafe { at.cast::<usize>().read() };
    if !(size_of::<usize>()..=LARGEST).contains(&size) {
        let detail = format!("{name}->struct_size is {size}; the init function sets it to {}", size_of::<R>());
        return Err(Error::invalid_argument(function, detail));
    }
    Ok(size)
}

/// The struct at `from`, with defaults for fields that its header did not have; NULL is an error.
///
/// # Safety
/// `from` is NULL or points to as many readable bytes as its `struct_size` says.
pub(super) unsafe fn read<R: Record>(function: &'static str, name: &str, from: *const R) -> Result<R> {
    if from.is_null() {
        return Err(Error::null_pointer(function, format!("{name} is NULL")));
    }
    // SAFETY: not NULL; the size is readable (caller).
    let size = unsafe { size(function, name, from) }?;
    for i in size_of::<R>()..size {
        // SAFETY: i is below struct_size (caller).
        if unsafe { from.cast::<u8>().add(i).read() } != 0 {
            let known = size_of::<R>();
            let detail = format!("{name} sets byte {i} of {size}, and this library knows only its first {known}");
            return Err(Error::invalid_argument(function, detail));
        }
    }
    let mut value = R::DEFAULT;
    // SAFETY: readable up to struct_size (caller), aligned (size).
    unsafe { value.take(from, size) }
        .map_err(|field| Error::invalid_argument(function, format!("{name}->{field} is neither true nor false")))?;
    Ok(value)
}

/// A struct that the function fills, checked before anything is written.
pub(super) struct Report<R> {
    to: *mut R,
    size: usize,
}

impl<R: Record> Report<R> {
    /// # Safety
    /// `to` is NULL or points to as many writable bytes as its `struct_size` says.
    pub(super) unsafe fn new(function: &'static str, name: &str, to: *mut R, optional: bool) -> Result<Report<R>> {
        if to.is_null() {
            return if optional {
                Ok(Report { to, size: 0 })
            } else {
                Err(Error::null_pointer(function, format!("{name} is NULL")))
            };
        }
        // SAFETY: not NULL; the size is readable (caller).
        Ok(Report { to, size: unsafe { size(function, name, to.cast_const()) }? })
    }

    pub(super) fn wanted(&self) -> bool {
        !self.to.is_null()
    }

    /// Where it lies, as an output.
    pub(super) fn span(&self, name: &'static str) -> Out<u8> {
        Out::new(name, self.to.cast(), &[self.size]).optional()
    }

    /// Writes the fields that the caller's header has; `struct_size` stays the caller's.
    pub(super) fn set(self, value: &R) {
        if !self.to.is_null() {
            // SAFETY: writable up to its struct_size (caller of new), aligned (size).
            unsafe { value.give(self.to, self.size) };
        }
    }
}
