//! What the families' tests share: comparing floats, the instruction sets to run on, random numbers, guarded buffers.
#![allow(dead_code, reason = "a toolbox: which parts are used depends on the target and the features")]

use evenkeel::element::Storage;
use evenkeel::{Context, Isa, f16};
use std::any::TypeId;
use std::io::Write;
use std::sync::OnceLock;

// Comparing floats.

/// f32 or f64, as far as comparing them needs.
pub trait Float: Copy + std::fmt::LowerExp {
    /// An integer that counts representable numbers: consecutive floats differ by 1, and both zeros are 0.
    fn ordered(self) -> i64;
    fn is_nan(self) -> bool;
    /// The bits, widened.
    fn raw(self) -> u64;
}

impl Float for f32 {
    fn ordered(self) -> i64 {
        let magnitude = (self.to_bits() & 0x7fff_ffff) as i64;
        if self.is_sign_negative() { -magnitude } else { magnitude }
    }
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    fn raw(self) -> u64 {
        self.to_bits() as u64
    }
}

impl Float for f64 {
    fn ordered(self) -> i64 {
        let magnitude = (self.to_bits() & (u64::MAX >> 1)) as i64;
        if self.is_sign_negative() { -magnitude } else { magnitude }
    }
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    fn raw(self) -> u64 {
        self.to_bits()
    }
}

/// How many representable floats lie between `a` and `b`, one of them counted: 0 for equal numbers (−0 = +0) and for
/// two NaN, 1 for neighbours, `u64::MAX` where only one is NaN. Infinity follows the largest finite number.
pub fn ulp_distance<T: Float>(a: T, b: T) -> u64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => 0,
        (false, false) => a.ordered().abs_diff(b.ordered()),
        _ => u64::MAX,
    }
}

/// The error of `got` against a truth in f64, in units of the last place of the f32 nearest to the truth. The unit is
/// 2⁻¹⁴⁹ among the subnormals. Where either is infinite or NaN: 0 if the nearest f32 is `got`, else infinity.
pub fn ulp_error(got: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if !got.is_finite() || !nearest.is_finite() {
        return if same_bits(got, nearest) { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((nearest.to_bits() >> 23) & 0xff).max(1) as i32;
    (got as f64 - truth).abs() / 2f64.powi(exponent - 150)
}

/// The same bits, where any NaN is the same as any other.
pub fn same_bits<T: Float>(a: T, b: T) -> bool {
    a.raw() == b.raw() || a.is_nan() && b.is_nan()
}

/// Fails unless the slices have the same bits; names the first element that differs, and how many do.
#[track_caller]
pub fn assert_same_bits<T: Float>(what: &str, got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let differ = |i: &usize| !same_bits(got[*i], want[*i]);
    if let Some(i) = (0..got.len()).find(differ) {
        panic!(
            "{what}: element {i} is {:e} ({:#x}), expected {:e} ({:#x}); {} of {} differ",
            got[i],
            got[i].raw(),
            want[i],
            want[i].raw(),
            (0..got.len()).filter(differ).count(),
            got.len(),
        );
    }
}

/// Fails unless every element is within `ulps` of its counterpart.
#[track_caller]
pub fn assert_ulp<T: Float>(what: &str, got: &[T], want: &[T], ulps: u64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let distance = ulp_distance(g, w);
        assert!(distance <= ulps, "{what}: element {i} is {g:e}, expected {w:e}: {distance} ULP, at most {ulps}");
    }
}

/// Fails unless |got − want| ≤ `tolerance(i)` for every element; equal infinities and two NaN agree.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let (error, allowed) = ((g as f64 - w).abs(), tolerance(i));
        let agree = error <= allowed || !w.is_finite() && same_bits(g as f64, w);
        assert!(agree, "{what}: element {i} is {g:e}, expected {w:e}: error {error:e}, at most {allowed:e}");
    }
}

// Instruction sets.

/// Every instruction set of this machine, fastest first, the specification last; when [`quick`], those two alone: an
/// emulated machine is about one of them.
///
/// The first call says on stderr which ones run. The environment variable `EVENKEEL_REQUIRE_ISA` (a comma list of
/// names) makes the tests fail on a machine that lacks one of them.
pub fn isas() -> impl Iterator<Item = Isa> {
    static FOUND: OnceLock<Vec<Isa>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut found: Vec<Isa> = Isa::available().collect();
        if quick() {
            found.drain(1..(found.len() - 1).max(1));
        }
        let names: Vec<_> = found.iter().map(|isa| isa.name()).collect();
        // Not eprintln!, which the test harness would capture; one write, which other output cannot split.
        let line = format!("instruction sets under test: {}\n", names.join(", "));
        std::io::stderr().write_all(line.as_bytes()).expect("stderr");
        found
    });
    let required = std::env::var("EVENKEEL_REQUIRE_ISA").unwrap_or_default();
    for name in required.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let runs = found.iter().any(|isa| isa.name() == name);
        assert!(runs, "EVENKEEL_REQUIRE_ISA names {name}, which does not run on this machine");
    }
    found.iter().copied()
}

/// Those of [`isas`] that must give the specification's bits, and are not the specification.
pub fn exact_isas() -> impl Iterator<Item = Isa> {
    isas().filter(|isa| *isa != Isa::Scalar && isa.is_fused())
}

/// A context of `threads` threads on `isa`.
pub fn context(isa: Isa, threads: usize) -> Context {
    Context::builder().isa(isa).num_threads(threads).build().expect("an available instruction set")
}

/// One context of one thread for each of [`isas`].
pub fn contexts() -> impl Iterator<Item = Context> {
    isas().map(|isa| context(isa, 1))
}

/// The specification, on one thread.
pub fn specification() -> Context {
    context(Isa::Scalar, 1)
}

/// Contexts that must all give [`specification`]'s bits: each of [`exact_isas`] on one thread, the fastest of them on
/// 2, 3 and 8 and on a host's 3 too. When [`quick`], one and 3 threads of the fastest.
pub fn exact_contexts() -> impl Iterator<Item = Context> {
    let isas: Vec<Isa> = exact_isas().collect();
    let threaded = *isas.first().unwrap_or(&Isa::Scalar);
    let alone = isas.into_iter().map(|isa| context(isa, 1));
    let counts: &[usize] = if quick() { &[3] } else { &[2, 3, 8] };
    let together = counts.iter().map(move |threads| context(threaded, *threads));
    alone.chain(together).chain((!quick()).then(|| host_context(3)))
}

/// The fastest exact instruction set on the threads of a host, started anew for each call.
pub fn host_context(threads: usize) -> Context {
    let parallel_for = |tasks: usize, task: &(dyn Fn(usize) + Sync)| {
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    };
    let isa = exact_isas().next().unwrap_or(Isa::Scalar);
    Context::builder().isa(isa).num_threads(threads).parallel_for(parallel_for).build().expect("a host executor")
}

// How much to test.

/// Whether `EVENKEEL_QUICK` asks for few samples, as the emulated instruction sets need.
pub fn quick() -> bool {
    std::env::var_os("EVENKEEL_QUICK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// `full`, or a sixteenth of it when [`quick`].
pub fn samples(full: usize) -> usize {
    if quick() { (full / 16).max(1) } else { full }
}

/// Whether this machine's own instruction rounds what lies halfway between two halves up and not to even, which no real one
/// does. That of Bochs 2.7 does: its `roundAndPackFloat16` clears the last bit where the four bits that it drops are 0x10,
/// which they never are, in place of 0x8. One such number is asked here.
fn halfway_goes_up() -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("f16c") {
        use std::arch::x86_64::*;
        #[target_feature(enable = "f16c")]
        fn half(x: f32) -> i32 {
            _mm_cvtsi128_si32(_mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(x)))
        }
        // SAFETY: the machine has it.
        return unsafe { half(std::hint::black_box(2f32.powi(-25))) } != 0;
    }
    false
}

/// `x`; on a machine where [`halfway_goes_up`], a little more in place of what is halfway between two halves.
pub fn off_halfway(mut x: Vec<f32>) -> Vec<f32> {
    if halfway_goes_up() {
        for x in &mut x {
            let steps = x.abs() * 2f32.powi(24);
            let halfway = if steps < 1024.0 { steps.fract() == 0.5 } else { x.to_bits() & 0x1fff == 0x1000 };
            *x = if halfway { f32::from_bits(x.to_bits() + 1) } else { *x };
        }
    }
    x
}

/// `got`, which is `x` rounded; on a machine where [`halfway_goes_up`], with the even half in place of the upper one for what
/// is halfway between two halves.
pub fn to_even<T: Storage>(x: &[f32], got: &[T]) -> Vec<T> {
    let mut even = got.to_vec();
    if TypeId::of::<T>() == TypeId::of::<f16>() && halfway_goes_up() {
        for ((even, &x), above) in even.iter_mut().zip(x).zip(off_halfway(x.to_vec())) {
            let up = above != x && *even == T::from_f32(above);
            *even = if up { T::from_f32(x) } else { *even };
        }
    }
    even
}

/// `n` values of which the first thousands are `f`'s and the rest repeat them: for tensors beyond the caches, whose
/// values matter less than their number.
pub fn repeated<T: Copy>(rng: &mut Rng, n: usize, f: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    let some = rng.vec(n.min(10_007), f);
    some.into_iter().cycle().take(n).collect()
}

// Random numbers.

/// A small generator (SplitMix64): the same numbers on every machine.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.u64() as u128 * n as u128) >> 64) as usize
    }

    pub fn bool(&mut self) -> bool {
        self.u64() >> 63 == 1
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Uniform between `low` and `high`.
    pub fn uniform(&mut self, low: f32, high: f32) -> f32 {
        (low as f64 + self.unit() * (high as f64 - low as f64)) as f32
    }

    /// Normal, mean 0, variance 1 (Box and Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// Either sign and a random mantissa, the magnitude in a binade from 2^`low` up to the one of 2^`high`, each
    /// binade as likely; −127 is the subnormals.
    pub fn binades(&mut self, low: i32, high: i32) -> f32 {
        assert!(-127 <= low && low <= high && high <= 127);
        let exponent = (low + self.below((high - low + 1) as usize) as i32 + 127) as u32;
        f32::from_bits(self.u32() & 0x807f_ffff | exponent << 23)
    }

    /// Any finite number, each binade as likely, subnormals and zeros among them.
    pub fn finite(&mut self) -> f32 {
        if self.below(16) == 0 { [0.0, -0.0][self.below(2)] } else { self.binades(-127, 127) }
    }

    /// Any bit pattern: every binade as likely, and one in eight from the corners of the format.
    pub fn any_f32(&mut self) -> f32 {
        const CORNERS: [f32; 12] = [
            0.0,
            f32::INFINITY,
            f32::NAN,
            f32::from_bits(0x7f80_0001), // a signalling NaN
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            f32::from_bits(0x007f_ffff), // the largest subnormal
            1.0,
            0.5,
            2.5,
            8388607.5,
        ];
        let magnitude = if self.below(8) == 0 {
            CORNERS[self.below(CORNERS.len())].to_bits()
        } else {
            (self.below(256) as u32) << 23 | self.u32() & 0x007f_ffff
        };
        f32::from_bits(magnitude | (self.bool() as u32) << 31)
    }

    /// As [`Rng::any_f32`]; half of them lie where rounding to f32 has something to decide: in f32's range and a
    /// little beyond, on ties and next to them.
    pub fn any_f64(&mut self) -> f64 {
        match self.below(4) {
            0 | 1 => {
                let exponent = 1023 - 152 + self.below(152 + 130) as u64;
                let low = [0, 1, 1 << 28, (1 << 28) - 1, (1 << 28) + 1, self.u64()][self.below(6)];
                let mantissa = self.u64() & !0x1fff_ffff | low & 0x1fff_ffff;
                f64::from_bits((self.bool() as u64) << 63 | exponent << 52 | mantissa & ((1 << 52) - 1))
            }
            2 => self.any_f32() as f64,
            _ => f64::from_bits(self.u64()),
        }
    }

    /// `n` values of `f`.
    pub fn vec<T>(&mut self, n: usize, mut f: impl FnMut(&mut Rng) -> T) -> Vec<T> {
        (0..n).map(|_| f(self)).collect()
    }

    /// `N` values of `f`.
    pub fn array<T, const N: usize>(&mut self, mut f: impl FnMut(&mut Rng) -> T) -> [T; N] {
        std::array::from_fn(|_| f(self))
    }
}

// Guarded buffers.

/// A slice beside a page that nothing may touch: one element too far kills the process.
#[cfg(unix)]
pub struct Guarded<T> {
    map: *mut libc::c_void,
    map_bytes: usize,
    start: *mut T,
    len: usize,
}

#[cfg(unix)]
impl<T: Copy> Guarded<T> {
    /// A copy of `values` whose last element ends where the guard page starts.
    pub fn at_end(values: &[T]) -> Self {
        Self::new(values, true)
    }

    /// A copy of `values` whose first element starts where the guard page ends.
    pub fn at_start(values: &[T]) -> Self {
        Self::new(values, false)
    }

    fn new(values: &[T], at_end: bool) -> Self {
        let bytes = size_of_val(values);
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let inner = bytes.next_multiple_of(page).max(page);
        let map_bytes = inner + 2 * page;
        // SAFETY: a new private mapping, at an address of the system's choice.
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), map_bytes, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(map, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        let first = map.wrapping_byte_add(page);
        // SAFETY: the pages between the first and the last one of the mapping above.
        let opened = unsafe { libc::mprotect(first, inner, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "mprotect: {}", std::io::Error::last_os_error());
        // A type's size is a multiple of its alignment, so that both ends of a page are aligned for it.
        let start = first.wrapping_byte_add(if at_end { inner - bytes } else { 0 }).cast::<T>();
        // SAFETY: `bytes` <= `inner` bytes from `start` are writable and belong to nothing else.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), start, values.len()) };
        Guarded { map, map_bytes, start, len: values.len() }
    }
}

#[cfg(unix)]
impl<T> std::ops::Deref for Guarded<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were copied to `start`; the mapping lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

#[cfg(unix)]
impl<T> std::ops::DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref, and self is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(unix)]
impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; no slice of it outlives self.
        unsafe { libc::munmap(self.map, self.map_bytes) };
    }
}

// Tests of the tools themselves.

#[test]
fn ulp_distance_counts_representable_floats() {
    let tiny = f32::from_bits(1);
    assert_eq!(ulp_distance(0.0f32, -0.0), 0);
    assert_eq!(ulp_distance(tiny, 0.0), 1);
    assert_eq!(ulp_distance(tiny, -tiny), 2);
    assert_eq!(ulp_distance(f32::MIN_POSITIVE, f32::from_bits(0x007f_ffff)), 1);
    assert_eq!(ulp_distance(1.0f32, 1.0 + f32::EPSILON), 1);
    assert_eq!(ulp_distance(2.0f32, 1.0), 1 << 23);
    assert_eq!(ulp_distance(f32::MAX, f32::INFINITY), 1);
    assert_eq!(ulp_distance(f32::NEG_INFINITY, f32::INFINITY), 2 * 0x7f80_0000);
    assert_eq!(ulp_distance(f32::NAN, -f32::NAN), 0);
    assert_eq!(ulp_distance(f32::NAN, f32::INFINITY), u64::MAX);
    assert_eq!(ulp_distance(f64::INFINITY, f64::NEG_INFINITY), 2 * 0x7ff0_0000_0000_0000);
    assert_eq!(ulp_distance(-f64::from_bits(1), 0.0), 1);
    assert!(!same_bits(0.0f32, -0.0));

    assert_eq!(ulp_error(1.0, 1.0 + 2f64.powi(-24)), 0.5);
    assert_eq!(ulp_error(0.0, 2f64.powi(-150)), 0.5);
    assert_eq!(ulp_error(f32::INFINITY, 1e39), 0.0);
    assert_eq!(ulp_error(f32::MAX, 1e39), f64::INFINITY);
    assert_eq!(ulp_error(f32::NAN, 1.0), f64::INFINITY);
}

#[test]
fn random_floats_cover_the_format() {
    let mut rng = Rng::new(1);
    let drawn = rng.vec(20_000, Rng::any_f32);
    for exponent in 0..256 {
        assert!(drawn.iter().any(|x| x.to_bits() >> 23 & 0xff == exponent), "exponent {exponent}");
    }
    assert!(drawn.iter().any(|x| x.is_nan()) && drawn.contains(&f32::NEG_INFINITY));
    assert!(rng.vec(20_000, Rng::finite).iter().all(|x| x.is_finite()));
    assert!(rng.vec(1000, |rng| rng.binades(-3, 2)).iter().all(|x| (0.125..8.0).contains(&x.abs())));
}

/// Whether a child process that reads the float at `p` dies of it.
#[cfg(unix)]
fn reading_kills(p: *const f32) -> bool {
    // SAFETY: the child touches nothing but `p` and leaves by _exit, which is all that fork allows a threaded process;
    // a `p` outside every mapping ends it by a signal, which is the answer.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &no_core);
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            std::ptr::read_volatile(p);
            libc::_exit(0);
        }
        assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        libc::WIFSIGNALED(status)
    }
}

#[cfg(unix)]
#[test]
fn guarded_buffers_are_guarded() {
    for len in [1, 5, 1024, 1500] {
        let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
        let end = Guarded::at_end(&values);
        assert_eq!(&end[..], values);
        assert!(!reading_kills(&end[len - 1]));
        assert!(reading_kills(end.as_ptr().wrapping_add(len)));
        let start = Guarded::at_start(&values);
        assert_eq!(&start[..], values);
        assert!(!reading_kills(&start[0]));
        assert!(reading_kills(start.as_ptr().wrapping_sub(1)));
    }
}
