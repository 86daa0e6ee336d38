//! Matrix products beside the `gemm` and `matrixmultiply` crates and any C library with `cblas_sgemm` or `dnnl_sgemm`, by
//! turns, in
//! shares of the machine's own FMA ceiling.
//!
//! `cargo bench --bench matmul -- [WORDS]` runs the cases whose line contains one of the words, as in `NT` or
//! `1024x1024`. `EVENKEEL_BENCH_BLAS` names C libraries, separated by colons, to open beside the crates;
//! `EVENKEEL_BENCH_THREADS` the thread counts (default `1,2`).

mod common;

use std::ffi::c_char;

use common::{Entry, contest, fma_ceiling, selected, values};
use evenkeel::Context;
use evenkeel::matmul::{Transpose, matmul_f32};

type Shape = (&'static str, usize, usize, usize);

fn shapes() -> Vec<Shape> {
    let mut all: Vec<Shape> = Vec::new();
    let squares = [4, 8, 16, 24, 32, 48, 64, 96, 127, 128, 129, 191, 192, 256, 257, 384, 509, 512, 768, 1024, 2048];
    all.extend(squares.map(|n| ("NN", n, n, n)));
    for batch in [1, 2, 4, 8, 16, 32, 64, 256] {
        for (out, input) in [(1024, 1024), (4096, 1024), (2048, 512), (512, 784), (10, 512)] {
            all.push(("NT", batch, out, input)); // forward
            all.push(("NN", batch, input, out)); // dx
            all.push(("TN", out, input, batch)); // dw
        }
    }
    all.extend([("TN", 1024, 1024, 4096), ("NN", 4096, 64, 64), ("NT", 64, 64, 65536), ("TN", 64, 64, 65536)]);
    all.extend([("NN", 1024, 1, 1024), ("NT", 512, 512, 64), ("NN", 512, 64, 512), ("TN", 512, 64, 512)]);
    all
}

/// `cblas_sgemm`, or `dnnl_sgemm` with its letters.
#[derive(Clone, Copy)]
enum Sgemm {
    Cblas(Cblas),
    Dnnl(Dnnl),
}

type Cblas =
    unsafe extern "C" fn(i32, i32, i32, i32, i32, i32, f32, *const f32, i32, *const f32, i32, f32, *mut f32, i32);
type Dnnl = unsafe extern "C" fn(
    c_char,
    c_char,
    i64,
    i64,
    i64,
    f32,
    *const f32,
    i64,
    *const f32,
    i64,
    f32,
    *mut f32,
    i64,
) -> i32;

impl Sgemm {
    /// # Safety
    /// The pointers hold row-major matrices of these sizes.
    #[allow(clippy::too_many_arguments)]
    unsafe fn call(
        self,
        (ta, tb): (bool, bool),
        [m, n, k]: [usize; 3],
        a: *const f32,
        lda: usize,
        b: *const f32,
        ldb: usize,
        c: *mut f32,
    ) {
        // SAFETY: the contract; both take row-major matrices.
        unsafe {
            match self {
                Sgemm::Cblas(f) => {
                    let cblas = |t: bool| if t { 112 } else { 111 };
                    let [m, n, k, lda, ldb] = [m, n, k, lda, ldb].map(|x| x as i32);
                    f(101, cblas(ta), cblas(tb), m, n, k, 1.0, a, lda, b, ldb, 0.0, c, n);
                }
                Sgemm::Dnnl(f) => {
                    let letter = |t: bool| if t { b'T' as c_char } else { b'N' as c_char };
                    let [m, n, k, lda, ldb] = [m, n, k, lda, ldb].map(|x| x as i64);
                    f(letter(ta), letter(tb), m, n, k, 1.0, a, lda, b, ldb, 0.0, c, n);
                }
            }
        }
    }
}

/// A C library, opened at run time.
struct Blas {
    name: String,
    sgemm: Sgemm,
    set_threads: Option<unsafe extern "C" fn(i32)>,
    _library: libloading::Library,
}

fn c_libraries() -> Vec<Blas> {
    let paths = std::env::var("EVENKEEL_BENCH_BLAS").unwrap_or_default();
    let open = |path: &str| -> Result<Blas, libloading::Error> {
        // SAFETY: the user names a library with the CBLAS interface; its symbols have these types.
        unsafe {
            let library = libloading::Library::new(path)?;
            let sgemm = match library.get::<Cblas>(b"cblas_sgemm") {
                Ok(f) => Sgemm::Cblas(*f),
                Err(_) => Sgemm::Dnnl(*library.get::<Dnnl>(b"dnnl_sgemm")?),
            };
            let names: [&[u8]; 4] = [
                b"openblas_set_num_threads",
                b"bli_thread_set_num_threads",
                b"MKL_Set_Num_Threads",
                b"omp_set_num_threads",
            ];
            let set_threads =
                names.iter().find_map(|name| library.get::<unsafe extern "C" fn(i32)>(*name).ok().map(|f| *f));
            let name = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or(path).to_owned();
            Ok(Blas { name, sgemm, set_threads, _library: library })
        }
    };
    paths.split(':').filter(|p| !p.is_empty()).filter_map(|p| open(p).map_err(|e| eprintln!("{p}: {e}")).ok()).collect()
}

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    let libraries = c_libraries();
    let ceiling = fma_ceiling();
    println!("FMA ceiling of one thread: {ceiling:.0} GFLOP/s; instruction set {}", evenkeel::Isa::best().name());
    println!(
        "{:<22}{:>8}{:>10}{:>10}  {:<16}{:>7}{:>10}",
        "shape", "threads", "evenkeel", "best peer", "", "ratio", "ceiling"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for blas in &libraries {
            if let Some(set) = blas.set_threads {
                // SAFETY: the library's own function.
                unsafe { set(threads as i32) };
            }
        }
        let mut ratios = Vec::new();
        for shape in shapes() {
            let (name, m, n, k) = shape;
            let case = format!("{name} {m}x{n}x{k}");
            if selected(&case) {
                ratios.push(measure(&case, shape, threads, &ctx, &libraries, ceiling));
            }
        }
        let mean = (ratios.iter().map(|r: &f64| r.ln()).sum::<f64>() / ratios.len().max(1) as f64).exp();
        println!("{threads} thread(s): geometric mean {mean:.2} of the best peer over {} shapes", ratios.len());
    }
}

/// Prints a line, returns our speed over the best peer's.
fn measure(case: &str, shape: Shape, threads: usize, ctx: &Context, libraries: &[Blas], ceiling: f64) -> f64 {
    let (name, m, n, k) = shape;
    let (ta, tb) = (name.starts_with('T'), name.ends_with('T'));
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let (lda, ldb) = (if ta { m } else { k }, if tb { k } else { n });
    let stride = |transposed: bool, ld: usize| if transposed { (1, ld as isize) } else { (ld as isize, 1) };
    let ((a_row, a_col), (b_row, b_col)) = (stride(ta, lda), stride(tb, ldb));
    let transpose = |t: bool| if t { Transpose::Yes } else { Transpose::No };
    let mut outputs: Vec<Vec<f32>> = vec![vec![0.0; m * n]; 3 + libraries.len()];
    let mut out = outputs.iter_mut();
    let mut entries = Vec::new();
    let c = out.next().expect("an output");
    entries.push(Entry::new("evenkeel", || {
        matmul_f32(ctx, transpose(ta), transpose(tb), m, n, k, 1.0, &a, lda, &b, ldb, 0.0, c, n).expect("a product");
    }));
    let c = out.next().expect("an output");
    let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    entries.push(Entry::new("gemm", || {
        // SAFETY: the slices hold the matrices that the strides describe.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                a_col,
                a_row,
                b.as_ptr(),
                b_col,
                b_row,
                0.0f32,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    }));
    if threads == 1 {
        let c = out.next().expect("an output");
        entries.push(Entry::new("matrixmultiply", || {
            // SAFETY: as above.
            unsafe {
                matrixmultiply::sgemm(
                    m,
                    k,
                    n,
                    1.0,
                    a.as_ptr(),
                    a_row,
                    a_col,
                    b.as_ptr(),
                    b_row,
                    b_col,
                    0.0,
                    c.as_mut_ptr(),
                    n as isize,
                    1,
                );
            }
        }));
    }
    for (blas, c) in libraries.iter().zip(out) {
        let (a, b) = (&a, &b);
        entries.push(Entry::new(blas.name.clone(), move || {
            // SAFETY: the slices hold the matrices.
            unsafe { blas.sgemm.call((ta, tb), [m, n, k], a.as_ptr(), lda, b.as_ptr(), ldb, c.as_mut_ptr()) };
        }));
    }
    let times = contest(&mut entries);
    let names: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
    drop(entries);
    // A benchmark of a wrong product would mean nothing.
    for (at, other) in outputs.iter().enumerate().take(names.len()).skip(1) {
        let worst = outputs[0].iter().zip(other).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-6 * k as f32 + 1e-4, "{case}: {} differs by {worst}", names[at]);
    }
    let gflops = |seconds: f64| 2.0 * (m * n * k) as f64 / seconds / 1e9;
    let ours = gflops(times[0]);
    let (best, peer) =
        (1..times.len()).map(|i| (gflops(times[i]), &names[i])).max_by(|x, y| x.0.total_cmp(&y.0)).expect("a peer");
    let share = 100.0 * ours / (ceiling * threads as f64);
    println!("{case:<22}{threads:>8}{ours:>10.1}{best:>10.1}  {peer:<16}{:>7.2}{share:>9.0}%", ours / best);
    ours / best
}
