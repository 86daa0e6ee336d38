//! Block sizes: one row for each instruction set, and why.

use super::real::Real;
use crate::simd::Isa;

/// Depth of a block of k. It is part of the specification: sums start anew at each multiple.
pub const K_BLOCK: usize = 256;

/// Depth of a block of k in the dealt order, 8 lanes of [`K_BLOCK`]. Part of the specification too.
pub const DEALT_BLOCK: usize = 8 * K_BLOCK;

/// Rows of a register tile at most.
///
/// AVX-512: 14 × 2 accumulators, 2 vectors of B, 1 broadcast, of 32 registers; 16 loads for 28 FMAs. AVX2: a vector is
/// two registers, so 6 × 2 accumulators, 2 of B, 1 broadcast, of 16. NEON: 4 registers a vector, so 6 × 4 + 4 + 1 of
/// 32. SSE2 has 16 registers: 2 × 4 + 4 + 1. f64 with 12 × 2 is within 3 % of 14 × 2, and 24 KB smaller.
pub(super) const fn tile_rows<T: Real>(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 if T::OF_HALVES => 14,
        Isa::Avx512 => 12,
        Isa::Avx2 | Isa::Neon => 6,
        Isa::Portable | Isa::Scalar => 2,
    }
}

/// Rows of a tile of half a vector, where halves are registers of their own: as many accumulators as the whole tile has.
pub(super) const fn narrow_rows(isa: Isa) -> usize {
    match isa {
        // A packed for whole tiles meets narrow panels too.
        Isa::Avx512 => 14,
        Isa::Avx2 | Isa::Neon => 12,
        Isa::Portable | Isa::Scalar => 0,
    }
}

/// Vectors in a row of a register tile at most.
pub(super) const fn tile_vectors(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 2,
        _ => 1,
    }
}

/// Depth of k up to which it pays for the sake of C alone that columns of tiles begin where its lines do, and columns.
pub(super) const ALIGN_DEPTH: usize = 16;
pub(super) const ALIGN_COLS: usize = 256;

/// Depth of k up to which tiles go along C wherever B is near, and columns.
pub(super) const ALONG_DEPTH: usize = 32;
pub(super) const ALONG_COLS: usize = 256;

/// Lanes of multiply-adds that take as long as turning one element while packing.
pub(super) const TURN_COST: usize = 8;

/// Steps that a panel of B is packed by where [`BY_STEPS_ROWS`] rows at most use it: with what it comes from it stays in a
/// first-level cache.
pub(super) const PANEL_STEPS: usize = 128;
pub(super) const BY_STEPS_ROWS: usize = K_BLOCK - PANEL_STEPS;

/// Bytes of B up to which panels are packed by steps: from a third-level cache whole blocks of k come faster. Tiles of one
/// vector have panels half as wide, which stay in a first-level cache anyway, and f64 would double what tiles for it take.
pub(super) const fn by_steps_limit<T: Real>(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 if T::OF_HALVES => 2 << 20,
        _ => 0,
    }
}

/// Rows of a packed block of A. 84 × 256 floats are 84 KiB: a second-level cache of 512 KiB whose pages fall at random
/// keeps them beside what streams through it, where 252 rows lost 3 to 5 %. Machines with AVX-512 have 1 MiB or more. A
/// multiple of every tile's rows and of [`ROW_GROUP`].
pub(super) const fn m_block(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 252,
        _ => 84,
    }
}

/// Rows of a task at least, where there are many threads: fewer would not hide a panel of B's way from the third-level cache.
pub(super) const ROWS_SHARED: usize = 48;

/// Rows up to which a panel of B is packed right before its only use. Over a block of k, A has 336 KiB then, or twice as
/// much where second-level caches are large and it is in place, so that no task packs it again.
pub(super) const fn m_once(isa: Isa, a_in_place: bool) -> usize {
    match isa {
        Isa::Avx512 if a_in_place => 672,
        _ => 336,
    }
}

/// Columns of a task at least, if there are threads enough, where each task packs A for itself.
pub(super) const COLS_PACKED: usize = 512;

/// Rows whose partial sums of squares join, a multiple of the rows of f32's tile on every instruction set.
pub(crate) const ROW_GROUP: usize = 42;

/// Bytes of packed B at a time: 8 MiB stay in a third-level cache beside C.
pub(super) const B_LIMIT: usize = 8 << 20;

/// Bytes of B that stay in a first-level cache beside A and C.
pub(super) const B_NEAR: usize = 16 << 10;

/// Bytes of A over one block of k up to which its columns are read as they lie by few columns of B. Packing takes a
/// second-level cache's time, which AVX-512's tiles feel.
pub(super) const fn a_near(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 128 << 10,
        _ => B_NEAR,
    }
}

/// The same of B, for few enough rows of A that packing it does not pay. Rows of B that do not lie as lines of the cache
/// (`lines`) straddle two with each vector.
pub(super) const fn b_near(isa: Isa, m: usize, lines: bool) -> usize {
    match isa {
        Isa::Avx512 if lines && m <= 512 => 256 << 10,
        Isa::Avx512 if m <= 210 => 128 << 10,
        _ => B_NEAR,
    }
}
