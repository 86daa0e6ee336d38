//! The context of a call: how many threads, whose, on which instruction set.

use crate::error::{Error, Result};
use crate::parallel::{Executor, HostParallelFor, Pool};
use crate::simd::{Isa, Kernel, dispatch_detected};
use std::sync::OnceLock;

/// How a call computes: its executor, its instruction set, and two promises about bits and speed.
///
/// A context is immutable: many threads may use one at once. Its own pool starts at the first call that wants it and
/// parks when idle; a forked child starts a new one.
///
/// ```
/// use evenkeel::{Context, Isa};
/// let ctx = Context::builder().num_threads(1).build()?;
/// assert_eq!(ctx.num_threads(), 1);
/// let specification = Context::builder().isa(Isa::Scalar).build()?;
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub struct Context {
    isa: Isa,
    num_threads: usize,
    executor: Executor,
    batch_invariant: bool,
    flush_subnormals: bool,
}

impl Context {
    /// Starts from the defaults: every CPU this process may use, the fastest instruction set, both promises off.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// The process's default context, which a NULL `ek_context` stands for.
    ///
    /// # Errors
    /// Those of [`ContextBuilder::build`], when `EK_ISA` or `EK_NUM_THREADS` is malformed.
    pub fn global() -> Result<&'static Context> {
        static GLOBAL: OnceLock<Context> = OnceLock::new();
        /// Apart from what every call looks at.
        #[cold]
        #[inline(never)]
        fn first() -> Result<&'static Context> {
            let ctx = Context::builder().build()?;
            Ok(GLOBAL.get_or_init(|| ctx))
        }
        GLOBAL.get().map_or_else(first, Ok)
    }

    /// Threads that a call may use, the calling one included.
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }

    /// The instruction set that its kernels run on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Whether a row's bits never depend on the batch around it.
    pub fn batch_invariant(&self) -> bool {
        self.batch_invariant
    }

    /// Whether subnormal numbers are flushed to zero inside a call.
    pub fn flush_subnormals(&self) -> bool {
        self.flush_subnormals
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Runs `kernel` on this context's instruction set, inside a task of [`Context::for_each`].
    #[inline]
    pub(crate) fn dispatch<K: Kernel>(&self, kernel: K) -> K::Out {
        // SAFETY: ContextBuilder::build checked that the machine has it.
        unsafe { dispatch_detected(self.isa, kernel) }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("isa", &self.isa)
            .field("num_threads", &self.num_threads)
            .field("executor", &self.executor)
            .field("batch_invariant", &self.batch_invariant)
            .field("flush_subnormals", &self.flush_subnormals)
            .finish()
    }
}

/// The choices behind a [`Context`].
#[derive(Default)]
pub struct ContextBuilder {
    num_threads: usize,
    isa: Option<Isa>,
    host: Option<HostParallelFor>,
    batch_invariant: bool,
    flush_subnormals: bool,
}

impl ContextBuilder {
    /// Threads that a call may use, the calling one included; 0 is the default: `EK_NUM_THREADS`, else the CPUs that
    /// this process may use (affinity and cgroup quota). With 1 no thread pool is ever touched.
    pub fn num_threads(mut self, n: usize) -> Self {
        self.num_threads = n;
        self
    }

    /// Forces an instruction set; the default is `EK_ISA`, else the fastest that the machine has.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Lends the library a host's threads: `parallel_for(tasks, task)` calls `task(i)` once for every i below
    /// `tasks`, on any threads at once, and returns after the last has returned. The library then starts none.
    pub fn parallel_for(mut self, f: impl Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync + 'static) -> Self {
        self.host = Some(Box::new(f));
        self
    }

    /// A row's bits then never depend on the batch around it, at some cost in matrix products with m or n ≤ 4.
    pub fn batch_invariant(mut self, on: bool) -> Self {
        self.batch_invariant = on;
        self
    }

    /// Subnormal inputs and results count as zero inside a call, on every thread that works for it. The
    /// floating-point state of each thread is restored after. WebAssembly has no such state, and keeps them.
    pub fn flush_subnormals(mut self, on: bool) -> Self {
        self.flush_subnormals = on;
        self
    }

    /// # Errors
    /// `Unsupported` for an instruction set that this machine lacks; `InvalidArgument` when `EK_ISA` or
    /// `EK_NUM_THREADS` is needed and malformed.
    pub fn build(self) -> Result<Context> {
        let function = "context_create";
        let isa = match self.isa {
            Some(isa) => isa.checked(function)?,
            None => Isa::from_env(function)?,
        };
        let num_threads = match self.num_threads {
            0 => default_threads(function)?,
            n if n > MAX_THREADS => {
                return Err(Error::invalid_argument(function, format!("num_threads is {n}, at most {MAX_THREADS}")));
            }
            n => n,
        };
        let executor = match self.host {
            _ if num_threads == 1 => Executor::Caller,
            Some(f) => Executor::Host(f),
            None => Executor::Rayon(Pool::new(num_threads)),
        };
        Ok(Context {
            isa,
            num_threads,
            executor,
            batch_invariant: self.batch_invariant,
            flush_subnormals: self.flush_subnormals,
        })
    }
}

/// More is a mistake, and would ask for absurd workspace.
const MAX_THREADS: usize = 4096;

fn default_threads(function: &'static str) -> Result<usize> {
    let Some(text) = std::env::var_os("EK_NUM_THREADS").filter(|t| !t.is_empty()) else {
        return Ok(std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS));
    };
    text.to_str().and_then(|t| t.parse().ok()).filter(|n| (1..=MAX_THREADS).contains(n)).ok_or_else(|| {
        Error::invalid_argument(
            function,
            format!("EK_NUM_THREADS is {text:?}, expected a whole number from 1 to {MAX_THREADS}"),
        )
    })
}
