//! One call on a rayon pool. Whoever comes while there is work joins in; the caller waits for those alone, not for workers
//! that are still waking up.

use super::cpu;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a worker looks for more work before it goes to sleep: calls follow each other closely in training, and most do less than
/// waking it takes.
const STAY: Duration = Duration::from_micros(200);

/// What waking workers costs the caller, with what they then need to warm up.
const WAKING: Duration = Duration::from_micros(100);

/// Turns without work after which a waiting thread lets others have its CPU.
const TURNS: usize = 32;

/// After so long a worker that was called should have come.
const LATE: Duration = Duration::from_micros(150);

/// A yield that takes longer let another thread run.
const CROWDED: Duration = Duration::from_micros(10);

/// Turns that the caller waits for the others before it goes to sleep, some 10 to 30 microseconds.
const SPINS: usize = 500;

/// State of a [`Gate`]: nobody else may come in.
const CLOSED: usize = 1 << (usize::BITS - 1);
/// The caller sleeps until the last one leaves.
const SLEEPS: usize = 1 << (usize::BITS - 2);

type Body<'a> = dyn Fn(usize) + Sync + 'a;

/// Where workers enter a call.
struct Gate {
    /// How many are inside, with [`CLOSED`] and [`SLEEPS`].
    state: AtomicUsize,
    /// Valid for whoever is inside.
    body: *const Body<'static>,
    caller: Thread,
    /// The caller's CPU.
    cpu: Option<usize>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the body is Sync, and is called only from inside.
unsafe impl Send for Gate {}
// SAFETY: as above; all else is Sync itself.
unsafe impl Sync for Gate {}

impl Gate {
    /// Calls the body as this worker, unless the gate is closed.
    fn join(&self, worker: usize) {
        let enters = |state: usize| (state & CLOSED == 0).then_some(state + 1);
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, enters).is_err() {
            return;
        }
        // SAFETY: the caller closes the gate, and waits until nobody is inside, before the body's life ends (Closing).
        let body = unsafe { &*self.body };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(worker))) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        let before = self.state.fetch_sub(1, Ordering::Release);
        if before & SLEEPS != 0 && before & !(SLEEPS | CLOSED) == 1 {
            self.caller.unpark();
        }
    }
}

/// Closes the gate and waits for those inside, also when the caller's own work panics.
struct Closing<'a>(&'a Gate);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_or(CLOSED, Ordering::Relaxed) | CLOSED;
        let mut turns = 0;
        while state & !(CLOSED | SLEEPS) != 0 {
            turns += 1;
            if turns < SPINS {
                std::hint::spin_loop();
                state = self.0.state.load(Ordering::Relaxed);
            } else if state & SLEEPS == 0 {
                state = self.0.state.fetch_or(SLEEPS, Ordering::Relaxed) | SLEEPS;
            } else {
                // It comes back at once where the last one has left since.
                std::thread::park();
                state = self.0.state.load(Ordering::Relaxed);
            }
        }
        // What those inside wrote is seen from here on.
        self.0.state.load(Ordering::Acquire);
    }
}

/// The caller has given way to workers that were called for.
const AWAITED: u64 = u64::MAX;

/// What a pool remembers from call to call.
pub(super) struct Attendance {
    /// Workers that are awake.
    awake: AtomicUsize,
    start: Instant,
    /// When the last call ended, in nanoseconds after `start`.
    last: AtomicU64,
    /// When workers were called for who have not come since, or 0, or [`AWAITED`].
    called: AtomicU64,
}

impl Attendance {
    pub(super) fn new() -> Attendance {
        Attendance {
            awake: AtomicUsize::new(0),
            start: Instant::now(),
            last: AtomicU64::new(0),
            called: AtomicU64::new(0),
        }
    }

    /// Nanoseconds since the first call.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Whether so many workers are awake, with the caller.
    fn full(&self, workers: usize) -> bool {
        self.awake.load(Ordering::Relaxed) + 1 >= workers
    }

    /// Whether calls follow each other closely.
    fn busy(&self) -> bool {
        self.now().saturating_sub(self.last.load(Ordering::Relaxed)) < STAY.as_nanos() as u64
    }

    /// Notes that workers are called for. Where those of an earlier call have not come, they may wait for the very CPU that the
    /// caller has: they get it for a moment, and go elsewhere.
    fn call(&self) {
        let (now, called) = (self.now(), self.called.load(Ordering::Relaxed));
        if called == 0 {
            self.called.store(now, Ordering::Relaxed);
        } else if now.saturating_sub(called) > LATE.as_nanos() as u64 {
            // Once: where all CPUs are taken it would help others alone.
            self.called.store(AWAITED, Ordering::Relaxed);
            std::thread::yield_now();
        }
    }
}

/// Calls `body(worker)` on this thread as worker 0, and on as many others of the pool as come while that runs. `first` does one
/// of the `tasks` that the body would do.
pub(super) fn run(
    pool: &rayon::ThreadPool,
    attendance: &Arc<Attendance>,
    workers: usize,
    tasks: usize,
    first: &dyn Fn(),
    body: &Body<'_>,
) {
    let full = attendance.full(workers);
    if !full && !attendance.busy() {
        let start = Instant::now();
        first();
        // Whoever sleeps is not worth waking for less.
        if start.elapsed().as_nanos() * (tasks - 1) as u128 <= WAKING.as_nanos() {
            body(0);
            attendance.last.store(attendance.now(), Ordering::Relaxed);
            return;
        }
    }
    if !full {
        attendance.call();
    }
    let body_ptr: *const Body<'_> = body;
    let gate = Arc::new(Gate {
        state: AtomicUsize::new(0),
        // SAFETY: the types differ by a lifetime alone, which Closing keeps.
        body: unsafe { std::mem::transmute::<*const Body<'_>, *const Body<'static>>(body_ptr) },
        caller: std::thread::current(),
        cpu: cpu::current(),
        panic: Mutex::new(None),
    });
    for worker in 1..workers {
        let (gate, attendance) = (Arc::clone(&gate), Arc::clone(attendance));
        pool.spawn(move || attend(&attendance, gate, worker));
    }
    let closing = Closing(&gate);
    body(0);
    drop(closing);
    attendance.last.store(attendance.now(), Ordering::Relaxed);
    let panic = gate.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

thread_local! {
    /// Whether this thread, of a pool, is in [`stay`].
    static STAYS: Cell<bool> = const { Cell::new(false) };
}

/// What a worker is called for: the gate's work, then whatever else comes, until none has come for a while.
fn attend(attendance: &Attendance, gate: Arc<Gate>, worker: usize) {
    // One that stays comes here for each call.
    let stays = STAYS.replace(true);
    if !stays {
        attendance.awake.fetch_add(1, Ordering::Relaxed);
        attendance.called.store(0, Ordering::Relaxed);
        if gate.cpu.is_some() && gate.cpu == cpu::current() {
            cpu::leave();
        }
    }
    gate.join(worker);
    drop(gate);
    if !stays {
        stay();
        attendance.awake.fetch_sub(1, Ordering::Relaxed);
        STAYS.set(false);
    }
}

/// Does the pool's work as it comes, until none has come for a while.
fn stay() {
    let (mut since, mut turns) = (Instant::now(), 0);
    while since.elapsed() < STAY {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            (since, turns) = (Instant::now(), 0);
            continue;
        }
        std::hint::spin_loop();
        turns += 1;
        if turns % TURNS == 0 {
            let before = Instant::now();
            std::thread::yield_now();
            // Others want this CPU, the caller maybe. Whoever is woken is given an idle one.
            if before.elapsed() > CROWDED {
                return;
            }
        }
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn pool(threads: usize) -> (rayon::ThreadPool, Arc<Attendance>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        (pool, Arc::new(Attendance::new()))
    }

    /// Calls that follow each other at once, while workers stay, and after they have gone to sleep; tasks that are short, and
    /// that are worth waking somebody.
    #[test]
    fn each_task_is_done_once_before_the_call_ends() {
        let (pool, attendance) = pool(3);
        for round in 0..400 {
            let done: Vec<AtomicUsize> = (0..9).map(|_| AtomicUsize::new(0)).collect();
            let next = AtomicUsize::new(0);
            let step = || {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if let Some(count) = done.get(task) {
                    if round % 8 == 0 {
                        std::thread::sleep(Duration::from_micros(50));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                task < done.len()
            };
            run(&pool, &attendance, 4, done.len(), &|| _ = step(), &|_| while step() {});
            assert!(done.into_iter().all(|count| count.into_inner() == 1), "round {round}");
            std::thread::sleep(Duration::from_micros([0, 0, 0, 100, 300, 1000][round % 6]));
        }
    }

    /// Processor time of each worker.
    #[cfg(target_os = "linux")]
    fn spent(pool: &rayon::ThreadPool) -> Vec<Duration> {
        pool.broadcast(|_| {
            let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: it writes the time there.
            assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        })
    }

    /// For as long as nobody calls, workers take no processor time but what they stay for, 0.2 ms.
    #[cfg(target_os = "linux")]
    #[test]
    fn workers_sleep_when_nobody_calls() {
        // Where several share a CPU, they would go to sleep sooner.
        let (pool, attendance) = pool(1);
        let worked = AtomicUsize::new(0);
        while worked.load(Ordering::Relaxed) == 0 {
            let body = |worker: usize| {
                worked.fetch_add(worker, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            };
            run(&pool, &attendance, 2, 9, &|| std::thread::sleep(Duration::from_millis(1)), &body);
        }
        let before = spent(&pool);
        std::thread::sleep(Duration::from_millis(300));
        for (before, after) in before.into_iter().zip(spent(&pool)) {
            assert!(after - before < Duration::from_millis(5), "{:?} of 0.3 s", after - before);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_when_all_have_left() {
        let (pool, attendance) = pool(3);
        for panics in [0, 1] {
            let (entered, left) = (AtomicBool::new(false), AtomicBool::new(false));
            let body = |worker: usize| {
                if worker == 1 {
                    entered.store(true, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                    left.store(true, Ordering::Relaxed);
                }
                while worker == 0 && !entered.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                assert!(worker != panics, "as told");
            };
            // Enough to do after the first task for somebody to be called.
            let first = || std::thread::sleep(Duration::from_millis(1));
            let end = catch_unwind(AssertUnwindSafe(|| run(&pool, &attendance, 2, 9, &first, &body)));
            assert_eq!(end.unwrap_err().downcast_ref::<&str>(), Some(&"as told"), "worker {panics}");
            assert!(left.into_inner());
        }
    }
}
