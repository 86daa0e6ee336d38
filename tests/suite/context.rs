//! Contexts and executors: who runs the work changes nothing in the results, and nothing of the host's.

use crate::common::{self, Rng, assert_same_bits, exact_contexts, specification};
use evenkeel::matmul::{Transpose, matmul_f32};
use evenkeel::{Context, Error, Isa};
use std::sync::atomic::{AtomicUsize, Ordering};

const DIMS: (usize, usize, usize) = (150, 160, 140);

fn inputs() -> (Vec<f32>, Vec<f32>) {
    let (m, n, k) = DIMS;
    let mut rng = Rng::new(1);
    (rng.vec(m * k, |rng| rng.uniform(-1.0, 1.0)), rng.vec(k * n, |rng| rng.uniform(-1.0, 1.0)))
}

/// A product large enough to be worth several threads.
fn product(ctx: &Context) -> Vec<f32> {
    product_of(ctx, &inputs())
}

fn product_of(ctx: &Context, (a, b): &(Vec<f32>, Vec<f32>)) -> Vec<f32> {
    let (m, n, k) = DIMS;
    let mut c = vec![0.0; m * n];
    matmul_f32(ctx, Transpose::No, Transpose::No, m, n, k, 1.0, a, k, b, n, 0.0, &mut c, n).unwrap();
    c
}

/// 1e-20 · 1e-20: a subnormal number.
fn subnormal(ctx: &Context) -> f32 {
    let mut c = [1.0f32];
    matmul_f32(ctx, Transpose::No, Transpose::No, 1, 1, 1, 1.0, &[1e-20], 1, &[1e-20], 1, 0.0, &mut c, 1).unwrap();
    c[0]
}

#[test]
fn every_executor_gives_the_same_bits() {
    let want = product(&specification());
    for ctx in exact_contexts() {
        assert_same_bits(&format!("{ctx:?}"), &product(&ctx), &want);
    }
}

#[test]
fn one_context_serves_many_threads() {
    let want = product(&specification());
    let ctx = Context::builder().num_threads(2).build().unwrap();
    if !ctx.isa().is_fused() {
        return;
    }
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| assert_same_bits("shared context", &product(&ctx), &want)));
        }
    });
}

#[cfg_attr(target_family = "wasm", ignore = "it has no threads")]
#[test]
fn the_rayon_pool_of_the_caller_is_used() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let ctx = Context::builder().num_threads(2).build().unwrap();
    let want = product(&ctx);
    let all: Vec<Vec<f32>> = pool.install(|| {
        use rayon::prelude::*;
        (0..16).into_par_iter().map(|_| product(&ctx)).collect()
    });
    all.iter().for_each(|c| assert_same_bits("inside a pool", c, &want));
}

/// Hosts that run the calls late, in another order, too few or too many of them, on one thread or on several.
#[cfg_attr(target_family = "wasm", ignore = "it has no threads")]
#[test]
fn a_host_may_schedule_as_it_likes() {
    let want = product(&Context::builder().num_threads(1).build().unwrap());
    let host =
        |f: fn(usize, &(dyn Fn(usize) + Sync))| Context::builder().num_threads(3).parallel_for(f).build().unwrap();
    let hosts = [
        host(|tasks, task| (0..tasks).rev().for_each(task)),
        host(|_, _| ()),
        host(|_, task| task(0)),
        host(|tasks, task| (0..3 * tasks).for_each(task)),
        host(|tasks, task| {
            std::thread::scope(|s| (0..2 * tasks).for_each(|_| drop(s.spawn(move || task(0)))));
        }),
    ];
    for ctx in hosts {
        assert_same_bits("a host's executor", &product(&ctx), &want);
    }
}

#[test]
fn calls_nest_inside_a_host() {
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    let inner = Context::builder().num_threads(2).build().unwrap();
    let want = product(&inner);
    let expected = want.clone();
    let ctx = Context::builder()
        .num_threads(2)
        .parallel_for(move |tasks, task| {
            // The host computes something of its own between our tasks.
            DEPTH.fetch_add(1, Ordering::Relaxed);
            assert_same_bits("nested", &product(&inner), &expected);
            (0..tasks).for_each(task);
        })
        .build()
        .unwrap();
    assert_same_bits("around it", &product(&ctx), &want);
    assert!(DEPTH.load(Ordering::Relaxed) > 0, "the host's executor was never asked");
}

#[cfg_attr(target_family = "wasm", ignore = "its panics are aborts")]
#[test]
fn a_panic_of_the_host_reaches_the_caller() {
    let ctx = Context::builder().num_threads(2).parallel_for(|_, _| panic!("the host gave up")).build().unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| product(&ctx))).unwrap_err();
    assert_eq!(caught.downcast_ref::<&str>(), Some(&"the host gave up"));
}

#[cfg_attr(target_family = "wasm", ignore = "it has no such mode")]
#[test]
fn subnormals_are_kept_or_flushed_as_asked() {
    for isa in common::isas().filter(|isa| *isa != Isa::Scalar) {
        let keep = Context::builder().isa(isa).num_threads(1).build().unwrap();
        let flush = Context::builder().isa(isa).num_threads(1).flush_subnormals(true).build().unwrap();
        assert_eq!(subnormal(&keep), 1e-40, "{isa:?}");
        assert_eq!(subnormal(&flush), 0.0, "{isa:?}");
        assert_eq!(subnormal(&keep), 1e-40, "{isa:?}: the state was not restored");
        assert!(std::hint::black_box(1e-20f32) * std::hint::black_box(1e-20f32) > 0.0, "{isa:?}: the caller's state");
    }
}

/// A host built with fast-math runs with subnormals flushed: neither its mode nor our bits may change.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_callers_floating_point_mode_neither_leaks_in_nor_out() {
    use std::arch::asm;
    let read = || {
        let mut mode = 0u32;
        // SAFETY: stores MXCSR into `mode`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack)) };
        mode
    };
    let write = |mode: u32| {
        // SAFETY: loads MXCSR from a value that it held, or with the bits FTZ, DAZ and the rounding mode changed.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack)) };
    };
    let ctx = Context::builder().num_threads(1).build().unwrap();
    let inputs = inputs();
    let want = product_of(&ctx, &inputs);
    let before = read();
    let odd = before | 1 << 15 | 1 << 6 | 0b01 << 13; // flush, round down
    write(odd);
    let (tiny, c) = (subnormal(&ctx), product_of(&ctx, &inputs));
    let after = read();
    write(before);
    assert_eq!(after & !0x3f, odd & !0x3f, "the caller's mode changed");
    assert_eq!(tiny.to_bits(), 1e-40f32.to_bits());
    assert_same_bits("under an odd mode", &c, &want);
}

/// The pool's threads do not exist in a forked child: it starts its own.
#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_computes_too() {
    let ctx = Context::builder().num_threads(3).build().unwrap();
    let want = product(&ctx);
    // SAFETY: the child only computes and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let same = product(&ctx).iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if same { 0 } else { 1 }) };
    }
    assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut status = 0;
    // SAFETY: waits for the child above without blocking.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if std::time::Instant::now() > deadline {
            // SAFETY: ends the child that hangs.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(status, 0, "the child's bits differ, or it died");
    assert_same_bits("the parent afterwards", &product(&ctx), &want);
}

#[cfg(target_os = "linux")]
fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !happened() {
        assert!(std::time::Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A library may be unloaded once its contexts are gone.
#[cfg(target_os = "linux")]
#[test]
fn no_thread_outlives_its_context() {
    // Threads of other tests' contexts come and go meanwhile: this one has a pool of a size that no other has.
    let named = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name =
            |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).filter(|name| name.trim() == "evenkeel-11").count()
    };
    for _ in 0..20 {
        let ctx = Context::builder().num_threads(13).build().unwrap();
        let c = product(&ctx);
        wait_for("the thread starts", || named() == 1);
        drop(ctx);
        // Joined; the kernel takes its entry away a moment later.
        wait_for("the thread is gone", || named() == 0);
        assert!(c.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn choices_are_checked() {
    let error = Context::builder().num_threads(usize::MAX).build().unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("context_create: num_threads is {}", usize::MAX)), "{error}");
    for isa in [Isa::Avx2, Isa::Avx512, Isa::Neon, Isa::Portable] {
        match Context::builder().isa(isa).build() {
            Ok(ctx) => assert_eq!(ctx.isa(), isa),
            Err(e) => assert!(!isa.is_available() && matches!(e, Error::Unsupported { .. }), "{e}"),
        }
    }
    assert!(Context::builder().build().unwrap().num_threads() >= 1);
    assert!(Isa::available().all(|isa| Isa::from_i32(isa as i32) == Some(isa)));
    assert_eq!(Isa::from_i32(0), None);
}

/// Runs in a process of its own, with the environment that the test below gives it.
#[test]
#[ignore = "started by `the_environment_chooses`"]
fn environment_child() {
    match Context::builder().build() {
        Ok(ctx) => println!("chose {} {}", ctx.isa().name(), ctx.num_threads()),
        Err(e) => println!("refused {e}"),
    }
}

#[cfg_attr(target_family = "wasm", ignore = "it starts no process")]
#[test]
fn the_environment_chooses() {
    let run = |isa: &str, threads: &str| -> String {
        let out = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "context::environment_child", "--ignored", "--nocapture"])
            .env("EK_ISA", isa)
            .env("EK_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let said = |line: &&str| line.contains("chose ") || line.contains("refused ");
        let line = text.lines().find(said).unwrap_or_else(|| panic!("no answer in {text}"));
        line[line.find("chose ").or(line.find("refused ")).unwrap()..].to_owned()
    };
    assert_eq!(run("scalar", "5"), "chose scalar 5");
    assert_eq!(run("auto", "1"), format!("chose {} 1", Isa::best().name()));
    assert!(run("sse9", "1").starts_with("refused context_create: EK_ISA is \"sse9\", expected auto, "));
    assert!(run("", "many").starts_with("refused context_create: EK_NUM_THREADS is \"many\", expected a whole number"));
    assert!(run("", "0").starts_with("refused "));
    let missing = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    assert!(run(missing, "1").contains("which this machine does not have"));
}
