//! The version, for the preprocessor and at run time.

use std::ffi::c_char;

/// Incompatible changes.
pub const EK_VERSION_MAJOR: u32 = 0;
/// Additions.
pub const EK_VERSION_MINOR: u32 = 1;
/// Repairs.
pub const EK_VERSION_PATCH: u32 = 0;
/// The header's version in one number: major << 16 | minor << 8 | patch.
pub const EK_VERSION: u32 = (EK_VERSION_MAJOR << 16) | (EK_VERSION_MINOR << 8) | EK_VERSION_PATCH;

/// The version of the library that runs, as EK_VERSION packs it. A program whose header has another major version
/// (or, below 1.0, another minor one) was built for a different library.
#[unsafe(no_mangle)]
pub extern "C" fn ek_version() -> u32 {
    EK_VERSION
}

/// The version of the library that runs, as "major.minor.patch". Static; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn ek_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The header generator reads literals only, so they are written out above and compared with Cargo.toml here.
const _: () = {
    const fn number(text: &str) -> u32 {
        match u32::from_str_radix(text, 10) {
            Ok(n) => n,
            Err(_) => panic!("a version that is no number"),
        }
    }
    assert!(EK_VERSION_MAJOR == number(env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(EK_VERSION_MINOR == number(env!("CARGO_PKG_VERSION_MINOR")));
    assert!(EK_VERSION_PATCH == number(env!("CARGO_PKG_VERSION_PATCH")));
};
