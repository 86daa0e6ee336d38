//! The steps of a register tile in assembly. With intrinsics the compiler moves loads of many steps ahead, for which the sums
//! must leave their registers: half the speed. These keep their place. Inlined into entries, which have their features.

use core::arch::asm;
use core::arch::x86_64::*;

/// The instructions of one step: the first has the number in memory for an operand, at `$place` with `$stride`.
macro_rules! step {
    ($place:literal [$($stride:tt)*] $class:ident $vector:ty, $number:ty, [$head:literal $tail:literal] [$($x:ident)?], $p:ident,
        $($c:ident $b:ident $($fma:literal)?),*) => {
        // SAFETY: reads the number that the contract names.
        unsafe {
            // A number without a type would be given a register of another kind.
            $(let $x: $vector;)?
            asm!(
                concat!($head, " [{p} + {offset}", $place, "]", $tail),
                $($($fma,)?)*
                $($x = out($class) $x,)?
                p = in(reg) $p,
                $($stride)*
                offset = const OFFSET * size_of::<$number>(),
                $($b = in($class) $b,)*
                $($c = inout($class) $c,)*
                options(nostack, preserves_flags),
            );
            $(let _ = $x;)?
        }
    };
}

/// c + x·b for each of some registers, where x stands in memory.
macro_rules! fma {
    ($name:ident, $features:literal, $class:ident, $number:ty, [$vector:ty; $n:literal], $head:tt $x:tt,
        $($c:ident $b:ident $($fma:literal)?),*) => {
        /// # Safety
        /// The features; the number `OFFSET` elements and `ROWS` times `stride` bytes after `p` is valid for reading.
        #[inline]
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name<const OFFSET: usize, const ROWS: usize>(
            p: *const $number,
            stride: usize,
            [$($b),*]: [$vector; $n],
            [$(mut $c),*]: [$vector; $n],
        ) -> [$vector; $n] {
            match ROWS {
                0 => step!("" [] $class $vector, $number, $head $x, p, $($c $b $($fma)?),*),
                1 => step!(" + {s}" [s = in(reg) stride,] $class $vector, $number, $head $x, p, $($c $b $($fma)?),*),
                2 => step!(" + 2*{s}" [s = in(reg) stride,] $class $vector, $number, $head $x, p, $($c $b $($fma)?),*),
                _ => unreachable!(),
            }
            [$($c),*]
        }
    };
}

fma!(
    fma_ps_ymm, "avx2,fma", ymm_reg, f32, [__m256; 1],
    ["vbroadcastss {x}, dword ptr" ""] [x], c0 b0 "vfmadd231ps {c0}, {x}, {b0}"
);
fma!(
    fma_ps_ymm2, "avx2,fma", ymm_reg, f32, [__m256; 2],
    ["vbroadcastss {x}, dword ptr" ""] [x],
    c0 b0 "vfmadd231ps {c0}, {x}, {b0}", c1 b1 "vfmadd231ps {c1}, {x}, {b1}"
);
fma!(
    fma_pd_ymm2, "avx2,fma", ymm_reg, f64, [__m256d; 2],
    ["vbroadcastsd {x}, qword ptr" ""] [x],
    c0 b0 "vfmadd231pd {c0}, {x}, {b0}", c1 b1 "vfmadd231pd {c1}, {x}, {b1}"
);
// Two share a broadcast, which takes one load; a lone one has it in its operand.
fma!(
    fma_ps_zmm, "avx512f", zmm_reg, f32, [__m512; 1],
    ["vfmadd231ps {c0}, {b0}, dword ptr" "{{1to16}}"] [], c0 b0
);
fma!(
    fma_ps_zmm2, "avx512f", zmm_reg, f32, [__m512; 2],
    ["vbroadcastss {x}, dword ptr" ""] [x],
    c0 b0 "vfmadd231ps {c0}, {x}, {b0}", c1 b1 "vfmadd231ps {c1}, {x}, {b1}"
);
fma!(
    fma_pd_zmm, "avx512f", zmm_reg, f64, [__m512d; 1],
    ["vfmadd231pd {c0}, {b0}, qword ptr" "{{1to8}}"] [], c0 b0
);
fma!(
    fma_pd_zmm2, "avx512f", zmm_reg, f64, [__m512d; 2],
    ["vbroadcastsd {x}, qword ptr" ""] [x],
    c0 b0 "vfmadd231pd {c0}, {x}, {b0}", c1 b1 "vfmadd231pd {c1}, {x}, {b1}"
);

/// [`fma_ps_ymm`] of `N` vectors.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn fma_ps_ymms<const OFFSET: usize, const ROWS: usize, const N: usize>(
    p: *const f32,
    stride: usize,
    b: [__m256; N],
    mut c: [__m256; N],
) -> [__m256; N] {
    for i in 0..N {
        // SAFETY: the contract.
        [c[i]] = unsafe { fma_ps_ymm::<OFFSET, ROWS>(p, stride, [b[i]], [c[i]]) };
    }
    c
}
