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

/// Four numbers of each of 16 rows: those of rows 4b to 4b + 3 are block b of the registers, one each. What stands in memory is
/// inserted without the port of shuffles. Row r stands `r·stride` bytes after the first pointer, and the others are rows 1, 6
/// and 11: four registers and one for the stride are addresses enough. With a pointer for each row, compilers
/// that were tried kept sums in memory.
///
/// # Safety
/// AVX-512 F and DQ; 4 floats of each row are valid for reading.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn quads(rows: [*const f32; 4], stride: usize) -> [__m512; 4] {
    let (r0, r1, r2, r3);
    // SAFETY: reads what the contract names.
    unsafe {
        asm!(
            "vmovups {r0:x}, [{p0}]",
            "vmovups {r1:x}, [{p1}]",
            "vmovups {r2:x}, [{p0} + 2*{s}]",
            "vmovups {r3:x}, [{p1} + 2*{s}]",
            "vinsertf32x4 {r0}, {r0}, [{p0} + 4*{s}], 1",
            "vinsertf32x4 {r1}, {r1}, [{p1} + 4*{s}], 1",
            "vinsertf32x4 {r2}, {r2}, [{p6}], 1",
            "vinsertf32x4 {r3}, {r3}, [{p6} + {s}], 1",
            "vinsertf32x4 {r0}, {r0}, [{p0} + 8*{s}], 2",
            "vinsertf32x4 {r1}, {r1}, [{p1} + 8*{s}], 2",
            "vinsertf32x4 {r2}, {r2}, [{p6} + 4*{s}], 2",
            "vinsertf32x4 {r3}, {r3}, [{p11}], 2",
            "vinsertf32x4 {r0}, {r0}, [{p11} + {s}], 3",
            "vinsertf32x4 {r1}, {r1}, [{p11} + 2*{s}], 3",
            "vinsertf32x4 {r2}, {r2}, [{p6} + 8*{s}], 3",
            "vinsertf32x4 {r3}, {r3}, [{p11} + 4*{s}], 3",
            p0 = in(reg) rows[0],
            p1 = in(reg) rows[1],
            p6 = in(reg) rows[2],
            p11 = in(reg) rows[3],
            s = in(reg) stride,
            r0 = out(zmm_reg) r0,
            r1 = out(zmm_reg) r1,
            r2 = out(zmm_reg) r2,
            r3 = out(zmm_reg) r3,
            options(nostack, preserves_flags, readonly),
        );
    }
    [r0, r1, r2, r3]
}
