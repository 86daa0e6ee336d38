//! Block sizes: one row for each instruction set, and why.

use crate::simd::{Isa, LANES};

/// Depth of a block of k. It is part of the specification: sums start anew at each multiple.
pub const K_BLOCK: usize = 256;

/// Depth of a block of k in the dealt order, 8 lanes of [`K_BLOCK`]. Part of the specification too.
pub const DEALT_BLOCK: usize = 8 * K_BLOCK;

/// Rows of a register tile at most.
///
/// AVX-512: 14 × 2 accumulators, 2 vectors of B, 1 broadcast, of 32 registers; 16 loads for 28 FMAs. AVX2: a vector is
/// two registers, so 6 × 2 accumulators, 2 of B, 1 broadcast, of 16. NEON: 4 registers a vector, so 6 × 4 + 4 + 1 of
/// 32. SSE2 has 16 registers: 2 × 4 + 4 + 1.
pub(super) const fn tile_rows(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 14,
        Isa::Avx2 | Isa::Neon => 6,
        Isa::Portable | Isa::Scalar => 2,
    }
}

/// Vectors in a row of a register tile at most.
pub(super) const fn tile_vectors(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 2,
        _ => 1,
    }
}

/// A tile for few rows: rows at most, and vectors in a row. One row of two vectors would wait for the latency of its
/// own additions. Only where B is read in place.
pub(super) const fn wide_tile(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Avx512 => (3, 8),
        Isa::Avx2 | Isa::Neon => (1, 4),
        Isa::Portable | Isa::Scalar => (0, 1),
    }
}

/// Columns of a register tile at most, which is the width of a packed panel of B.
pub(super) const fn panel_width(isa: Isa) -> usize {
    tile_vectors(isa) * LANES
}

/// Rows of a packed block of A: 252 × 256 floats are 252 KiB, a part of any second-level cache. A multiple of every
/// tile's rows and of [`ROW_GROUP`].
pub(super) const M_BLOCK: usize = 252;

/// Rows whose partial sums of squares join, a multiple of the tile's rows on every instruction set.
pub(crate) const ROW_GROUP: usize = 42;

/// Floats of packed B at a time: 8 MiB stay in a third-level cache beside C.
pub(super) const B_LIMIT: usize = 2 << 20;
