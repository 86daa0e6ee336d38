//! Attack: every C function called with arguments that a generator chooses, valid and broken in all ways that it knows;
//! how much stack and how many allocations a call takes.
//!
//! EVENKEEL_ATTACK_CALLS sets the number of calls (20000), EVENKEEL_ATTACK_SEED what they depend on. A failure names its
//! call: EVENKEEL_ATTACK_ONLY repeats that one alone. tests/attack/asan.sh runs a million under AddressSanitizer.

mod bare;
#[rustfmt::skip]
mod calls;
mod generator;
mod memory;
#[path = "../tools/mod.rs"]
mod tools;

use calls::CALLS;
// Brings the C functions into the program.
use evenkeel as _;
use generator::{Contexts, Generator, Source};
use memory::Arena;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Allocations of this thread so far.
fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's contract.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

/// Ends the program where the current call, a number from 1 on, takes more than a minute.
fn watch(current: std::sync::Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let (mut seen, mut seconds) = (0, 0);
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
            let now = current.load(Ordering::Relaxed);
            seconds = if now == seen && now != 0 { seconds + 1 } else { 0 };
            seen = now;
            if seconds > 60 {
                eprintln!("call {} does not end: {}", now - 1, CALLS[((now - 1) % CALLS.len() as u64) as usize].0);
                std::process::abort();
            }
        }
    });
}

#[test]
fn random_calls_of_every_function() {
    let (calls, seed) = (number("EVENKEEL_ATTACK_CALLS", 20_000), number("EVENKEEL_ATTACK_SEED", 1));
    let only = std::env::var("EVENKEEL_ATTACK_ONLY").ok().map(|text| text.parse::<u64>().expect("a number"));
    let contexts = Contexts::new();
    let mut arena = Arena::new();
    let current = std::sync::Arc::new(AtomicU64::new(0));
    watch(current.clone());
    let mut failed = Vec::new();
    let mut statuses = vec![[0u64; 9]; CALLS.len()];
    for call in only.map_or(0..calls, |i| i..i + 1) {
        current.store(call + 1, Ordering::Relaxed);
        let which = (call % CALLS.len() as u64) as usize;
        let source = Source::new(seed.wrapping_mul(0x1234_5678_9ABC_DEF1) ^ call, &[]);
        let mut g = Generator::new(source, &mut arena, &contexts.0, !(call / CALLS.len() as u64).is_multiple_of(3));
        if failed.contains(&CALLS[which].0) {
            continue;
        }
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| CALLS[which].1(&mut g))).is_err() {
            eprintln!("in call {call} of seed {seed}");
            failed.push(CALLS[which].0);
            continue;
        }
        if g.called {
            statuses[which][g.status as usize] += 1;
        }
    }
    current.store(0, Ordering::Relaxed);
    assert!(failed.is_empty(), "{failed:?}");
    if only.is_none() && calls >= 20_000 {
        for ((name, _), counts) in CALLS.iter().zip(&statuses) {
            let (all, failed) = (counts.iter().sum::<u64>(), counts[1..].iter().sum::<u64>());
            assert!(all - failed > all / 50, "{name} hardly ever succeeded: {counts:?}");
            assert!(failed > all / 50, "{name} hardly ever failed: {counts:?}");
        }
        let sum = |status: usize| statuses.iter().map(|counts| counts[status]).sum::<u64>();
        println!("calls by status: {:?}", [0, 1, 2, 3, 4, 5, 6, 7, 8].map(sum));
    }
}

/// Runs `body` on a thread whose stack was painted; how many bytes of it were used.
fn stack_of(body: impl FnOnce() + Send) -> usize {
    use std::ffi::c_void;
    const STACK: usize = 1 << 20;
    const PAINT: u8 = 0xC3;
    extern "C" fn run<F: FnOnce()>(body: *mut c_void) -> *mut c_void {
        // SAFETY: the Option<F> of the caller, which waits.
        if let Some(body) = unsafe { &mut *body.cast::<Option<F>>() }.take() {
            body();
        }
        std::ptr::null_mut()
    }
    fn entry<F: FnOnce()>(_: &Option<F>) -> extern "C" fn(*mut c_void) -> *mut c_void {
        run::<F>
    }
    let mut body = Some(body);
    // SAFETY: the stack is a mapping of its own that outlives the thread, which is joined; body outlives it too.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let stack = libc::mmap(std::ptr::null_mut(), STACK, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert!(stack != libc::MAP_FAILED);
        std::ptr::write_bytes(stack.cast::<u8>(), PAINT, STACK);
        let mut attributes = std::mem::zeroed();
        let mut thread = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack, STACK), 0);
        assert_eq!(libc::pthread_create(&mut thread, &attributes, entry(&body), (&raw mut body).cast()), 0);
        assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
        libc::pthread_attr_destroy(&mut attributes);
        let bytes = std::slice::from_raw_parts(stack.cast::<u8>(), STACK);
        let untouched = bytes.iter().take_while(|&&b| b == PAINT).count();
        libc::munmap(stack, STACK);
        STACK - untouched
    }
}

struct Shared<'a>(&'a [*mut std::ffi::c_void], &'a mut Arena);
// SAFETY: one thread at a time uses it.
unsafe impl Send for Shared<'_> {}

/// Most stack and allocations of the calling thread that valid calls of each function took, once workspace had grown.
#[test]
fn calls_take_little_stack_and_allocate_nothing() {
    let contexts = Contexts::new();
    let mut arena = Arena::new();
    let nothing = stack_of(|| {});
    let (mut table, mut excess) = (String::new(), Vec::new());
    for (name, call) in CALLS {
        let (mut allocated, mut called) = (0, 0);
        let shared = Shared(&contexts.0[..1], &mut arena);
        let used = stack_of(|| {
            let shared = shared;
            let Shared(contexts, arena) = shared;
            for seed in 0..60 {
                for round in 0..2 {
                    let mut g = Generator::new(Source::new(seed, &[]), arena, contexts, false);
                    call(&mut g);
                    if g.called && round == 1 {
                        called += 1;
                        // An error's message is made.
                        if g.status == 0 {
                            allocated = allocated.max(g.allocated);
                        }
                    }
                }
            }
        });
        let used = used.saturating_sub(nothing);
        table += &format!("| `{name}` | {:.1} | {allocated} |\n", used as f64 / 1024.0);
        assert!(called > 20, "{name}: {called} calls");
        if used > 64 << 10 || allocated > 0 {
            excess.push(*name);
        }
    }
    bare::every(|name, call| {
        let mut allocated = 0;
        let used = stack_of(|| {
            call();
            let before = allocations();
            call();
            allocated = allocations() - before;
        });
        let used = used.saturating_sub(nothing);
        let name = if name == "ek_context_create" { "ek_context_create` and `ek_context_destroy" } else { name };
        table += &format!("| `{name}` | {:.1} | {allocated} |\n", used as f64 / 1024.0);
        // A context is an allocation, and what it reads of the machine takes some more.
        if used > 64 << 10 || allocated > 0 && !name.starts_with("ek_context_create") {
            excess.push(name);
        }
    });
    println!("{table}");
    if std::env::var_os("EVENKEEL_BLESS").is_some_and(|v| v == "1") {
        let path = tools::root().join("docs/guest.md");
        let text = std::fs::read_to_string(&path).expect("docs/guest.md");
        let (head, _) = text.split_once("|---|---|---|\n").expect("a table");
        std::fs::write(&path, format!("{head}|---|---|---|\n{table}")).expect("docs/guest.md");
    }
    assert!(excess.is_empty(), "more than 64 KiB of stack, or allocations: {excess:?}");
}

/// Loading, use and unloading leave no thread, no signal handler, no variable and no output behind.
#[test]
fn a_host_finds_itself_as_it_was() {
    if !tools::have(&["cc"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("guest");
    let mut command = std::process::Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-Iinclude", "tests/attack/guest.c", "-o"]).arg(&program);
    tools::run(command.arg("-ldl"));
    for contexts in ["own", "default"] {
        let mut command = std::process::Command::new(&program);
        let output =
            command.arg(tools::library_dir().join("libevenkeel.so")).arg(contexts).output().expect("it starts");
        assert!(output.status.success(), "{contexts}: {output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{contexts}: {output:?}");
    }
}
