//! Sums of squares in f64 that go on from one tensor to the next.

use crate::simd::{LANES, Simd};

/// `N` sums, of which element i of a chunk adds into number i mod `N`. They rest here between the tensors of a chunk: the
/// lanes of a vector are numbered from the start of a tensor, so they are turned to where the next one starts.
pub(super) struct Lanes<const N: usize> {
    /// The same sums twice, so that every turn of them is contiguous.
    twice: [[f64; N]; 2],
    /// Which of the chunk's lanes stands first.
    first: usize,
}

impl<const N: usize> Lanes<N> {
    pub(super) fn new() -> Self {
        Lanes { twice: [[0.0; N]; 2], first: 0 }
    }

    /// The lanes from that of element `at` of the chunk on.
    #[inline(always)]
    fn from(&self, at: usize) -> *const f64 {
        // Below N, so that N doubles follow.
        self.twice.as_ptr().cast::<f64>().wrapping_add((at + N - self.first) % N)
    }

    #[inline(always)]
    fn halves(&mut self, at: usize) -> [*mut f64; 2] {
        self.first = at % N;
        let start = self.twice.as_mut_ptr().cast::<f64>();
        [start, start.wrapping_add(N)]
    }
}

/// Sixteen sums, for a pass that does nothing else: two accumulators of eight keep its additions apart.
#[derive(Clone, Copy)]
pub(super) struct Squares<S: Simd> {
    low: S::D,
    high: S::D,
}

impl<S: Simd> Squares<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        Squares { low: s.splat_d(0.0), high: s.splat_d(0.0) }
    }

    /// The sums so far, for a tensor that starts at element `at` of the chunk.
    #[inline(always)]
    pub(super) fn load(s: S, lanes: &Lanes<LANES>, at: usize) -> Self {
        let p = lanes.from(at);
        // SAFETY: sixteen doubles follow p (Lanes::from).
        unsafe { Squares { low: s.load_d(p), high: s.load_d(p.add(8)) } }
    }

    #[inline(always)]
    pub(super) fn store(self, s: S, lanes: &mut Lanes<LANES>, at: usize) {
        for p in lanes.halves(at) {
            // SAFETY: each half has sixteen doubles.
            unsafe {
                s.store_d(p, self.low);
                s.store_d(p.add(8), self.high);
            }
        }
    }

    /// The square of an f32 is exact in f64, so fused or not gives the same bits.
    #[inline(always)]
    pub(super) fn add(&mut self, s: S, x: S::F) {
        let (low, high) = s.widen(x);
        self.low = s.fma_d(low, low, self.low);
        self.high = s.fma_d(high, high, self.high);
    }

    #[inline(always)]
    pub(super) fn total(self, s: S) -> f64 {
        s.sum_dd(self.low, self.high)
    }
}

/// Eight sums, for a pass that has other uses for its registers.
#[derive(Clone, Copy)]
pub(super) struct FewSquares<S: Simd>(S::D);

impl<S: Simd> FewSquares<S> {
    /// The sums so far, for a tensor that starts at element `at` of the chunk.
    #[inline(always)]
    pub(super) fn load(s: S, lanes: &Lanes<8>, at: usize) -> Self {
        // SAFETY: eight doubles follow (Lanes::from).
        FewSquares(unsafe { s.load_d(lanes.from(at)) })
    }

    #[inline(always)]
    pub(super) fn store(self, s: S, lanes: &mut Lanes<8>, at: usize) {
        for p in lanes.halves(at) {
            // SAFETY: each half has eight doubles.
            unsafe { s.store_d(p, self.0) };
        }
    }

    #[inline(always)]
    pub(super) fn add(&mut self, s: S, x: S::F) {
        let (low, high) = s.widen(x);
        self.0 = s.fma_d(high, high, s.fma_d(low, low, self.0));
    }
}

/// A chunk's sum: its lanes folded by halves.
pub(super) fn fold<const N: usize>(lanes: &Lanes<N>) -> f64 {
    let mut sums: [f64; N] = std::array::from_fn(|lane| lanes.twice[0][(lane + N - lanes.first) % N]);
    let mut n = N / 2;
    while n > 0 {
        for lane in 0..n {
            sums[lane] += sums[lane + n];
        }
        n /= 2;
    }
    sums[0]
}
