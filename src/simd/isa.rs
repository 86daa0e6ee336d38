//! Which instruction sets there are, which this machine has, and which one to use.

use crate::error::{Error, Result};
use std::sync::OnceLock;

/// An instruction set that a context can run on. The numbers are those of `EK_ISA_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(i32)]
pub enum Isa {
    /// The vectors that every machine of the target has: SSE2, WebAssembly simd128, or plain code.
    Portable = 1,
    /// AVX2 with FMA and F16C.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512 = 3,
    /// NEON with its fused multiply-add, on AArch64.
    Neon = 4,
    /// The specification: one lane at a time with exact fused multiply-adds. Slow, for tests; only in builds with the
    /// feature `scalar`.
    Scalar = 5,
}

/// Every instruction set, fastest first, the specification last.
const ALL: [Isa; 5] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable, Isa::Scalar];

impl Isa {
    /// The name, as `EK_ISA` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
            Isa::Scalar => "scalar",
        }
    }

    /// Whether this machine has it: the CPU, and the operating system that saves its registers.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::Avx2::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => super::Avx512::new().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
            // On AArch64 the portable vector is NEON: one set with two names would be two answers to one question.
            Isa::Neon => cfg!(target_arch = "aarch64"),
            Isa::Portable => !cfg!(target_arch = "aarch64"),
            Isa::Scalar => cfg!(feature = "scalar"),
        }
    }

    /// Whether a vector is a cache line.
    pub(crate) const fn vectors_are_lines(self) -> bool {
        matches!(self, Isa::Avx512)
    }

    /// Whether its fused multiply-add rounds once, so that its bits are the specification's.
    pub const fn is_fused(self) -> bool {
        match self {
            Isa::Portable => <super::Portable as super::Simd>::FUSED,
            _ => true,
        }
    }

    /// All that this machine has, fastest first, the specification last.
    pub fn available() -> impl Iterator<Item = Isa> {
        ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The fastest that this machine has; looked up once per process.
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Isa::available().next().unwrap_or(Isa::Portable))
    }

    /// The one that the environment variable `EK_ISA` names, else [`Isa::best`].
    pub(crate) fn from_env(function: &'static str) -> Result<Isa> {
        match std::env::var_os("EK_ISA") {
            None => Ok(Isa::best()),
            Some(name) if name.is_empty() || name == "auto" => Ok(Isa::best()),
            Some(name) => {
                let isa = ALL.into_iter().find(|isa| name == isa.name()).ok_or_else(|| {
                    Error::invalid_argument(
                        function,
                        format!("EK_ISA is {name:?}, expected auto, portable, avx2, avx512, neon or scalar"),
                    )
                })?;
                isa.checked(function)
            }
        }
    }

    /// Itself, or `Unsupported` where this machine lacks it.
    pub(crate) fn checked(self, function: &'static str) -> Result<Isa> {
        if self.is_available() {
            return Ok(self);
        }
        let lacks = if self == Isa::Scalar { "build (feature scalar)" } else { "machine" };
        Err(Error::unsupported(function, format!("isa is {}, which this {lacks} does not have", self.name())))
    }

    /// The inverse of `as i32`.
    pub fn from_i32(value: i32) -> Option<Isa> {
        ALL.into_iter().find(|isa| *isa as i32 == value)
    }
}

/// So many elements, or none where the CPU fetches long runs early enough by itself and requests only get in its way: as on a
/// Zen 4, where optimizers and statistics lost by them (`benches/zen4.md`). Looked up once per process.
pub(crate) fn ahead(elements: usize) -> usize {
    static ASKS: OnceLock<bool> = OnceLock::new();
    if *ASKS.get_or_init(|| !fetches_ahead()) { elements } else { 0 }
}

#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe)] // Safe in newer compilers than the oldest that builds this.
fn fetches_ahead() -> bool {
    // Registers b, d, c of leaf 0 spell the vendor. Older CPUs of AMD, without AVX-512, were not measured.
    // SAFETY: every CPU of this architecture has the instruction.
    let vendor = unsafe { core::arch::x86_64::__cpuid(0) };
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
        && Isa::Avx512.is_available()
}

#[cfg(not(target_arch = "x86_64"))]
fn fetches_ahead() -> bool {
    false
}
