//! One `__m512`.

use super::{Isa, Kernel, Simd, splat};
use core::arch::x86_64::*;

/// AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// A token, where the CPU and the operating system have the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && super::Avx2::new().is_some();
        found.then_some(Avx512(()))
    }

    /// # Safety
    /// The machine has the instructions.
    #[inline]
    pub(super) unsafe fn assume() -> Self {
        Avx512(())
    }
}

/// # Safety
/// The token proves that the features were detected.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn enter<K: Kernel>(simd: Avx512, kernel: K) -> K::Out {
    kernel.run(simd)
}

/// [`enter`], not inlined: rustc 1.95 does not tell LLVM so of functions with features of their own. A jump is the cost.
#[inline(never)]
fn apart<K: Kernel>(simd: Avx512, kernel: K) -> K::Out {
    // SAFETY: the token proves the features.
    unsafe { enter(simd, kernel) }
}

/// One method that is one expression of intrinsics.
macro_rules! op {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty { $body:expr })*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $out {
            // SAFETY: self exists only where the features were detected; the intrinsics touch no memory.
            unsafe { $body }
        }
    )*};
}

/// The steps of a register tile.
macro_rules! fma_splat {
    ($($name:ident($number:ty, $vector:ty) by $one:ident $two:ident)*) => {$(
        #[inline(always)]
        unsafe fn $name<const OFFSET: usize, const ROWS: usize, const N: usize>(
            self,
            p: *const $number,
            stride: usize,
            b: [$vector; N],
            mut c: [$vector; N],
        ) -> [$vector; N] {
            // SAFETY: the caller's contract; the token proves AVX-512.
            unsafe {
                if N == 2 {
                    [c[0], c[1 % N]] = splat::$two::<OFFSET, ROWS>(p, stride, [b[0], b[1 % N]], [c[0], c[1 % N]]);
                } else {
                    for i in 0..N {
                        [c[i]] = splat::$one::<OFFSET, ROWS>(p, stride, [b[i]], [c[i]]);
                    }
                }
            }
            c
        }
    )*};
}

/// The mask of the first `n` ≤ 16 lanes.
#[inline(always)]
fn first_bits(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    const ISA: Isa = Isa::Avx512;
    const FUSED: bool = true;
    const MASKS: bool = true;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;
    type D = __m512d;
    type H = __m256;
    type W = __m256i;

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller's contract; unaligned load.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller's contract; unaligned store.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe { _mm512_maskz_loadu_ps(first_bits(n), p) }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: __m512, n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe { _mm512_mask_storeu_ps(p, first_bits(n), v) }
    }
    #[inline(always)]
    unsafe fn load_d(self, p: *const f64) -> __m512d {
        // SAFETY: the caller's contract; unaligned load.
        unsafe { _mm512_loadu_pd(p) }
    }
    #[inline(always)]
    unsafe fn store_d(self, p: *mut f64, v: __m512d) {
        // SAFETY: the caller's contract; unaligned store.
        unsafe { _mm512_storeu_pd(p, v) }
    }
    #[inline(always)]
    unsafe fn load_h(self, p: *const f32) -> __m256 {
        // SAFETY: the caller's contract; unaligned load.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_h(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller's contract; unaligned store.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_turned_h(self, p: *const f32, ld: usize, last: usize) -> [__m256; 8] {
        // SAFETY: the caller's contract; the token proves AVX2.
        unsafe { super::avx2::load_turned8(p, ld, last) }
    }
    #[inline(always)]
    unsafe fn load_turned_quad(self, rows: [*const f32; 4], stride: usize) -> [__m512; 4] {
        // SAFETY: the caller's contract; the token proves AVX-512.
        unsafe { turn_quads(splat::quads(rows, stride)) }
    }
    #[inline(always)]
    unsafe fn load_turned(self, p: *const f32, ld: usize, last: usize) -> [__m512; 16] {
        // SAFETY: the caller's contract; the token proves AVX-512.
        unsafe { load_turned16(p, ld, last) }
    }
    #[inline(always)]
    unsafe fn turn_d(self, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
        // SAFETY: the caller's contract; the token proves AVX2.
        unsafe { super::avx2::turn4_d(p, ld, last, dst, stride) }
    }
    #[inline(always)]
    unsafe fn load_first_h(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe { _mm256_maskz_loadu_ps(first_bits(n) as __mmask8, p) }
    }
    #[inline(always)]
    unsafe fn store_first_h(self, p: *mut f32, v: __m256, n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe { _mm256_mask_storeu_ps(p, first_bits(n) as __mmask8, v) }
    }
    #[inline(always)]
    unsafe fn load_first_d(self, p: *const f64, n: usize) -> __m512d {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe { _mm512_maskz_loadu_pd(first_bits(n) as __mmask8, p) }
    }
    #[inline(always)]
    unsafe fn store_first_d(self, p: *mut f64, v: __m512d, n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe { _mm512_mask_storeu_pd(p, first_bits(n) as __mmask8, v) }
    }
    #[inline(always)]
    unsafe fn load_w(self, p: *const u16) -> __m256i {
        // SAFETY: the caller's contract; unaligned load.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_w(self, p: *mut u16, v: __m256i) {
        // SAFETY: the caller's contract; unaligned store.
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn load_first_w(self, p: *const u16, n: usize) -> __m256i {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe { _mm256_maskz_loadu_epi16(first_bits(n), p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_first_w(self, p: *mut u16, v: __m256i, n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe { _mm256_mask_storeu_epi16(p.cast(), first_bits(n), v) }
    }
    #[inline(always)]
    fn outline<K: Kernel>(self, kernel: K) -> K::Out {
        apart(self, kernel)
    }
    #[inline(always)]
    fn prefetch_far(self, p: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    fma_splat! {
        fma_splat(f32, __m512) by fma_ps_zmm fma_ps_zmm2
        fma_splat_d(f64, __m512d) by fma_pd_zmm fma_pd_zmm2
    }
    #[inline(always)]
    unsafe fn fma_splat_h<const OFFSET: usize, const ROWS: usize, const N: usize>(
        self,
        p: *const f32,
        stride: usize,
        b: [__m256; N],
        c: [__m256; N],
    ) -> [__m256; N] {
        // SAFETY: the caller's contract; the token proves AVX2 and FMA.
        unsafe { splat::fma_ps_ymms::<OFFSET, ROWS, N>(p, stride, b, c) }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller's contract.
        unsafe { _mm512_stream_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn stream_w(self, p: *mut u16, v: __m256i) {
        // SAFETY: the caller's contract.
        unsafe { _mm256_stream_si256(p.cast(), v) }
    }
    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 has it; it touches no memory.
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    op! {
        from_array(a: [f32; 16]) -> __m512 { core::mem::transmute::<[f32; 16], __m512>(a) }
        to_array(v: __m512) -> [f32; 16] { core::mem::transmute::<__m512, [f32; 16]>(v) }
        from_array_i(a: [i32; 16]) -> __m512i { core::mem::transmute::<[i32; 16], __m512i>(a) }
        to_array_i(v: __m512i) -> [i32; 16] { core::mem::transmute::<__m512i, [i32; 16]>(v) }
        splat(x: f32) -> __m512 { _mm512_set1_ps(x) }
        splat_i(x: i32) -> __m512i { _mm512_set1_epi32(x) }
        splat_d(x: f64) -> __m512d { _mm512_set1_pd(x) }
        to_array_d(v: __m512d) -> [f64; 8] { core::mem::transmute::<__m512d, [f64; 8]>(v) }
        to_array_h(v: __m256) -> [f32; 8] { core::mem::transmute::<__m256, [f32; 8]>(v) }

        add(a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        sub(a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        mul(a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        div(a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        sqrt(a: __m512) -> __m512 { _mm512_sqrt_ps(a) }
        fma(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fnma(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fnmadd_ps(a, b, c) }
        fms(a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmsub_ps(a, b, c) }
        min(a: __m512, b: __m512) -> __m512 { _mm512_min_ps(a, b) }
        max(a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        round(a: __m512) -> __m512 { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        exp2i(n: __m512) -> __m512 { _mm512_scalef_ps(_mm512_set1_ps(1.0), n) }
        ldexp(x: __m512, n: __m512) -> __m512 { _mm512_scalef_ps(x, n) }

        lt(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
        le(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b) }
        eq(a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
        is_nan(a: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
        gt_i(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmpgt_epi32_mask(a, b) }
        eq_i(a: __m512i, b: __m512i) -> __mmask16 { _mm512_cmpeq_epi32_mask(a, b) }
        select(m: __mmask16, a: __m512, b: __m512) -> __m512 { _mm512_mask_blend_ps(m, b, a) }

        bits(a: __m512) -> __m512i { _mm512_castps_si512(a) }
        from_bits(a: __m512i) -> __m512 { _mm512_castsi512_ps(a) }
        and(a: __m512, b: __m512) -> __m512 { _mm512_and_ps(a, b) }
        or(a: __m512, b: __m512) -> __m512 { _mm512_or_ps(a, b) }
        xor(a: __m512, b: __m512) -> __m512 { _mm512_xor_ps(a, b) }
        and_i(a: __m512i, b: __m512i) -> __m512i { _mm512_and_si512(a, b) }
        or_i(a: __m512i, b: __m512i) -> __m512i { _mm512_or_si512(a, b) }
        add_i(a: __m512i, b: __m512i) -> __m512i { _mm512_add_epi32(a, b) }
        sub_i(a: __m512i, b: __m512i) -> __m512i { _mm512_sub_epi32(a, b) }
        to_int(a: __m512) -> __m512i { _mm512_cvtps_epi32(a) }
        from_int(a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }

        widen(a: __m512) -> (__m512d, __m512d) {
            (_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(a)))
        }
        narrow(low: __m512d, high: __m512d) -> __m512 {
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high))
        }
        add_d(a: __m512d, b: __m512d) -> __m512d { _mm512_add_pd(a, b) }
        sub_d(a: __m512d, b: __m512d) -> __m512d { _mm512_sub_pd(a, b) }
        mul_d(a: __m512d, b: __m512d) -> __m512d { _mm512_mul_pd(a, b) }
        div_d(a: __m512d, b: __m512d) -> __m512d { _mm512_div_pd(a, b) }
        sqrt_d(a: __m512d) -> __m512d { _mm512_sqrt_pd(a) }
        fma_d(a: __m512d, b: __m512d, c: __m512d) -> __m512d { _mm512_fmadd_pd(a, b, c) }

        splat_h(x: f32) -> __m256 { _mm256_set1_ps(x) }
        mul_h(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        join_halves(low: __m256, high: __m256) -> __m512 { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high) }
        halves(a: __m512) -> (__m256, __m256) { (_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)) }
        fma_h(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }

        widen_w(a: __m256i) -> __m512i { _mm512_cvtepu16_epi32(a) }
        narrow_w(a: __m512i) -> __m256i { _mm512_cvtepi32_epi16(a) }
        from_f16(a: __m256i) -> __m512 { _mm512_cvtph_ps(a) }
        to_f16(a: __m512) -> __m256i { _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a) }

        sum(a: __m512) -> f32 {
            super::avx2::sum8(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)))
        }
        sum_d(a: __m512d) -> f64 {
            super::avx2::sum4_d(_mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd::<1>(a)))
        }
        max_lane(a: __m512) -> f32 {
            super::avx2::max8(_mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)))
        }
        min_lane(a: __m512) -> f32 {
            super::avx2::min8(_mm256_min_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)))
        }
        transpose(rows: [__m512; 16]) -> [__m512; 16] { transpose(rows) }
    }

    #[inline(always)]
    fn first(self, n: usize) -> __mmask16 {
        first_bits(n)
    }
    #[inline(always)]
    fn and_m(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a & b
    }
    #[inline(always)]
    fn or_m(self, a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn not_m(self, a: __mmask16) -> __mmask16 {
        !a
    }
    #[inline(always)]
    fn bits_m(self, a: __mmask16) -> u32 {
        a as u32
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: as in op!. The count is a register's: the immediate form takes an unsigned const.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: as in shl_i.
        unsafe { _mm512_srl_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn sra_i<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: as in shl_i.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(N)) }
    }
}

/// Four rounds over blocks of 1, 2, 4 and 8 lanes.
///
/// # Safety
/// The features of the token, as in every method above.
#[inline(always)]
unsafe fn transpose(r: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: no memory is touched; the features are the caller's.
    unsafe {
        let mut t = r;
        for i in 0..8 {
            t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        let mut u = t;
        for i in 0..4 {
            let (a, b) = (_mm512_castps_pd(t[4 * i]), _mm512_castps_pd(t[4 * i + 2]));
            let (c, d) = (_mm512_castps_pd(t[4 * i + 1]), _mm512_castps_pd(t[4 * i + 3]));
            u[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            u[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
            u[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
            u[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
        }
        // u[4g + j], 128-bit block q: column 4q + j of rows 4g to 4g + 3.
        let mut out = u;
        for j in 0..4 {
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(u[j], u[4 + j]);
            let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(u[j], u[4 + j]);
            let low2 = _mm512_shuffle_f32x4::<0b10_00_10_00>(u[8 + j], u[12 + j]);
            let high2 = _mm512_shuffle_f32x4::<0b11_01_11_01>(u[8 + j], u[12 + j]);
            out[j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(low, low2);
            out[8 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(low, low2);
            out[4 + j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(high, high2);
            out[12 + j] = _mm512_shuffle_f32x4::<0b11_01_11_01>(high, high2);
        }
        out
    }
}

/// [`Simd::load_turned`]. Quarter loads put rows r, r + 4, r + 8 and r + 12 into one register, which saves two rounds of
/// shuffles: one port makes those, two the loads' insertions. What holds no row but the last again is left out by fours.
///
/// # Safety
/// The features of the token; rows 0 to min(last, 15) at `p`, `ld` apart, are valid for reading 16 floats.
#[inline(always)]
unsafe fn load_turned16(p: *const f32, ld: usize, last: usize) -> [__m512; 16] {
    // SAFETY: the contract; only rows up to `last` are read.
    unsafe {
        macro_rules! quarter {
            ($row:expr, $q:expr) => {
                _mm_loadu_ps(p.add(($row).min(last) * ld + 4 * $q))
            };
        }
        let mut out = [_mm512_setzero_ps(); 16];
        for q in 0..4 {
            let mut r = [_mm512_setzero_ps(); 4];
            for i in 0..4 {
                r[i] = _mm512_castps128_ps512(quarter!(i, q));
                if last >= 4 {
                    r[i] = _mm512_insertf32x4::<1>(r[i], quarter!(4 + i, q));
                }
                if last >= 8 {
                    r[i] = _mm512_insertf32x4::<2>(r[i], quarter!(8 + i, q));
                }
                if last >= 12 {
                    r[i] = _mm512_insertf32x4::<3>(r[i], quarter!(12 + i, q));
                }
            }
            let quad = turn_quads(r);
            for i in 0..4 {
                out[4 * q + i] = quad[i];
            }
        }
        out
    }
}

/// Registers of four blocks each, block b of register i being four numbers of row 4b + i: number by number, 16 rows beside each
/// other.
///
/// # Safety
/// The features of the token.
#[inline(always)]
unsafe fn turn_quads(r: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: no memory is touched; the features are the caller's.
    unsafe {
        let (a, b) = (_mm512_unpacklo_ps(r[0], r[1]), _mm512_unpackhi_ps(r[0], r[1]));
        let (c, d) = (_mm512_unpacklo_ps(r[2], r[3]), _mm512_unpackhi_ps(r[2], r[3]));
        [
            _mm512_shuffle_ps::<0b01_00_01_00>(a, c),
            _mm512_shuffle_ps::<0b11_10_11_10>(a, c),
            _mm512_shuffle_ps::<0b01_00_01_00>(b, d),
            _mm512_shuffle_ps::<0b11_10_11_10>(b, d),
        ]
    }
}
