//! The arguments of a product, and their checks.

use super::Transpose;
use super::epilogue::Epilogue;
use super::pack::Numbers;
use super::real::Real;
use crate::error::{Error, Result, product};

/// A product with checked arguments, and what to do with its result.
pub(crate) struct Args<'a, T: Real = f32> {
    pub function: &'static str,
    pub trans_a: Transpose,
    pub trans_b: Transpose,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: T,
    pub a: Numbers<'a, T>,
    pub lda: usize,
    pub b: Numbers<'a, T>,
    pub ldb: usize,
    pub beta: T,
    pub ldc: usize,
    /// What follows, if anything.
    pub epilogue: Option<&'a dyn Epilogue<T>>,
}

impl<T: Real> Args<'_, T> {
    /// Checks leading dimensions, strides and lengths of `batch` products.
    pub(super) fn check(&self, c_len: usize, batch: usize, [stride_a, stride_b, stride_c]: [usize; 3]) -> Result {
        let Args { m, n, k, .. } = *self;
        if batch == 1 && self.plainly_holds(c_len) {
            return Ok(());
        }
        let (a_rows, a_cols, a_dim) = if self.trans_a == Transpose::No { (m, k, "k") } else { (k, m, "m") };
        let (b_rows, b_cols, b_dim) = if self.trans_b == Transpose::No { (k, n, "n") } else { (n, k, "k") };
        let a = Matrix {
            name: "a",
            dim: a_dim,
            rows: a_rows,
            cols: a_cols,
            ld: self.lda,
            len: self.a.len(),
            stride: stride_a,
        };
        let b = Matrix {
            name: "b",
            dim: b_dim,
            rows: b_rows,
            cols: b_cols,
            ld: self.ldb,
            len: self.b.len(),
            stride: stride_b,
        };
        let c = Matrix { name: "c", dim: "n", rows: m, cols: n, ld: self.ldc, len: c_len, stride: stride_c };
        check_matrices(self.function, batch, &[a, b, c])
    }
}

/// What a matrix is said to be, and `len` elements that are to hold `batch` of it.
struct Matrix {
    name: &'static str,
    dim: &'static str,
    rows: usize,
    cols: usize,
    ld: usize,
    len: usize,
    stride: usize,
}

fn check_matrices(f: &'static str, batch: usize, matrices: &[Matrix; 3]) -> Result {
    for &Matrix { name, dim, cols, ld, .. } in matrices {
        if ld < cols {
            let detail = format!("ld{name} is {ld} but rows of {name} hold {dim} = {cols} elements");
            return Err(Error::invalid_size(f, detail));
        }
    }
    for &Matrix { name, rows, cols, ld, len, stride, .. } in matrices {
        let item = span(f, name, rows, cols, ld)?;
        if name == "c" && batch > 1 && stride < item {
            let detail = format!("stride_c is {stride} but a product's c spans {item} elements");
            return Err(Error::invalid_size(f, detail));
        }
        if item == 0 || batch == 0 {
            continue;
        }
        let need = span(f, name, batch, item, stride)?;
        if len < need {
            let items = if batch > 1 { format!("{batch} items {stride} apart of ") } else { String::new() };
            let detail = format!(
                "{name} holds {len} elements, but {items}{rows} rows of {cols} with leading dimension {ld} need {need}"
            );
            return Err(Error::invalid_size(f, detail));
        }
    }
    Ok(())
}

impl<T: Real> Args<'_, T> {
    /// The checks of one product in short, without words for what fails: small ones feel the long way.
    fn plainly_holds(&self, c_len: usize) -> bool {
        let (a_rows, a_cols) = if self.trans_a == Transpose::No { (self.m, self.k) } else { (self.k, self.m) };
        let (b_rows, b_cols) = if self.trans_b == Transpose::No { (self.k, self.n) } else { (self.n, self.k) };
        // Nothing overflows below the square root of what a usize holds.
        let holds = |len: usize, rows: usize, cols: usize, ld: usize| {
            (rows | cols | ld) < 1 << (usize::BITS / 2 - 1) && rows > 0 && cols <= ld && (rows - 1) * ld + cols <= len
        };
        holds(self.a.len(), a_rows, a_cols, self.lda)
            && holds(self.b.len(), b_rows, b_cols, self.ldb)
            && holds(c_len, self.m, self.n, self.ldc)
    }
}

/// Elements from the first to the last of `rows` × `cols` whose rows begin `ld` apart, checked.
fn span(function: &'static str, name: &str, rows: usize, cols: usize, ld: usize) -> Result<usize> {
    if rows == 0 || cols == 0 {
        return Ok(0);
    }
    let spanned = product(function, name, &[rows - 1, ld])?.checked_add(cols);
    spanned.filter(|n| *n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::invalid_size(function, format!("{name} spans more elements than this machine can address"))
    })
}
