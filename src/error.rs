//! What can go wrong, with the function, the argument and the value.
//!
//! ```
//! use evenkeel::{Context, Error};
//! use evenkeel::residual::residual_add_f32;
//!
//! let error = residual_add_f32(Context::global()?, 1.0, &[1.0; 3], &[1.0; 2], &mut [0.0; 3]).unwrap_err();
//! assert!(matches!(error, Error::InvalidSize { .. }));
//! assert!(error.to_string().starts_with("residual_add_f32: "));
//! # Ok::<(), Error>(())
//! ```

/// Why a call did nothing. Every argument is checked before the first byte is written, so after an error all outputs
/// are as they were.
///
/// The text reads "function: what is wrong", as in `matmul_f32: ldb is 3 but rows of b hold n = 5 elements`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pointer is NULL where a size is not zero. Only the C boundary meets it.
    #[error("{function}: {detail}")]
    NullPointer { function: &'static str, detail: String },
    /// A value that the function is not defined for.
    #[error("{function}: {detail}")]
    InvalidArgument { function: &'static str, detail: String },
    /// A length, a dimension or a leading dimension that does not fit the others, or a product that overflows.
    #[error("{function}: {detail}")]
    InvalidSize { function: &'static str, detail: String },
    /// An output that overlaps another argument where the function does not allow it. Only the C boundary meets it.
    #[error("{function}: {detail}")]
    Overlap { function: &'static str, detail: String },
    /// Something that this build, machine or function does not do.
    #[error("{function}: {detail}")]
    Unsupported { function: &'static str, detail: String },
    /// Workspace could not be allocated.
    #[error("{function}: out of memory for {bytes} bytes of workspace")]
    OutOfMemory { function: &'static str, bytes: usize },
    /// An iteration that did not settle within its limit. Only the C boundary meets it, whose output holds the estimate.
    #[error("{function}: {detail}")]
    NotConverged { function: &'static str, detail: String },
    /// A host executor that broke its contract, or a bug in this library.
    #[error("{function}: {detail}")]
    Internal { function: &'static str, detail: String },
}

/// The result of a call.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// One constructor for each kind whose text is free.
macro_rules! constructors {
    ($($name:ident $kind:ident)*) => {
        impl Error {$(
            pub(crate) fn $name(function: &'static str, detail: impl Into<String>) -> Error {
                Error::$kind { function, detail: detail.into() }
            }
        )*}
    };
}
constructors! {
    invalid_argument InvalidArgument
    invalid_size InvalidSize
    unsupported Unsupported
}
#[cfg(feature = "capi")]
constructors! {
    null_pointer NullPointer
    overlap Overlap
    not_converged NotConverged
    internal Internal
}

/// The length of a tensor, or an error that names its dimensions.
pub(crate) fn product(function: &'static str, what: &str, dims: &[usize]) -> Result<usize> {
    const MOST: usize = isize::MAX as usize / size_of::<f64>();
    match dims.iter().try_fold(1usize, |len, &d| len.checked_mul(d)) {
        Some(len) if len <= MOST => Ok(len),
        _ => Err(too_large(function, what, dims)),
    }
}

#[cold]
#[inline(never)]
fn too_large(function: &'static str, what: &str, dims: &[usize]) -> Error {
    Error::invalid_size(function, format!("{what} has {dims:?} elements, more than this machine can address"))
}

/// `slice` must hold exactly `expected` elements.
pub(crate) fn check_len<T>(function: &'static str, name: &str, slice: &[T], expected: usize) -> Result {
    if slice.len() == expected { Ok(()) } else { Err(wrong_len(function, name, slice.len(), expected)) }
}

#[cold]
#[inline(never)]
fn wrong_len(function: &'static str, name: &str, len: usize, expected: usize) -> Error {
    Error::invalid_size(function, format!("{name} holds {len} elements, expected {expected}"))
}
