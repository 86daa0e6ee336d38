//! Contexts, and the host's threads.

use super::record::{self, record};
use super::status::{ek_status, guard};
use super::{choice, context_of};
use crate::context::Context;
use crate::error::Error;
use crate::simd::Isa;
use std::any::Any;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

/// An instruction set: one of EK_ISA_.
pub type ek_isa = i32;

/// The environment variable EK_ISA (auto, portable, avx2, avx512, neon or scalar), else the fastest of the machine.
pub const EK_ISA_AUTO: ek_isa = 0;
/// The vectors that every machine of the target has.
pub const EK_ISA_PORTABLE: ek_isa = 1;
/// AVX2 with FMA and F16C.
pub const EK_ISA_AVX2: ek_isa = 2;
/// AVX-512 F, BW, DQ and VL.
pub const EK_ISA_AVX512: ek_isa = 3;
/// NEON, on AArch64.
pub const EK_ISA_NEON: ek_isa = 4;
/// The specification of every result's bits: one element at a time. Slow; for tests, in builds with the cargo feature
/// `scalar` only.
pub const EK_ISA_SCALAR: ek_isa = 5;

const _: () = {
    assert!(EK_ISA_PORTABLE == Isa::Portable as i32 && EK_ISA_AVX2 == Isa::Avx2 as i32);
    assert!(EK_ISA_AVX512 == Isa::Avx512 as i32 && EK_ISA_NEON == Isa::Neon as i32);
    assert!(EK_ISA_SCALAR == Isa::Scalar as i32);
};

/// How a call computes: on how many threads, whose, on which instruction set. Immutable: many threads may use one at
/// once. Wherever a function takes a context, NULL stands for the process's default one.
pub struct ek_context {
    context: Context,
}

impl ek_context {
    pub(super) fn get(&self) -> &Context {
        &self.context
    }
}

/// A host program's way to run tasks on its own threads: calls task(arg, index) once for every index below tasks, on
/// any threads at once, and returns after the last has returned. user_data is that of the options. It may be called
/// by several threads at once where they share a context, and must neither throw nor longjmp.
pub type ek_parallel_for = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        tasks: usize,
        task: unsafe extern "C" fn(arg: *mut c_void, index: usize),
        arg: *mut c_void,
    ),
>;

/// The choices behind a context. Set it with ek_context_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_context_options {
    /// sizeof(ek_context_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Threads that a call may use, the calling one included. 0: the environment variable EK_NUM_THREADS, else the
    /// CPUs that this process may use (affinity, cgroup quota). With 1 no thread pool is ever touched.
    pub num_threads: usize,
    /// One of EK_ISA_; EK_ISA_AUTO by default.
    pub isa: ek_isa,
    /// The host's threads, or NULL: the library then starts its own at first use, and parks them when idle.
    pub parallel_for: ek_parallel_for,
    /// Passed to parallel_for; the library never looks at it.
    pub user_data: *mut c_void,
    /// A row's bits never depend on the batch around it, at some cost in matrix products with m or n <= 4. false by
    /// default.
    pub batch_invariant: bool,
    /// Subnormal numbers count as zero inside a call, on every thread that works for it; each thread's floating-point
    /// state is restored after. false by default.
    pub flush_subnormals: bool,
}

record! { ek_context_options {
    num_threads: 0,
    isa: EK_ISA_AUTO,
    parallel_for: None,
    user_data: std::ptr::null_mut(),
    batch_invariant: false,
    flush_subnormals: false,
} }

/// Sets the defaults: all CPUs, the fastest instruction set, the library's own threads. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_context_options_init(options: *mut ek_context_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Creates a context, to be destroyed with ek_context_destroy. options may be NULL: the defaults. *out is written
/// only on success.
///
/// Errors: EK_STATUS_NULL_POINTER where out is NULL; EK_STATUS_UNSUPPORTED for an instruction set that this machine
/// lacks; EK_STATUS_INVALID_ARGUMENT for an isa that names none, for num_threads above 4096, for a struct_size that is
/// no size or fields that this library does not know, and where EK_ISA or EK_NUM_THREADS is needed and malformed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_context_create(options: *const ek_context_options, out: *mut *mut ek_context) -> ek_status {
    let function = "context_create";
    guard(function, || {
        if out.is_null() {
            return Err(Error::null_pointer(function, "out is NULL"));
        }
        super::tensor::check_alignment(function, "out", out.addr(), align_of::<*mut ek_context>())?;
        let mut builder = Context::builder();
        if !options.is_null() {
            // SAFETY: not NULL; the caller's promise about struct_size.
            let options = unsafe { record::read(function, "options", options) }?;
            builder = builder
                .num_threads(options.num_threads)
                .batch_invariant(options.batch_invariant)
                .flush_subnormals(options.flush_subnormals);
            if options.isa != EK_ISA_AUTO {
                builder = builder.isa(choice(function, "isa", options.isa, Isa::from_i32)?);
            }
            if let Some(function) = options.parallel_for {
                let host = Host { function, user_data: options.user_data };
                builder = builder.parallel_for(move |tasks, task| host.run(tasks, task));
            }
        }
        let context = Box::new(ek_context { context: builder.build()? });
        // SAFETY: not NULL and aligned (checked); writable (caller).
        unsafe { out.write(Box::into_raw(context)) };
        Ok(())
    })
}

/// Destroys a context that no call uses any more, and waits for its threads to end. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_context_destroy(ctx: *mut ek_context) {
    guard("context_destroy", || {
        if !ctx.is_null() {
            // SAFETY: from ek_context_create, and destroyed once (the caller's promise).
            drop(unsafe { Box::from_raw(ctx) });
        }
        Ok(())
    });
}

/// Threads that a call with this context may use, the calling one included. 0 where ctx is NULL and the default
/// context cannot be made because EK_ISA or EK_NUM_THREADS is malformed (see ek_last_error).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_context_num_threads(ctx: *const ek_context) -> usize {
    // SAFETY: the caller's promise.
    unsafe { property("context_num_threads", ctx, Context::num_threads) }
}

/// The instruction set that its kernels run on, one of EK_ISA_ and never EK_ISA_AUTO; that only where ctx is NULL and
/// the default context cannot be made because EK_ISA or EK_NUM_THREADS is malformed (see ek_last_error).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_context_isa(ctx: *const ek_context) -> ek_isa {
    // SAFETY: the caller's promise.
    unsafe { property("context_isa", ctx, |ctx| ctx.isa() as ek_isa) }
}

/// A property of a context; its type's zero where there is none.
///
/// # Safety
/// As for [`context_of`].
unsafe fn property<T: Default>(function: &'static str, ctx: *const ek_context, of: impl Fn(&Context) -> T) -> T {
    let mut value = T::default();
    guard(function, || {
        // SAFETY: the caller's promise.
        value = of(unsafe { context_of(ctx) }?);
        Ok(())
    });
    value
}

/// The name of an instruction set, as the environment variable EK_ISA takes it; "unknown" for any other number.
/// Static; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn ek_isa_name(isa: ek_isa) -> *const c_char {
    let name = match isa {
        EK_ISA_AUTO => c"auto",
        EK_ISA_PORTABLE => c"portable",
        EK_ISA_AVX2 => c"avx2",
        EK_ISA_AVX512 => c"avx512",
        EK_ISA_NEON => c"neon",
        EK_ISA_SCALAR => c"scalar",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// The host's threads.
struct Host {
    function: unsafe extern "C" fn(*mut c_void, usize, unsafe extern "C" fn(*mut c_void, usize), *mut c_void),
    user_data: *mut c_void,
}

// SAFETY: the header asks of the host that its function may be called from any thread, with this user_data.
unsafe impl Send for Host {}
// SAFETY: as above, from several at once.
unsafe impl Sync for Host {}

/// One call of the host's function: the task, and the first panic in it.
struct Call<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Host {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let call = Call { task, panic: Mutex::new(None) };
        let arg = (&raw const call).cast_mut().cast::<c_void>();
        // SAFETY: the host calls run_task with this arg, and only until it returns (the header's contract).
        unsafe { (self.function)(self.user_data, tasks, run_task, arg) };
        if let Some(payload) = call.panic.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            resume_unwind(payload);
        }
    }
}

/// A panic must not unwind into the host's frames: it goes on in the thread that made the call.
unsafe extern "C" fn run_task(arg: *mut c_void, index: usize) {
    // SAFETY: arg is the Call of a Host::run that has not returned.
    let call = unsafe { &*arg.cast_const().cast::<Call<'_>>() };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (call.task)(index))) {
        call.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn one_after_another(
        user_data: *mut c_void,
        tasks: usize,
        task: unsafe extern "C" fn(*mut c_void, usize),
        arg: *mut c_void,
    ) {
        // SAFETY: the test passes a usize.
        unsafe { *user_data.cast::<usize>() += 1 };
        for i in 0..tasks {
            // SAFETY: the contract of ek_parallel_for.
            unsafe { task(arg, i) };
        }
    }

    #[test]
    fn a_task_that_panics_in_the_host_panics_in_the_caller() {
        let mut calls = 0usize;
        let host = Host { function: one_after_another, user_data: (&raw mut calls).cast() };
        let done = Mutex::new(Vec::new());
        let result = catch_unwind(AssertUnwindSafe(|| {
            host.run(4, &|i| {
                assert!(i != 2, "task {i}");
                done.lock().unwrap().push(i);
            });
        }));
        assert_eq!(*result.unwrap_err().downcast::<String>().unwrap(), "task 2");
        assert_eq!(done.into_inner().unwrap(), [0, 1, 3]);
        assert_eq!(calls, 1);
    }
}
