//! Panels: a strip of rows of A, or of columns of B, laid out in the order in which the tile reads it.

use super::driver::panel_width;
use super::real::{Real, V8, V16, Vector};
use crate::element::{Storage, bf16, f16};
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// Elements that a panel may write past its end: the last store of a vector of which only a part is wanted.
pub(super) const SLACK: usize = LANES;

/// How matrices that are multiplied may be stored.
pub(crate) trait Operand: Copy + Default + Send + Sync + 'static {
    /// What it is computed in.
    type Real: Real;
    /// Whether the elements are numbers to compute with.
    const DIRECT: bool;
    /// The elements as numbers to compute with, where no conversion is needed: such a matrix can be read in place.
    fn direct(p: *const Self) -> Option<*const Self::Real>;
    /// The element as a number to compute with.
    fn widen(self) -> Self::Real;
    /// The first `n` elements, widened; `n` ≥ LANES loads a whole vector.
    ///
    /// # Safety
    /// `p` is valid for reading min(n, LANES) elements.
    unsafe fn load_up_to<S: Simd>(s: S, p: *const Self, n: usize) -> <Self::Real as Real>::Wide<S>;
    /// Eight lanes, the first `n` ≤ 8 of them loaded and widened, the others zero.
    ///
    /// # Safety
    /// `p` is valid for reading `n` elements.
    unsafe fn load_dealt<S: Simd>(s: S, p: *const Self, n: usize) -> <Self::Real as Real>::Dealt<S>;
    /// Twice eight lanes.
    ///
    /// # Safety
    /// `p` is valid for reading 16 elements.
    unsafe fn load_dealt2<S: Simd>(s: S, p: *const Self) -> [<Self::Real as Real>::Dealt<S>; 2];
}

macro_rules! direct {
    ($($t:ty)*) => {$(
        impl Operand for $t {
            type Real = $t;
            const DIRECT: bool = true;
            #[inline(always)]
            fn direct(p: *const $t) -> Option<*const $t> {
                Some(p)
            }
            #[inline(always)]
            fn widen(self) -> $t {
                self
            }
            #[inline(always)]
            unsafe fn load_up_to<S: Simd>(s: S, p: *const $t, n: usize) -> <$t as Real>::Wide<S> {
                // SAFETY: the contract.
                unsafe { <$t as Real>::Wide::<S>::load_up_to(s, p, n) }
            }
            #[inline(always)]
            unsafe fn load_dealt<S: Simd>(s: S, p: *const $t, n: usize) -> <$t as Real>::Dealt<S> {
                // SAFETY: the contract.
                unsafe { <$t as Real>::Dealt::<S>::load_first(s, p, n) }
            }
            #[inline(always)]
            unsafe fn load_dealt2<S: Simd>(s: S, p: *const $t) -> [<$t as Real>::Dealt<S>; 2] {
                // SAFETY: the contract.
                unsafe { [<$t as Real>::Dealt::<S>::load(s, p), <$t as Real>::Dealt::<S>::load(s, p.add(8))] }
            }
        }
    )*};
}
direct! { f32 f64 }

/// bf16 and f16: stored in two bytes, computed in f32.
macro_rules! widened {
    ($($t:ty)*) => {$(
        impl Operand for $t {
            type Real = f32;
            const DIRECT: bool = false;
            #[inline(always)]
            fn direct(_: *const $t) -> Option<*const f32> {
                None
            }
            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            unsafe fn load_up_to<S: Simd>(s: S, p: *const $t, n: usize) -> V16<S> {
                // SAFETY: the contract.
                V16(unsafe { <$t as Storage>::load_up_to(s, p, n) })
            }
            #[inline(always)]
            unsafe fn load_dealt<S: Simd>(s: S, p: *const $t, n: usize) -> V8<S> {
                // SAFETY: the contract.
                V8(s.halves(unsafe { <$t as Storage>::load_first(s, p, n) }).0)
            }
            #[inline(always)]
            unsafe fn load_dealt2<S: Simd>(s: S, p: *const $t) -> [V8<S>; 2] {
                // SAFETY: the contract.
                let (low, high) = s.halves(unsafe { <$t as Storage>::load(s, p) });
                [V8(low), V8(high)]
            }
        }
    )*};
}
widened! { bf16 f16 }

/// What the numbers of a matrix are stored as: as they are computed in, or halves, which are computed in f32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Direct,
    Bf16,
    F16,
}

/// The numbers of a matrix that is multiplied: `T`, or what is widened to it.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a, T> {
    Direct(&'a [T]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a, T> Numbers<'a, T> {
    pub(super) fn len(self) -> usize {
        match self {
            Numbers::Direct(x) => x.len(),
            Numbers::Bf16(x) => x.len(),
            Numbers::F16(x) => x.len(),
        }
    }

    /// Those from `start` on.
    pub(super) fn skip(self, start: usize) -> Numbers<'a, T> {
        match self {
            Numbers::Direct(x) => Numbers::Direct(x.get(start..).unwrap_or(&[])),
            Numbers::Bf16(x) => Numbers::Bf16(x.get(start..).unwrap_or(&[])),
            Numbers::F16(x) => Numbers::F16(x.get(start..).unwrap_or(&[])),
        }
    }

    /// Where they are, and as what.
    pub(super) fn place(self) -> (*const T, Stored) {
        match self {
            Numbers::Direct(x) => (x.as_ptr(), Stored::Direct),
            Numbers::Bf16(x) => (x.as_ptr().cast(), Stored::Bf16),
            Numbers::F16(x) => (x.as_ptr().cast(), Stored::F16),
        }
    }
}

/// A strip `width` wide and `k` deep; element (i, p) stands at `src + i·across + p·along`, one of the strides being 1.
#[derive(Clone, Copy)]
pub(crate) struct Strip<O> {
    pub src: *const O,
    pub across: usize,
    pub along: usize,
    pub width: usize,
    pub k: usize,
}

/// Steps of k that are widened, or copied, at a time before they are turned.
pub(super) const STAGE: usize = 64;

/// Tiles of A that are packed at a time.
const TILES: usize = 8;

/// Rows of B that are asked for ahead of their use.
const ROWS_AHEAD: usize = 8;

impl<O: Operand> Strip<O> {
    /// Packs the strip as panels of `nr` columns, panel behind panel, the last with rows of `last` ≤ nr if it is not whole;
    /// both are multiples of the vector.
    ///
    /// # Safety
    /// The strip is readable; as many whole panels are writable at `dst`.
    #[inline(always)]
    pub(super) unsafe fn pack_panels<S: Simd>(self, s: S, dst: *mut O::Real, nr: usize, last: usize) {
        let lanes = <O::Real as Real>::LANES;
        let mut done = 0;
        // SAFETY: the contract; row p of the strip is width elements, and loads past the width are masked.
        unsafe {
            if self.across == 1 {
                // Along the rows, so that memory is read as it lies.
                let whole = self.width / nr * nr;
                let panel = nr * self.k;
                for p in 0..self.k {
                    let mut src = self.src.wrapping_add(p * self.along);
                    let mut ahead = self.src.wrapping_add((p + ROWS_AHEAD).min(self.k - 1) * self.along);
                    let mut dst = dst.wrapping_add(p * nr);
                    for _ in 0..whole / nr {
                        for j in (0..nr).step_by(lanes) {
                            s.prefetch(ahead.wrapping_add(j).cast());
                            O::load_up_to(s, src.add(j), lanes).store(s, dst.add(j));
                        }
                        src = src.wrapping_add(nr);
                        ahead = ahead.wrapping_add(nr);
                        dst = dst.wrapping_add(panel);
                    }
                }
                done = whole;
            }
            while done < self.width {
                let width = nr.min(self.width - done);
                let part = Strip { src: self.src.wrapping_add(done * self.across), width, ..self };
                part.pack(s, dst.add(done * self.k), if width < nr { last } else { nr });
                done += nr;
            }
        }
    }

    /// Packs the strip as tiles `height` high, tile behind tile: element (i, p) of a tile goes to its p·height + i. The
    /// width is a multiple of the height. Up to [`SLACK`] elements past the end are overwritten.
    ///
    /// # Safety
    /// The strip is readable; width·k + SLACK elements are writable at `dst`.
    #[inline(always)]
    pub(super) unsafe fn pack_tiles<S: Simd>(self, s: S, dst: *mut O::Real, height: usize) {
        // SAFETY: the contract.
        unsafe {
            match O::direct(self.src) {
                Some(src) if self.across == 1 && height <= <O::Real as Real>::LANES => {
                    let Strip { across, along, width, k, .. } = self;
                    let strip = Strip { src, across, along, width, k };
                    if height <= <O::Real as Real>::HALF {
                        strip.copy_tiles::<S, <O::Real as Real>::Narrow<S>>(s, dst, height);
                    } else {
                        strip.copy_tiles::<S, <O::Real as Real>::Wide<S>>(s, dst, height);
                    }
                }
                _ => {
                    for i in (0..self.width).step_by(height) {
                        let part = Strip { src: self.src.wrapping_add(i * self.across), width: height, ..self };
                        part.pack(s, dst.add(i * self.k), height);
                    }
                }
            }
        }
    }

    /// [`Strip::pack_panels`] and [`Strip::pack_tiles`] for [`Simd::COMPACT`]; what the width lacks to whole panels is zeros.
    ///
    /// # Safety
    /// The strip is readable; its width up to a multiple of `height`, times k, is writable at `dst`.
    #[inline(never)]
    unsafe fn one_by_one(self, dst: *mut O::Real, height: usize) {
        for i in 0..self.width.next_multiple_of(height) {
            for p in 0..self.k {
                let x = if i < self.width {
                    // SAFETY: inside of the strip.
                    unsafe { *self.src.add(i * self.across + p * self.along) }
                } else {
                    O::default()
                };
                // SAFETY: element (i mod height, p) of a panel that is writable (contract).
                unsafe { *dst.add(i / height * height * self.k + p * height + i % height) = x.widen() };
            }
        }
    }

    /// Writes element (i, p) to `dst[p·stride + i]`; what stands at `width` ≤ i < `stride` is unspecified but
    /// initialised. With a stride that is no multiple of 16 up to [`SLACK`] elements past the end are overwritten.
    ///
    /// # Safety
    /// The strip is readable; k·stride + SLACK elements are writable at `dst`.
    #[inline(always)]
    pub(super) unsafe fn pack<S: Simd>(self, s: S, dst: *mut O::Real, stride: usize) {
        if self.across == 1 {
            s.outline(&CopyColumns { strip: self, dst, stride });
        } else if let Some(src) = O::direct(self.src) {
            let Strip { across, along, width, k, .. } = self;
            s.outline(&TurnColumns { strip: Strip { src, across, along, width, k }, dst, stride });
        } else {
            s.outline(&WidenColumns { strip: self, dst, stride });
        }
    }

    /// Columns whose elements stand side by side.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn copy<S: Simd>(self, s: S, dst: *mut O::Real, stride: usize) {
        let lanes = <O::Real as Real>::LANES;
        // SAFETY: row p of the strip is width elements (contract); the stores end at most SLACK after k·stride.
        unsafe {
            // The last columns first, as in turn.
            for i in (0..self.width).step_by(lanes).rev() {
                let (src, dst, width) = (self.src.wrapping_add(i), dst.add(i), self.width - i);
                if width >= lanes {
                    for p in 0..self.k {
                        O::load_up_to(s, src.wrapping_add(p * self.along), lanes).store(s, dst.add(p * stride));
                    }
                } else {
                    for p in 0..self.k {
                        O::load_up_to(s, src.wrapping_add(p * self.along), width).store(s, dst.add(p * stride));
                    }
                }
            }
        }
    }

    /// Columns that are contiguous along k, as rows `stride` apart, which are written to the next whole vector.
    ///
    /// # Safety
    /// The strip is readable; `width` rows of whole vectors are writable at `dst`.
    #[inline(always)]
    unsafe fn rows<S: Simd>(self, s: S, dst: *mut O::Real, stride: usize) {
        for i in 0..self.width {
            let (src, dst) = (self.src.wrapping_add(i * self.across), dst.wrapping_add(i * stride));
            for p in (0..self.k).step_by(<O::Real as Real>::LANES) {
                // SAFETY: column i is k elements from src on (contract); loads past them are masked.
                unsafe { O::load_up_to(s, src.add(p), self.k - p).store(s, dst.add(p)) };
            }
        }
    }

    /// Columns that are contiguous along k, of numbers that must be widened: some of each at a time, into a buffer that
    /// stays in the first-level cache.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn widen_and_turn<S: Simd>(self, s: S, dst: *mut O::Real, stride: usize) {
        let mut stage = [const { MaybeUninit::<O::Real>::uninit() }; LANES * STAGE];
        let stage = stage.as_mut_ptr().cast::<O::Real>();
        // SAFETY: column i < width is k elements from src + i·across (contract), of which up to STAGE are widened into
        // its own part of the buffer; loads past k are masked.
        unsafe {
            for i0 in (0..self.width).step_by(LANES) {
                let width = LANES.min(self.width - i0);
                for p0 in (0..self.k).step_by(STAGE) {
                    let k = STAGE.min(self.k - p0);
                    Strip { src: self.src.wrapping_add(i0 * self.across + p0), width, k, ..self }.rows(s, stage, STAGE);
                    let part = Strip { src: stage.cast_const(), across: STAGE, along: 1, width, k };
                    s.outline(&TurnColumns { strip: part, dst: dst.add(p0 * stride + i0), stride });
                }
            }
        }
    }
}

/// Ways of [`Strip::pack`] as functions of their own, which packing as panels and as tiles share.
macro_rules! ways {
    ($($name:ident: $bound:ident, $real:ty, $way:ident)*) => {$(
        pub(super) struct $name<T: $bound> {
            pub strip: Strip<T>,
            pub dst: *mut $real,
            pub stride: usize,
        }
        impl<T: $bound> Kernel for &$name<T> {
            type Out = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                // SAFETY: the contract of Strip::pack, which makes it.
                unsafe { self.strip.$way(s, self.dst, self.stride) }
            }
        }
    )*};
}
ways! { CopyColumns: Operand, T::Real, copy  WidenColumns: Operand, T::Real, widen_and_turn  TurnColumns: Real, T, turn }

/// [`Strip::pack_panels`] of the instruction set's width as a function of its own: strip, destination, rows of the last panel.
pub(crate) struct PackPanels<O: Operand>(pub Strip<O>, pub *mut O::Real, pub usize);

impl<O: Operand> Kernel for &PackPanels<O> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = const { panel_width::<O::Real>(S::ISA) };
        // SAFETY: the contract of whoever made it.
        unsafe {
            if S::COMPACT { self.0.one_by_one(self.1, width) } else { self.0.pack_panels(s, self.1, width, self.2) }
        }
    }
}

/// [`Strip::pack_tiles`] as a function of its own.
pub(super) struct PackTiles<O: Operand>(pub Strip<O>, pub *mut O::Real, pub usize);

impl<O: Operand> Kernel for &PackTiles<O> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the contract of whoever made it.
        unsafe { if S::COMPACT { self.0.one_by_one(self.1, self.2) } else { self.0.pack_tiles(s, self.1, self.2) } }
    }
}

/// [`Strip::rows`] as a function of its own.
pub(super) struct CopyRows<O: Operand>(pub Strip<O>, pub *mut O::Real, pub usize);

impl<O: Operand> Kernel for &CopyRows<O> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the contract of whoever made it.
        unsafe { self.0.rows(s, self.1, self.2) }
    }
}

/// Runs a kernel on the strip as what it is stored as.
macro_rules! stored {
    ($($(#[$doc:meta])* $name:ident runs $kernel:ident)*) => {$(
        $(#[$doc])*
        pub(super) struct $name<T: Real>(pub Strip<T>, pub Stored, pub *mut T, pub usize);

        impl<T: Real> Kernel for &$name<T> {
            type Out = ();
            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                let $name(strip, stored, dst, height) = *self;
                match stored {
                    Stored::Bf16 if T::OF_HALVES => s.outline(&$kernel(strip.cast::<bf16>(), dst.cast(), height)),
                    Stored::F16 if T::OF_HALVES => s.outline(&$kernel(strip.cast::<f16>(), dst.cast(), height)),
                    _ => s.outline(&$kernel(strip, dst, height)),
                }
            }
        }
    )*};
}
stored! {
    /// [`PackPanels`] of any storage.
    StoredPanels runs PackPanels
    /// [`PackTiles`] of any storage.
    StoredTiles runs PackTiles
    /// [`CopyRows`] of any storage.
    StoredRows runs CopyRows
}

impl<T> Strip<T> {
    #[inline(always)]
    fn cast<O>(self) -> Strip<O> {
        let Strip { src, across, along, width, k } = self;
        Strip { src: src.cast(), across, along, width, k }
    }
}

impl<T: Real> Strip<T> {
    /// [`Strip::pack_tiles`] along rows, tiles of at most a vector.
    ///
    /// # Safety
    /// As there; across is 1.
    #[inline(always)]
    unsafe fn copy_tiles<S: Simd, V: Vector<S, T>>(self, s: S, dst: *mut T, height: usize) {
        // SAFETY: the contract; only the first `height` elements are read for the last tile.
        unsafe {
            // Some tiles at a time along the rows, so that memory is read nearly as it lies. A store's surplus is overwritten
            // by the rows after it.
            for i0 in (0..self.width).step_by(TILES * height) {
                let end = self.width.min(i0 + TILES * height);
                for p in 0..self.k {
                    let (src, dst) = (self.src.wrapping_add(p * self.along), dst.wrapping_add(p * height));
                    let mut i = i0;
                    // What a store has too much must not reach the next tile.
                    let surplus = p * height + V::LANES <= self.k * height;
                    while i < end {
                        s.prefetch(src.wrapping_add(ROWS_AHEAD * self.along + i).cast());
                        i += LANES;
                    }
                    i = i0;
                    while surplus && i + V::LANES <= self.width && i < end {
                        V::load(s, src.add(i)).store(s, dst.add(i * self.k));
                        i += height;
                    }
                    while i < end {
                        V::load_first(s, src.add(i), height).store_first(s, dst.add(i * self.k), height);
                        i += height;
                    }
                }
            }
        }
    }

    /// Columns that are contiguous along k, in square blocks that turn in registers.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn turn<S: Simd>(self, s: S, dst: *mut T, stride: usize) {
        let (side, quad) = (T::turn_side(S::ISA), T::LANES / 4);
        // SAFETY: column i < width is k elements from src + i·across (contract); a column past the width repeats the last
        // one; the stores end at most SLACK after k·stride.
        unsafe {
            // The last columns first: what their stores have too much reaches into the row after, which the others then
            // write.
            for block in (0..self.width.div_ceil(side)).rev() {
                let i = block * side;
                let (src, dst) = (self.src.wrapping_add(i * self.across), dst.add(i));
                let left = self.width - i;
                // With constants in place of the side and the last column, or bounds on it, the addresses of a block are a
                // few registers.
                if left >= side {
                    self.turn_columns(s, src, side, side - 1, dst, stride);
                } else if left <= T::HALF {
                    self.turn_columns(s, src, side.min(T::HALF), left - 1, dst, stride);
                } else if left <= 3 * quad {
                    self.turn_columns(s, src, side, (left - 1).clamp(2 * quad, 3 * quad - 1), dst, stride);
                } else {
                    self.turn_columns(s, src, side, (left - 1).clamp(3 * quad, 4 * quad - 1), dst, stride);
                }
            }
        }
    }

    /// # Safety
    /// As [`Strip::turn`], for the columns from `src` to the one `last` after it, in blocks of `side`.
    #[inline(always)]
    unsafe fn turn_columns<S: Simd>(self, s: S, src: *const T, side: usize, last: usize, dst: *mut T, stride: usize) {
        // SAFETY: the contract.
        unsafe {
            let (mut at, mut to) = (src, dst);
            let mut left = self.k;
            while left >= LANES {
                for _ in 0..LANES / side {
                    T::turn(s, side, at, self.across, last, to, stride);
                    at = at.add(side);
                    to = to.add(side * stride);
                }
                left -= LANES;
            }
            while left >= side {
                T::turn(s, side, at, self.across, last, to, stride);
                at = at.add(side);
                to = to.add(side * stride);
                left -= side;
            }
            for p in 0..left {
                for r in 0..=last {
                    *to.add(p * stride + r) = *at.add(r * self.across + p);
                }
            }
        }
    }
}
