//! How work is cut, and who runs the pieces.
//!
//! A kernel cuts its work by shape, never by the number of threads, and hands the pieces to
//! [`Context::for_each`]. Which thread runs which piece changes nothing in the results.

mod cpu;
mod gate;

use crate::context::Context;
use crate::fpenv::FpEnv;
use gate::Attendance;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// `parallel_for(tasks, task)` of a host program.
pub(crate) type HostParallelFor = Box<dyn Fn(usize, &(dyn Fn(usize) + Sync)) + Send + Sync>;

/// Who runs the pieces.
pub(crate) enum Executor {
    /// The calling thread alone.
    Caller,
    /// The calling thread and rayon: the pool that the caller is in, else this one.
    Rayon(Pool),
    /// The host's threads.
    Host(HostParallelFor),
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Executor::Caller => "Caller",
            Executor::Rayon(_) => "Rayon",
            Executor::Host(_) => "Host",
        })
    }
}

/// An estimate of how long work takes on one thread, which decides how many threads it is worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    nanoseconds: f64,
}

/// Below this much work for each thread, waking it costs more than it saves.
const GRAIN_NANOSECONDS: f64 = 12_000.0;

impl Work {
    /// Floating-point operations of a matrix product.
    pub(crate) fn flops(n: f64) -> Work {
        Work { nanoseconds: n / 150.0 }
    }
    /// `n` elements at `ns` nanoseconds each.
    pub(crate) fn elements(n: usize, ns: f64) -> Work {
        Work { nanoseconds: n as f64 * ns }
    }
    /// One after the other.
    pub(crate) fn and(self, other: Work) -> Work {
        Work { nanoseconds: self.nanoseconds + other.nanoseconds }
    }
}

/// What a kernel hands out. An object of one function, where a closure's has three.
trait Tasks: Sync {
    fn run(&self, worker: usize, task: usize);
}

impl<F: Fn(usize, usize) + Sync> Tasks for F {
    fn run(&self, worker: usize, task: usize) {
        self(worker, task);
    }
}

impl Context {
    /// How many workers [`Context::for_each_worker`] will use at most.
    pub(crate) fn workers(&self, work: Work, tasks: usize) -> usize {
        if self.num_threads() == 1 || tasks <= 1 {
            return 1;
        }
        let worth = (work.nanoseconds / GRAIN_NANOSECONDS) as usize;
        self.num_threads().min(tasks).min(worth).max(1)
    }

    /// Calls `f(task)` once for every task, in any order, on the threads that `work` is worth.
    pub(crate) fn for_each(&self, work: Work, tasks: usize, f: impl Fn(usize) + Sync) {
        self.for_each_worker(self.workers(work, tasks), tasks, |_, task| f(task));
    }

    /// As [`Context::for_each`], with `f(worker, task)`: no two calls at once share a worker's number, which is below
    /// `workers`.
    pub(crate) fn for_each_worker(&self, workers: usize, tasks: usize, f: impl Fn(usize, usize) + Sync) {
        self.share_out(workers, tasks, &f);
    }

    /// [`Context::for_each_worker`]: one function for all kernels, whose tasks are then in the program once.
    fn share_out(&self, workers: usize, tasks: usize, f: &dyn Tasks) {
        if workers <= 1 || tasks <= 1 {
            let _fp = FpEnv::enter(self.flush_subnormals());
            (0..tasks).for_each(|task| f.run(0, task));
            return;
        }
        let team = Team { next: AtomicUsize::new(0), running: AtomicUsize::new(0), tasks };
        let body = |worker: usize| {
            let _fp = FpEnv::enter(self.flush_subnormals());
            team.work(|task| f.run(worker, task));
        };
        match self.executor() {
            Executor::Caller => body(0),
            Executor::Rayon(pool) => {
                let first = || {
                    let _fp = FpEnv::enter(self.flush_subnormals());
                    team.step(&|task| f.run(0, task));
                };
                pool.run(workers, tasks, &first, &body);
            }
            Executor::Host(parallel_for) => {
                // The calling thread is worker 0; the host's calls draw the other numbers, whatever it passes them.
                let ticket = AtomicUsize::new(1);
                parallel_for(workers, &|_| {
                    let worker = ticket.fetch_add(1, Ordering::Relaxed);
                    if worker < workers {
                        body(worker);
                    }
                });
                // A host that ran too few calls loses nothing, and one that came back early is waited for.
                body(0);
                while team.running.load(Ordering::Acquire) != 0 {
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// Tasks handed out in ascending order to whoever is free.
struct Team {
    next: AtomicUsize,
    running: AtomicUsize,
    tasks: usize,
}

impl Team {
    fn work(&self, f: impl Fn(usize)) {
        /// Counts down also when `f` unwinds.
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Release);
            }
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let _leave = Leave(&self.running);
        while self.step(&f) {}
    }

    /// One task, if there is any left.
    fn step(&self, f: &impl Fn(usize)) -> bool {
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        let left = task < self.tasks;
        if left {
            f(task);
        }
        left
    }
}

/// A rayon pool that starts at its first use and is forgotten in a forked child, where its threads do not exist.
pub(crate) struct Pool {
    threads: usize,
    started: AtomicPtr<Started>,
}

struct Started {
    process: u32,
    pool: rayon::ThreadPool,
    attendance: Arc<Attendance>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Pool {
        Pool { threads, started: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Calls `body(worker)` for every worker that comes while there are tasks left, worker 0 on the calling thread. `first`
    /// does one of the `tasks`.
    fn run(&self, workers: usize, tasks: usize, first: &dyn Fn(), body: &(dyn Fn(usize) + Sync)) {
        if rayon::current_thread_index().is_some() {
            let workers = workers.min(rayon::current_num_threads());
            // A worker that waits has other work to do.
            return rayon::in_place_scope(|scope| {
                (1..workers).for_each(|worker| scope.spawn(move |_| body(worker)));
                body(0);
            });
        }
        match self.get() {
            Some(started) => gate::run(&started.pool, &started.attendance, workers, tasks, first, body),
            // No thread could be started: the work is done all the same.
            None => body(0),
        }
    }

    /// The pool, started if need be. Lock-free, so that a fork in the middle of it leaves nothing locked.
    fn get(&self) -> Option<&Started> {
        // There neither threads nor process numbers exist.
        if cfg!(all(target_family = "wasm", not(target_feature = "atomics"))) {
            return None;
        }
        let process = std::process::id();
        let mut seen = self.started.load(Ordering::Acquire);
        loop {
            // SAFETY: a non-null pointer came from Box::into_raw below and is freed only by drop, which has &mut self.
            if let Some(started) = unsafe { seen.as_ref() }
                && started.process == process
            {
                return Some(started);
            }
            let mut threads = Vec::with_capacity(self.threads - 1);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(self.threads - 1)
                .spawn_handler(|worker| {
                    let name = format!("evenkeel-{}", worker.index());
                    threads.push(std::thread::Builder::new().name(name).spawn(|| worker.run())?);
                    Ok(())
                })
                .build()
                .ok()?;
            let new =
                Box::into_raw(Box::new(Started { process, pool, attendance: Arc::new(Attendance::new()), threads }));
            match self.started.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                // What `seen` pointed to belongs to the parent process and is left alone.
                // SAFETY: `new` is valid, and from here on freed only by drop.
                Ok(_) => return Some(unsafe { &*new }),
                Err(other) => {
                    // SAFETY: the exchange failed, so `new` is still ours alone.
                    unsafe { Box::from_raw(new) }.end();
                    seen = other;
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let started = *self.started.get_mut();
        // SAFETY: set only by get; &mut self excludes every user.
        if let Some(s) = unsafe { started.as_ref() }
            && s.process == std::process::id()
        {
            // SAFETY: as above; it came from Box::into_raw, and its threads belong to this process.
            unsafe { Box::from_raw(started) }.end();
        }
    }
}

impl Started {
    /// Ends the pool and waits for its threads, so that none runs on in a library that is then unloaded.
    fn end(self) {
        drop(self.pool);
        let this = std::thread::current().id();
        for thread in self.threads {
            // A context may be dropped by a task on its own pool, which cannot wait for itself.
            if thread.thread().id() != this {
                // A worker that panicked has already told its caller.
                let _ = thread.join();
            }
        }
    }
}

/// A slice whose disjoint pieces several tasks write at once.
pub(crate) struct Shared<'a, T> {
    ptr: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access is `piece`, whose contract keeps concurrent pieces disjoint.
unsafe impl<T: Send> Sync for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Shared { ptr: slice.as_mut_ptr(), len: slice.len(), lifetime: PhantomData }
    }

    /// The first element; for kernels that write strided tiles.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.ptr
    }

    /// Elements `range` for one task.
    ///
    /// # Safety
    /// No two pieces that overlap are alive at once.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn piece(&self, range: std::ops::Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: in bounds (asserted); disjoint from every other piece (contract).
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}
