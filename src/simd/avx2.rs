//! Two `__m256`.

use super::{Isa, Kernel, Simd, splat};
use core::arch::x86_64::*;

/// AVX2 with FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// A token, where the CPU and the operating system have the instructions.
    #[inline]
    pub fn new() -> Option<Self> {
        let found =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        found.then_some(Avx2(()))
    }

    /// # Safety
    /// The machine has the instructions.
    #[inline]
    pub(super) unsafe fn assume() -> Self {
        Avx2(())
    }
}

/// # Safety
/// The token proves that the features were detected.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn enter<K: Kernel>(simd: Avx2, kernel: K) -> K::Out {
    kernel.run(simd)
}

/// [`enter`], not inlined: rustc 1.95 does not tell LLVM so of functions with features of their own. A jump is the cost.
#[inline(never)]
fn apart<K: Kernel>(simd: Avx2, kernel: K) -> K::Out {
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

/// Sixteen ones, then sixteen zeros: a window of it masks the first lanes.
static ONES_THEN_ZEROS: [i32; 32] = {
    let mut a = [0; 32];
    let mut i = 0;
    while i < 16 {
        a[i] = -1;
        i += 1;
    }
    a
};

/// All bits set in the first `n` ≤ 16 lanes.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn first_masks(n: usize) -> [__m256i; 2] {
    debug_assert!(n <= 16);
    // SAFETY: 16 - n + 16 <= 32, the table's length, for every n <= 16.
    unsafe {
        let p = ONES_THEN_ZEROS.as_ptr().add(16 - n);
        [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())]
    }
}

/// All bits set in the first `n` ≤ 8 doubles.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn first_masks_d(n: usize) -> [__m256i; 2] {
    // SAFETY: no memory but the table of first_masks is touched.
    unsafe {
        let m = first_masks(2 * n);
        [m[0], m[1]]
    }
}

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn widen(a: __m256) -> [__m256d; 2] {
    // SAFETY: no memory is touched.
    unsafe { [_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(a))] }
}

/// A fold by halves of 8 lanes.
macro_rules! fold8 {
    ($name:ident, $packed:ident, $single:ident) => {
        /// # Safety
        /// AVX.
        #[inline(always)]
        pub(super) unsafe fn $name(a: __m256) -> f32 {
            // SAFETY: no memory is touched.
            unsafe {
                let x = $packed(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let x = $packed(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32($single(x, _mm_movehdup_ps(x)))
            }
        }
    };
}
fold8!(sum8, _mm_add_ps, _mm_add_ss);
fold8!(max8, _mm_max_ps, _mm_max_ss);
fold8!(min8, _mm_min_ps, _mm_min_ss);

/// # Safety
/// AVX.
#[inline(always)]
pub(super) unsafe fn sum4_d(a: __m256d) -> f64 {
    // SAFETY: no memory is touched.
    unsafe {
        let x = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd::<1>(a));
        _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)))
    }
}

impl Simd for Avx2 {
    const ISA: Isa = Isa::Avx2;
    const FUSED: bool = true;
    const PAIRED: bool = true;
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type M = [__m256; 2];
    type D = [__m256d; 2];
    type H = __m256;
    type W = __m256i;

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [__m256; 2] {
        // SAFETY: the caller's contract; unaligned loads.
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: [__m256; 2]) {
        // SAFETY: the caller's contract; unaligned stores.
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, n: usize) -> [__m256; 2] {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe {
            let m = first_masks(n);
            [_mm256_maskload_ps(p, m[0]), _mm256_maskload_ps(p.wrapping_add(8), m[1])]
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, v: [__m256; 2], n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe {
            let m = first_masks(n);
            _mm256_maskstore_ps(p, m[0], v[0]);
            _mm256_maskstore_ps(p.wrapping_add(8), m[1], v[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_d(self, p: *const f64) -> [__m256d; 2] {
        // SAFETY: the caller's contract; unaligned loads.
        unsafe { [_mm256_loadu_pd(p), _mm256_loadu_pd(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn store_d(self, p: *mut f64, v: [__m256d; 2]) {
        // SAFETY: the caller's contract; unaligned stores.
        unsafe {
            _mm256_storeu_pd(p, v[0]);
            _mm256_storeu_pd(p.add(4), v[1]);
        }
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
        unsafe { load_turned8(p, ld, last) }
    }
    #[inline(always)]
    unsafe fn turn_d(self, p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
        // SAFETY: the caller's contract; the token proves AVX2.
        unsafe { turn4_d(p, ld, last, dst, stride) }
    }
    #[inline(always)]
    unsafe fn load_first_h(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe { _mm256_maskload_ps(p, first_masks(n)[0]) }
    }
    #[inline(always)]
    unsafe fn store_first_h(self, p: *mut f32, v: __m256, n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe { _mm256_maskstore_ps(p, first_masks(n)[0], v) }
    }
    #[inline(always)]
    unsafe fn load_first_d(self, p: *const f64, n: usize) -> [__m256d; 2] {
        // SAFETY: masked lanes are not accessed; the first n are readable (contract).
        unsafe {
            let m = first_masks_d(n);
            [_mm256_maskload_pd(p, m[0]), _mm256_maskload_pd(p.wrapping_add(4), m[1])]
        }
    }
    #[inline(always)]
    unsafe fn store_first_d(self, p: *mut f64, v: [__m256d; 2], n: usize) {
        // SAFETY: masked lanes are not accessed; the first n are writable (contract).
        unsafe {
            let m = first_masks_d(n);
            _mm256_maskstore_pd(p, m[0], v[0]);
            _mm256_maskstore_pd(p.wrapping_add(4), m[1], v[1]);
        }
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
        // Pairs by mask; the last word of an odd count alone, in its own lane.
        // SAFETY: masked pairs are not accessed; the first n words are readable (contract).
        unsafe {
            let pairs = _mm256_maskload_epi32(p.cast(), first_masks(n / 2)[0]);
            if n.is_multiple_of(2) {
                return pairs;
            }
            let mut last = [0u16; 16];
            last[n - 1] = *p.add(n - 1);
            _mm256_or_si256(pairs, _mm256_loadu_si256(last.as_ptr().cast()))
        }
    }
    #[inline(always)]
    unsafe fn store_first_w(self, p: *mut u16, v: __m256i, n: usize) {
        // SAFETY: masked pairs are not accessed, the first n words are writable (contract).
        unsafe {
            _mm256_maskstore_epi32(p.cast(), first_masks(n / 2)[0], v);
            if !n.is_multiple_of(2) {
                let mut words = [0u16; 16];
                _mm256_storeu_si256(words.as_mut_ptr().cast(), v);
                *p.add(n - 1) = words[n - 1];
            }
        }
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
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: [__m256; 2]) {
        // SAFETY: the caller's contract.
        unsafe {
            _mm256_stream_ps(p, v[0]);
            _mm256_stream_ps(p.add(8), v[1]);
        }
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
        from_array(a: [f32; 16]) -> [__m256; 2] { core::mem::transmute::<[f32; 16], [__m256; 2]>(a) }
        to_array(v: [__m256; 2]) -> [f32; 16] { core::mem::transmute::<[__m256; 2], [f32; 16]>(v) }
        from_array_i(a: [i32; 16]) -> [__m256i; 2] { core::mem::transmute::<[i32; 16], [__m256i; 2]>(a) }
        to_array_i(v: [__m256i; 2]) -> [i32; 16] { core::mem::transmute::<[__m256i; 2], [i32; 16]>(v) }
        splat(x: f32) -> [__m256; 2] { [_mm256_set1_ps(x); 2] }
        splat_i(x: i32) -> [__m256i; 2] { [_mm256_set1_epi32(x); 2] }
        splat_d(x: f64) -> [__m256d; 2] { [_mm256_set1_pd(x); 2] }
        to_array_d(v: [__m256d; 2]) -> [f64; 8] { core::mem::transmute::<[__m256d; 2], [f64; 8]>(v) }
        to_array_h(v: __m256) -> [f32; 8] { core::mem::transmute::<__m256, [f32; 8]>(v) }
        add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        sub(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        div(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
        min(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
        max(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        and(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_and_ps(a[0], b[0]), _mm256_and_ps(a[1], b[1])] }
        or(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_or_ps(a[0], b[0]), _mm256_or_ps(a[1], b[1])] }
        xor(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_xor_ps(a[0], b[0]), _mm256_xor_ps(a[1], b[1])] }
        sqrt(a: [__m256; 2]) -> [__m256; 2] { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
        fma(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        fnma(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] { [_mm256_fnmadd_ps(a[0], b[0], c[0]), _mm256_fnmadd_ps(a[1], b[1], c[1])] }
        fms(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] { [_mm256_fmsub_ps(a[0], b[0], c[0]), _mm256_fmsub_ps(a[1], b[1], c[1])] }
        round(a: [__m256; 2]) -> [__m256; 2] { [_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[0]), _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a[1])] }
        lt(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])] }
        le(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_cmp_ps::<_CMP_LE_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LE_OQ>(a[1], b[1])] }
        eq(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_cmp_ps::<_CMP_EQ_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_EQ_OQ>(a[1], b[1])] }
        is_nan(a: [__m256; 2]) -> [__m256; 2] { [_mm256_cmp_ps::<_CMP_UNORD_Q>(a[0], a[0]), _mm256_cmp_ps::<_CMP_UNORD_Q>(a[1], a[1])] }
        gt_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256; 2] { [_mm256_castsi256_ps(_mm256_cmpgt_epi32(a[0], b[0])), _mm256_castsi256_ps(_mm256_cmpgt_epi32(a[1], b[1]))] }
        eq_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256; 2] { [_mm256_castsi256_ps(_mm256_cmpeq_epi32(a[0], b[0])), _mm256_castsi256_ps(_mm256_cmpeq_epi32(a[1], b[1]))] }
        select(m: [__m256; 2], a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_blendv_ps(b[0], a[0], m[0]), _mm256_blendv_ps(b[1], a[1], m[1])] }
        first(n: usize) -> [__m256; 2] { { let m = first_masks(n); [_mm256_castsi256_ps(m[0]), _mm256_castsi256_ps(m[1])] } }
        and_m(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_and_ps(a[0], b[0]), _mm256_and_ps(a[1], b[1])] }
        or_m(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] { [_mm256_or_ps(a[0], b[0]), _mm256_or_ps(a[1], b[1])] }
        not_m(a: [__m256; 2]) -> [__m256; 2] { { let ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1)); [_mm256_xor_ps(a[0], ones), _mm256_xor_ps(a[1], ones)] } }
        bits_m(a: [__m256; 2]) -> u32 { _mm256_movemask_ps(a[0]) as u32 | (_mm256_movemask_ps(a[1]) as u32) << 8 }
        bits(a: [__m256; 2]) -> [__m256i; 2] { [_mm256_castps_si256(a[0]), _mm256_castps_si256(a[1])] }
        from_bits(a: [__m256i; 2]) -> [__m256; 2] { [_mm256_castsi256_ps(a[0]), _mm256_castsi256_ps(a[1])] }
        and_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
        or_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
        add_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
        sub_i(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] { [_mm256_sub_epi32(a[0], b[0]), _mm256_sub_epi32(a[1], b[1])] }
        to_int(a: [__m256; 2]) -> [__m256i; 2] { [_mm256_cvtps_epi32(a[0]), _mm256_cvtps_epi32(a[1])] }
        from_int(a: [__m256i; 2]) -> [__m256; 2] { [_mm256_cvtepi32_ps(a[0]), _mm256_cvtepi32_ps(a[1])] }
        widen(a: [__m256; 2]) -> ([__m256d; 2], [__m256d; 2]) { (widen(a[0]), widen(a[1])) }
        narrow(low: [__m256d; 2], high: [__m256d; 2]) -> [__m256; 2] { [_mm256_set_m128(_mm256_cvtpd_ps(low[1]), _mm256_cvtpd_ps(low[0])), _mm256_set_m128(_mm256_cvtpd_ps(high[1]), _mm256_cvtpd_ps(high[0]))] }
        add_d(a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] { [_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])] }
        sub_d(a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] { [_mm256_sub_pd(a[0], b[0]), _mm256_sub_pd(a[1], b[1])] }
        mul_d(a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] { [_mm256_mul_pd(a[0], b[0]), _mm256_mul_pd(a[1], b[1])] }
        div_d(a: [__m256d; 2], b: [__m256d; 2]) -> [__m256d; 2] { [_mm256_div_pd(a[0], b[0]), _mm256_div_pd(a[1], b[1])] }
        sqrt_d(a: [__m256d; 2]) -> [__m256d; 2] { [_mm256_sqrt_pd(a[0]), _mm256_sqrt_pd(a[1])] }
        fma_d(a: [__m256d; 2], b: [__m256d; 2], c: [__m256d; 2]) -> [__m256d; 2] { [_mm256_fmadd_pd(a[0], b[0], c[0]), _mm256_fmadd_pd(a[1], b[1], c[1])] }
        splat_h(x: f32) -> __m256 { _mm256_set1_ps(x) }
        mul_h(a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fma_h(a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        widen_w(a: __m256i) -> [__m256i; 2] { [_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(a))] }
        narrow_w(a: [__m256i; 2]) -> __m256i { _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a[0], a[1])) }
        from_f16(a: __m256i) -> [__m256; 2] { [_mm256_cvtph_ps(_mm256_castsi256_si128(a)), _mm256_cvtph_ps(_mm256_extracti128_si256::<1>(a))] }
        to_f16(a: [__m256; 2]) -> __m256i { _mm256_set_m128i(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a[1]), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a[0])) }
        sum(a: [__m256; 2]) -> f32 { sum8(_mm256_add_ps(a[0], a[1])) }
        sum_d(a: [__m256d; 2]) -> f64 { sum4_d(_mm256_add_pd(a[0], a[1])) }
        max_lane(a: [__m256; 2]) -> f32 { max8(_mm256_max_ps(a[0], a[1])) }
        min_lane(a: [__m256; 2]) -> f32 { min8(_mm256_min_ps(a[0], a[1])) }
    }

    #[inline(always)]
    fn halves(self, a: [__m256; 2]) -> (__m256, __m256) {
        (a[0], a[1])
    }
    #[inline(always)]
    unsafe fn fma_splat<const OFFSET: usize, const ROWS: usize, const N: usize>(
        self,
        p: *const f32,
        stride: usize,
        b: [[__m256; 2]; N],
        mut c: [[__m256; 2]; N],
    ) -> [[__m256; 2]; N] {
        for i in 0..N {
            // SAFETY: the caller's contract; the token proves AVX2 and FMA.
            c[i] = unsafe { splat::fma_ps_ymm2::<OFFSET, ROWS>(p, stride, b[i], c[i]) };
        }
        c
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
    unsafe fn fma_splat_d<const OFFSET: usize, const ROWS: usize, const N: usize>(
        self,
        p: *const f64,
        stride: usize,
        b: [[__m256d; 2]; N],
        mut c: [[__m256d; 2]; N],
    ) -> [[__m256d; 2]; N] {
        for i in 0..N {
            // SAFETY: the caller's contract; the token proves AVX2 and FMA.
            c[i] = unsafe { splat::fma_pd_ymm2::<OFFSET, ROWS>(p, stride, b[i], c[i]) };
        }
        c
    }
    #[inline(always)]
    fn ldexp(self, x: [__m256; 2], n: [__m256; 2]) -> [__m256; 2] {
        super::ldexp_by_parts(self, x, n)
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as in op!.
        unsafe { [_mm256_slli_epi32::<N>(a[0]), _mm256_slli_epi32::<N>(a[1])] }
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as in op!.
        unsafe { [_mm256_srli_epi32::<N>(a[0]), _mm256_srli_epi32::<N>(a[1])] }
    }
    #[inline(always)]
    fn sra_i<const N: i32>(self, a: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: as in op!.
        unsafe { [_mm256_srai_epi32::<N>(a[0]), _mm256_srai_epi32::<N>(a[1])] }
    }
    #[inline(always)]
    fn transpose(self, rows: [[__m256; 2]; 16]) -> [[__m256; 2]; 16] {
        // Plain loops: closures handed to array functions may be compiled outside the entry.
        let mut out = rows;
        for i in 0..2 {
            for j in 0..2 {
                let mut block = [rows[0][0]; 8];
                for r in 0..8 {
                    block[r] = rows[8 * i + r][j];
                }
                // SAFETY: the token proves AVX2.
                let block = unsafe { transpose8(block) };
                for r in 0..8 {
                    out[8 * j + r][i] = block[r];
                }
            }
        }
        out
    }
}

/// # Safety
/// AVX.
#[inline(always)]
pub(super) unsafe fn transpose8(r: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: no memory is touched.
    unsafe {
        let mut t = r;
        for i in 0..4 {
            t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        let mut u = t;
        for i in 0..2 {
            u[4 * i] = _mm256_shuffle_ps::<0b01_00_01_00>(t[4 * i], t[4 * i + 2]);
            u[4 * i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(t[4 * i], t[4 * i + 2]);
            u[4 * i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(t[4 * i + 1], t[4 * i + 3]);
            u[4 * i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(t[4 * i + 1], t[4 * i + 3]);
        }
        let mut out = u;
        for j in 0..4 {
            out[j] = _mm256_permute2f128_ps::<0x20>(u[j], u[4 + j]);
            out[4 + j] = _mm256_permute2f128_ps::<0x31>(u[j], u[4 + j]);
        }
        out
    }
}

/// [`Simd::load_turned_h`]. Half loads put rows r and r + 4 into one register, which saves the last round of shuffles.
///
/// # Safety
/// AVX; rows 0 to min(last, 7) at `p`, `ld` apart, are valid for reading 8 floats.
#[inline(always)]
pub(super) unsafe fn load_turned8(p: *const f32, ld: usize, last: usize) -> [__m256; 8] {
    // SAFETY: the contract; only rows up to `last` are read.
    unsafe {
        let zero = _mm256_setzero_ps();
        // r[i], r[4 + i]: the left and the right half of rows i and i + 4.
        let mut r = [zero; 8];
        for i in 0..4 {
            let (low, high) = (p.add(i.min(last) * ld), p.add((i + 4).min(last) * ld));
            r[i] = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high));
            r[4 + i] =
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(low.add(4))), _mm_loadu_ps(high.add(4)));
        }
        let mut out = [zero; 8];
        for h in 0..2 {
            let r = [r[4 * h], r[4 * h + 1], r[4 * h + 2], r[4 * h + 3]];
            let (a, b) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
            out[4 * h] = _mm256_shuffle_ps::<0b01_00_01_00>(a, c);
            out[4 * h + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, c);
            out[4 * h + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(b, d);
            out[4 * h + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(b, d);
        }
        out
    }
}

/// [`Simd::turn_d`].
///
/// # Safety
/// AVX; as there.
#[inline(always)]
pub(super) unsafe fn turn4_d(p: *const f64, ld: usize, last: usize, dst: *mut f64, stride: usize) {
    // SAFETY: the contract; only rows up to `last` are read.
    unsafe {
        let mut r = [_mm256_setzero_pd(); 4];
        for h in 0..2 {
            for i in 0..2 {
                let (low, high) = (p.add(i.min(last) * ld + 2 * h), p.add((i + 2).min(last) * ld + 2 * h));
                r[2 * h + i] = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high));
            }
        }
        for h in 0..2 {
            _mm256_storeu_pd(dst.add(2 * h * stride), _mm256_unpacklo_pd(r[2 * h], r[2 * h + 1]));
            _mm256_storeu_pd(dst.add((2 * h + 1) * stride), _mm256_unpackhi_pd(r[2 * h], r[2 * h + 1]));
        }
    }
}
