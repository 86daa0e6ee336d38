//! Statuses, the thread's last error, and the guard that stops panics.

use crate::error::{Error, Result};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a call: EK_STATUS_OK or the reason why nothing was written.
pub type ek_status = i32;

/// Done.
pub const EK_STATUS_OK: ek_status = 0;
/// A pointer is NULL where a size is not zero.
pub const EK_STATUS_NULL_POINTER: ek_status = 1;
/// A value that the function is not defined for; an enum value that names nothing; a pointer that is not aligned to
/// its element.
pub const EK_STATUS_INVALID_ARGUMENT: ek_status = 2;
/// A leading dimension below its row length, or a product of sizes that overflows.
pub const EK_STATUS_INVALID_SIZE: ek_status = 3;
/// An output overlaps another argument where the function does not allow it.
pub const EK_STATUS_OVERLAP: ek_status = 4;
/// Something that this build, machine or function does not do.
pub const EK_STATUS_UNSUPPORTED: ek_status = 5;
/// Workspace could not be allocated.
pub const EK_STATUS_OUT_OF_MEMORY: ek_status = 6;
/// A bug in the library (a caught panic), or a host executor that broke its contract. The one status after which
/// outputs may have been written in part.
pub const EK_STATUS_INTERNAL: ek_status = 7;
/// An iteration has not settled within its limit, or never will because of a NaN. The output is written: it holds the best
/// estimate.
pub const EK_STATUS_NOT_CONVERGED: ek_status = 8;

thread_local! {
    /// The latest message, NUL at its end.
    static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs the body of an `extern "C"` function: its error, or its panic, becomes a status and the thread's message.
#[inline]
pub(super) fn guard(function: &'static str, body: impl FnOnce() -> Result) -> ek_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => EK_STATUS_OK,
        Ok(Err(error)) => failed(error),
        Err(payload) => panicked(function, payload),
    }
}

#[cold]
#[inline(never)]
fn failed(error: Error) -> ek_status {
    remember(&error);
    status_of(&error)
}

#[cold]
#[inline(never)]
fn panicked(function: &'static str, payload: Box<dyn Any + Send>) -> ek_status {
    failed(Error::internal(function, format!("panicked: {}", panic_text(&*payload))))
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "with a value that is no text",
    }
}

fn status_of(error: &Error) -> ek_status {
    match error {
        Error::NullPointer { .. } => EK_STATUS_NULL_POINTER,
        Error::InvalidArgument { .. } => EK_STATUS_INVALID_ARGUMENT,
        Error::InvalidSize { .. } => EK_STATUS_INVALID_SIZE,
        Error::Overlap { .. } => EK_STATUS_OVERLAP,
        Error::Unsupported { .. } => EK_STATUS_UNSUPPORTED,
        Error::OutOfMemory { .. } => EK_STATUS_OUT_OF_MEMORY,
        Error::Internal { .. } => EK_STATUS_INTERNAL,
        Error::NotConverged { .. } => EK_STATUS_NOT_CONVERGED,
    }
}

/// The functions' Rust names are their C names without `ek_`, so the text becomes C's with it. The buffer is kept, so
/// that a thread's later errors seldom allocate. A thread that is ending has no buffer any more and keeps no message.
fn remember(error: &Error) {
    use std::io::Write;
    let _ = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        last.clear();
        let _ = write!(last, "ek_{error}");
        last.retain(|&byte| byte != 0);
        last.push(0);
    });
}

/// The latest message of an error on this thread, naming function, argument and value, as in
/// "ek_matmul_f32: ldb is 3 but rows of b hold n = 5 elements". Empty before the first error; never NULL. A successful
/// call leaves it as it is. Valid until this thread's next error.
#[unsafe(no_mangle)]
pub extern "C" fn ek_last_error() -> *const c_char {
    let message = LAST.try_with(|last| {
        let last = last.borrow();
        if last.is_empty() { c"".as_ptr() } else { last.as_ptr().cast() }
    });
    message.unwrap_or(c"".as_ptr())
}

/// The name of a status, as in "EK_STATUS_OVERLAP"; "unknown status" for any other number. Static; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn ek_status_string(status: ek_status) -> *const c_char {
    let name = match status {
        EK_STATUS_OK => c"EK_STATUS_OK",
        EK_STATUS_NULL_POINTER => c"EK_STATUS_NULL_POINTER",
        EK_STATUS_INVALID_ARGUMENT => c"EK_STATUS_INVALID_ARGUMENT",
        EK_STATUS_INVALID_SIZE => c"EK_STATUS_INVALID_SIZE",
        EK_STATUS_OVERLAP => c"EK_STATUS_OVERLAP",
        EK_STATUS_UNSUPPORTED => c"EK_STATUS_UNSUPPORTED",
        EK_STATUS_OUT_OF_MEMORY => c"EK_STATUS_OUT_OF_MEMORY",
        EK_STATUS_INTERNAL => c"EK_STATUS_INTERNAL",
        EK_STATUS_NOT_CONVERGED => c"EK_STATUS_NOT_CONVERGED",
        _ => c"unknown status",
    };
    name.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        // SAFETY: never NULL, NUL at its end, valid until this thread's next error.
        unsafe { CStr::from_ptr(ek_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_internal_with_its_text() {
        let status = guard("relu_f32", || panic!("lane {} of 16", 17));
        assert_eq!((status, last().as_str()), (EK_STATUS_INTERNAL, "ek_relu_f32: panicked: lane 17 of 16"));
        let status = guard("relu_f32", || panic!("plain"));
        assert_eq!((status, last().as_str()), (EK_STATUS_INTERNAL, "ek_relu_f32: panicked: plain"));
        let status = guard("relu_f32", || std::panic::panic_any(5));
        assert_eq!(status, EK_STATUS_INTERNAL);
        assert_eq!(last(), "ek_relu_f32: panicked: with a value that is no text");
    }

    #[test]
    fn each_thread_has_its_own_message_and_success_keeps_it() {
        assert_eq!(guard("f", || Err(Error::overlap("f", "y overlaps\0 x"))), EK_STATUS_OVERLAP);
        assert_eq!(last(), "ek_f: y overlaps x");
        std::thread::spawn(|| assert_eq!(last(), "")).join().unwrap();
        assert_eq!(guard("f", || Ok(())), EK_STATUS_OK);
        assert_eq!(last(), "ek_f: y overlaps x");
    }
}
