//! Chooses the arguments of one call, valid ones or broken in some way, and judges what the call did.
//!
//! What must hold: a call whose arguments are valid succeeds; one that fails says why in words that begin with the
//! function's name, and has written nothing; inputs are never written; no byte around a tensor is read (pages that fault)
//! or written; the floating-point state is as before; no status is EK_STATUS_INTERNAL.

use super::memory::Arena;
use std::ffi::{CStr, c_char, c_void};

unsafe extern "C" {
    fn ek_last_error() -> *const c_char;
    fn ek_context_options_init(options: *mut c_void);
    fn ek_context_create(options: *const c_void, out: *mut *mut c_void) -> i32;
    fn ek_context_destroy(ctx: *mut c_void);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Input,
    Output,
}

/// Random words: those of a fuzzer as long as they last, then those of a generator seeded by them.
pub struct Source<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Source<'a> {
    pub fn new(seed: u64, bytes: &'a [u8]) -> Source<'a> {
        let state =
            bytes.iter().fold(seed ^ 0x9E37_79B9_7F4A_7C15, |s, &b| (s ^ b as u64).wrapping_mul(0x100_0000_01B3));
        Source { bytes, state }
    }
    pub fn word(&mut self) -> u64 {
        // splitmix64.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let word = z ^ z >> 31;
        match self.bytes.split_first() {
            Some((&byte, rest)) => {
                self.bytes = rest;
                word & !0xFF | byte as u64
            }
            None => word,
        }
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }
}

/// A piece of memory that the call gets.
struct Piece {
    name: &'static str,
    at: *mut u8,
    bytes: usize,
    shift: usize,
    before: Vec<u8>,
    kind: Kind,
    /// Another argument may write to it.
    shared: bool,
}

/// What a function's arguments are chosen from, and what is known of the current call.
pub struct Generator<'a> {
    source: Source<'a>,
    arena: &'a mut Arena,
    contexts: &'a [*mut c_void],
    name: &'static str,
    /// Arguments may be broken in this call; one was; the call cannot be made.
    hostile: bool,
    broken: bool,
    /// Dimensions are zero or beyond all memory: there may be nothing to do, any number of times.
    void: bool,
    impossible: bool,
    pieces: Vec<Piece>,
    /// Bounds of what tensors hold.
    classes: usize,
    seq: usize,
    list_sizes: Vec<usize>,
    mxcsr: u32,
    /// Allocations of the process before the call, and how many the call made.
    allocations: usize,
    pub allocated: usize,
    pub called: bool,
    pub status: i32,
}

/// The contexts that calls choose from; the first computes on the calling thread.
pub struct Contexts(pub Vec<*mut c_void>);

impl Contexts {
    pub fn new() -> Contexts {
        let create = |num_threads: usize, isa: i32, batch_invariant: bool, flush: bool| {
            let mut options = [0u64; 8];
            let mut out = std::ptr::null_mut();
            // SAFETY: ek_context_options is 48 bytes; its fields lie where the header says.
            unsafe {
                let p = options.as_mut_ptr().cast::<u8>();
                ek_context_options_init(p.cast());
                p.add(8).cast::<usize>().write(num_threads);
                p.add(16).cast::<i32>().write(isa);
                p.add(40).cast::<bool>().write(batch_invariant);
                p.add(41).cast::<bool>().write(flush);
                assert_eq!(ek_context_create(p.cast(), &mut out), 0);
            }
            out
        };
        let mut all = vec![
            create(1, 0, false, false),
            create(1, 0, true, false),
            create(1, 0, false, true),
            create(3, 0, false, false),
            create(2, 0, false, true),
            std::ptr::null_mut(),
        ];
        if cfg!(target_arch = "x86_64") {
            all.push(create(1, 1, false, false));
        }
        Contexts(all)
    }
}

impl Drop for Contexts {
    fn drop(&mut self) {
        for ctx in &self.0 {
            // SAFETY: created above, and no call uses it any more.
            unsafe { ek_context_destroy(*ctx) };
        }
    }
}

impl<'a> Generator<'a> {
    pub fn new(
        mut source: Source<'a>,
        arena: &'a mut Arena,
        contexts: &'a [*mut c_void],
        hostile: bool,
    ) -> Generator<'a> {
        arena.clear();
        let void = hostile && source.below(8) == 0;
        Generator {
            source,
            arena,
            contexts,
            name: "",
            hostile,
            broken: false,
            void,
            impossible: false,
            pieces: Vec::new(),
            classes: 0,
            seq: 0,
            list_sizes: Vec::new(),
            mxcsr: 0,
            allocations: 0,
            allocated: 0,
            called: false,
            status: 0,
        }
    }

    pub fn start(&mut self, name: &'static str) {
        self.name = name;
    }

    /// Whether this argument shall be broken.
    fn strike(&mut self) -> bool {
        let strike = self.hostile && self.source.below(8) == 0;
        self.broken |= strike;
        strike
    }

    pub fn context(&mut self) -> *mut c_void {
        self.contexts[self.source.below(self.contexts.len())]
    }

    /// An enum: its first values are valid everywhere.
    pub fn choice(&mut self, kind: &str) -> i32 {
        if self.strike() {
            return [-1, 99, i32::MIN, i32::MAX, 18][self.source.below(5)];
        }
        let values = match kind {
            "ek_activation" => 18,
            "ek_clip_mode" => 5,
            _ => 2,
        };
        self.source.below(values) as i32
    }

    pub fn bool(&mut self, _: &str) -> bool {
        self.source.below(2) == 1
    }

    pub fn f64(&mut self, name: &str) -> f64 {
        if self.strike() {
            return [f64::NAN, f64::INFINITY, -1.0, -0.0, 1e300, f64::MIN_POSITIVE][self.source.below(6)];
        }
        let x = self.source.below(1000) as f64 / 1000.0;
        match name {
            "low" => -1.0,
            "high" => 1.0,
            "act_param" | "loss_scale" | "limit" | "max_norm" => x + 0.1,
            "tolerance" => 1e-4,
            _ => x,
        }
    }
    pub fn f32(&mut self, name: &str) -> f32 {
        self.f64(name) as f32
    }
    pub fn u64(&mut self, _: &str) -> u64 {
        self.source.word() >> self.source.below(64)
    }
    pub fn i64(&mut self, name: &str) -> i64 {
        if name == "ignore_index" { -1 } else { self.source.word() as i64 }
    }
    /// A size that no tensor has: a number of iterations, a fan.
    pub fn usize(&mut self, name: &str) -> usize {
        if self.strike() && name.starts_with("fan") {
            return [0, usize::MAX][self.source.below(2)];
        }
        1 + self.source.below(9)
    }

    /// A dimension; tensors have up to `rank` of them.
    pub fn dim(&mut self, name: &str, rank: usize) -> usize {
        let huge = self.hostile && self.source.below(if self.void { 3 } else { 24 }) == 0;
        self.broken |= huge;
        let most = [1500, 300, 90, 24, 12][rank.clamp(1, 5) - 1];
        let n = match self.source.below(8) {
            _ if self.void && !huge && self.source.below(2) == 0 => 0,
            _ if huge => [usize::MAX, usize::MAX / 2, 1 << 62, (1 << 62) + 1, usize::MAX / 4 + 2][self.source.below(5)],
            0 => self.source.below(3),
            1 => [15, 16, 17, 31, 33][self.source.below(5)].min(most),
            2 => self.source.below(most),
            _ => 1 + self.source.below(most.min(12)),
        };
        match name {
            "classes" => self.classes = n,
            "seq" => self.seq = n,
            _ => {}
        }
        n
    }
    /// A divisor of `n`.
    pub fn divisor(&mut self, _: &str, n: usize) -> usize {
        if self.strike() {
            return [0, n.wrapping_add(1), usize::MAX][self.source.below(3)];
        }
        let all: Vec<usize> = (1..=n.min(300)).filter(|d| n.is_multiple_of(*d)).collect();
        if all.is_empty() { 1 } else { all[self.source.below(all.len())] }
    }
    pub fn leading(&mut self, cols: usize) -> usize {
        if self.strike() {
            return [cols.wrapping_sub(1), 0, usize::MAX, 1 << 62][self.source.below(4)];
        }
        cols.saturating_add(self.source.below(3) * self.source.below(9))
    }
    pub fn stride(&mut self, rows: usize, ld: usize, cols: usize) -> usize {
        let span = extent(rows, cols, ld).unwrap_or(usize::MAX);
        if self.strike() {
            return [span.wrapping_sub(1), 0, usize::MAX][self.source.below(3)];
        }
        span.saturating_add(self.source.below(4))
    }

    pub fn matrix(
        &mut self,
        name: &'static str,
        size: usize,
        rows: usize,
        cols: usize,
        ld: usize,
        kind: Kind,
    ) -> *mut c_void {
        let span = if ld < cols { Some(rows.saturating_mul(cols)) } else { extent(rows, cols, ld) };
        self.tensor(name, size, &[span.unwrap_or(usize::MAX)], kind, false)
    }
    pub fn matrices(
        &mut self,
        name: &'static str,
        size: usize,
        batch: usize,
        stride: usize,
        (rows, cols, ld): (usize, usize, usize),
        kind: Kind,
    ) -> *mut c_void {
        let one = if ld < cols { rows.checked_mul(cols) } else { extent(rows, cols, ld) };
        let span = match (batch, one) {
            (0, _) | (_, Some(0)) => Some(0),
            (_, None) => None,
            (_, Some(one)) => (batch - 1).checked_mul(stride).and_then(|n| n.checked_add(one)),
        };
        self.tensor(name, size, &[span.unwrap_or(usize::MAX)], kind, false)
    }

    /// A pointer to a tensor's memory, filled.
    pub fn tensor(
        &mut self,
        name: &'static str,
        size: usize,
        dims: &[usize],
        kind: Kind,
        optional: bool,
    ) -> *mut c_void {
        let zero = dims.contains(&0);
        let count = if zero { Some(0) } else { dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) };
        let bytes = count.and_then(|n| n.checked_mul(size)).filter(|&n| n <= isize::MAX as usize);
        if (optional || zero) && self.source.below(3) == 0 {
            return std::ptr::null_mut();
        }
        // Sizes that overflow are an error whatever lies there.
        let bytes = bytes.unwrap_or(64);
        let mut shift = 0;
        if self.strike() {
            match self.source.below(3) {
                0 => return std::ptr::null_mut(),
                1 => shift = 1,
                _ => {
                    let fits: Vec<usize> = (0..self.pieces.len()).filter(|&i| self.pieces[i].bytes >= bytes).collect();
                    if !fits.is_empty() {
                        let at = fits[self.source.below(fits.len())];
                        let room = (self.pieces[at].bytes - bytes) / size;
                        let offset = if self.source.below(2) == 0 { 0 } else { self.source.below(room + 1) * size };
                        self.pieces[at].shared |= kind == Kind::Output;
                        // SAFETY: within the piece, by the choice of offset.
                        return unsafe { self.pieces[at].at.add(offset) }.cast();
                    }
                }
            }
        }
        self.piece(name, size, bytes, shift, kind)
    }

    fn piece(&mut self, name: &'static str, size: usize, bytes: usize, shift: usize, kind: Kind) -> *mut c_void {
        let Some(at) = self.arena.take(bytes, shift) else {
            self.impossible = true;
            return std::ptr::null_mut();
        };
        for i in 0..bytes / size {
            // SAFETY: below bytes / size; unaligned.
            unsafe {
                match (name, size) {
                    ("targets", 8) => {
                        let target = if self.classes == 0 { -1 } else { self.source.below(self.classes) as i64 };
                        let wild = self.hostile && self.source.below(200) == 0;
                        self.broken |= wild;
                        at.cast::<i64>().add(i).write_unaligned(if wild { i64::MIN } else { target });
                    }
                    ("lengths", 8) => {
                        let wild = self.hostile && self.source.below(30) == 0;
                        self.broken |= wild;
                        let length = self.source.below(self.seq.min(1 << 20) + 1);
                        at.cast::<usize>().add(i).write_unaligned(if wild { usize::MAX } else { length });
                    }
                    (_, 8) => at.cast::<f64>().add(i).write_unaligned(self.number().abs() as f64),
                    (_, 2) => at.cast::<u16>().add(i).write_unaligned((self.number().to_bits() >> 16) as u16),
                    _ => at.cast::<f32>().add(i).write_unaligned(self.number()),
                }
            }
        }
        for i in bytes / size * size..bytes {
            // SAFETY: below bytes.
            unsafe { at.add(i).write(0) };
        }
        // SAFETY: bytes bytes, all written.
        let before = unsafe { std::slice::from_raw_parts(at, bytes) }.to_vec();
        self.pieces.push(Piece { name, at, bytes, shift, before, kind, shared: false });
        at.cast()
    }

    /// Mostly ordinary numbers; where arguments may be broken, also those that break arithmetic.
    fn number(&mut self) -> f32 {
        let word = self.source.word();
        if self.hostile && word >> 56 == 0 {
            return [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, -0.0][(word % 6) as usize];
        }
        ((word >> 40) as f32 / (1 << 23) as f32 - 1.0) * 2.0
    }

    pub fn count(&mut self) -> usize {
        if self.hostile && self.source.below(24) == 0 {
            self.broken = true;
            return [usize::MAX, 1 << 61][self.source.below(2)];
        }
        self.source.below(5)
    }
    pub fn sizes(&mut self, count: usize) -> *mut c_void {
        let known = count.min(4);
        self.list_sizes = (0..known).map(|_| self.dim("", 2)).collect();
        let p = self.tensor("sizes", 8, &[if count > 4 { usize::MAX } else { count }], Kind::Input, false);
        if let Some(piece) = self.pieces.last_mut().filter(|piece| piece.at.cast() == p && piece.name == "sizes") {
            for (i, size) in self.list_sizes.iter().enumerate() {
                // SAFETY: the piece holds known sizes.
                unsafe { piece.at.cast::<usize>().add(i).write_unaligned(*size) };
            }
            // SAFETY: as above.
            piece.before = unsafe { std::slice::from_raw_parts(piece.at, piece.bytes) }.to_vec();
        } else if !p.is_null() {
            // It lies where other things do: what it would say is not known.
            self.impossible = true;
        }
        p
    }
    /// An array of pointers to tensors of the sizes of `sizes`.
    pub fn list(&mut self, name: &'static str, size: usize, count: usize, kind: Kind, optional: bool) -> *mut c_void {
        if count > 4 {
            return self.piece(name, 8, 64, 0, Kind::Input);
        }
        if optional && self.source.below(3) == 0 || self.hostile && self.source.below(24) == 0 {
            self.broken |= !optional;
            return std::ptr::null_mut();
        }
        let sizes = self.list_sizes.clone();
        let pointers: Vec<_> = sizes.iter().map(|&n| self.tensor(name, size, &[n], kind, false)).collect();
        let list = self.piece(name, 8, count * 8, 0, Kind::Input);
        if self.impossible {
            return list;
        }
        for (i, p) in pointers.iter().enumerate() {
            // SAFETY: the piece holds count pointers.
            unsafe { list.cast::<*mut c_void>().add(i).write_unaligned(*p) };
        }
        if let Some(piece) = self.pieces.last_mut() {
            // SAFETY: as it was made.
            piece.before = unsafe { std::slice::from_raw_parts(piece.at, piece.bytes) }.to_vec();
        }
        list
    }

    /// A struct with a struct_size, as its init function leaves it, or with some bytes overwritten.
    pub fn record(
        &mut self,
        name: &'static str,
        init: unsafe extern "C" fn(*mut c_void),
        kind: Kind,
        optional: bool,
    ) -> *mut c_void {
        if optional && self.source.below(3) == 0 {
            return std::ptr::null_mut();
        }
        let strike = self.strike();
        if strike && self.source.below(4) == 0 {
            return std::ptr::null_mut();
        }
        // As large as the largest size that is believed.
        let p = self.piece(name, 4, 4096, 0, kind);
        if p.is_null() {
            return p;
        }
        // SAFETY: 4096 bytes, page-aligned.
        unsafe {
            std::ptr::write_bytes(p.cast::<u8>(), 0, 4096);
            init(p);
            let size = p.cast::<usize>().read();
            if strike {
                match self.source.below(3) {
                    0 => {
                        let bad = [0, 1, 7, 8, size - 1, size - 8, size + 8, 4096, 4097, usize::MAX];
                        p.cast::<usize>().write(bad[self.source.below(bad.len())]);
                    }
                    1 => p.cast::<u8>().add(size + self.source.below(4096 - size)).write(1),
                    _ => {
                        for _ in 0..1 + self.source.below(8) {
                            let byte = self.source.word() as u8;
                            p.cast::<u8>().add(8 + self.source.below(size - 8)).write(byte);
                        }
                    }
                }
            }
            if let Some(piece) = self.pieces.last_mut() {
                piece.before = std::slice::from_raw_parts(piece.at, 4096).to_vec();
            }
        }
        p
    }

    /// Whether the call can be made: all that is pointed to exists.
    pub fn ready(&self) -> bool {
        !self.impossible
    }

    /// The last before the call.
    pub fn begin(&mut self) {
        self.called = true;
        // Hosts that flush subnormals; memcheck knows of no such state.
        let flush = self.source.below(4) == 0 && std::env::var_os("EVENKEEL_ATTACK_NO_FLUSH").is_none();
        self.mxcsr = if flush { 0x9FC0 } else { 0x1F80 };
        set_float_state(self.mxcsr);
        self.allocations = super::allocations();
    }

    /// Judges the call.
    pub fn finish(&mut self, status: i32) {
        self.allocated = super::allocations() - self.allocations;
        let state = float_state();
        set_float_state(0x1F80);
        self.status = status;
        let name = self.name;
        assert_eq!(state & !0x3F, self.mxcsr & !0x3F, "{name}: the floating-point state");
        assert!((0..=8).contains(&status) && status != 7, "{name}: status {status}: {}", message());
        if status != 0 {
            let text = message();
            assert!(
                text.starts_with(&format!("{name}: ")) && text.len() > name.len() + 8,
                "{name}: {status}: {text:?}"
            );
            assert!(self.broken || may_refuse(name, status), "{name}: valid arguments, but {status}: {text}");
        }
        for piece in &self.pieces {
            // SAFETY: the piece's own memory.
            let now = unsafe { std::slice::from_raw_parts(piece.at, piece.bytes) };
            // What has not converged is written as far as it came.
            if !matches!(status, 0 | 8) || (piece.kind == Kind::Input && !piece.shared) {
                assert!(now == piece.before, "{name}: status {status}, but {} was written", piece.name);
            }
            assert!(Arena::whole(piece.at, piece.bytes, piece.shift), "{name}: written beside {}", piece.name);
        }
    }
}

/// Errors that depend on more than the generator keeps track of.
fn may_refuse(name: &str, status: i32) -> bool {
    match name {
        // Not every derivative is a function of the output.
        _ if name.contains("from_output") => status == 5,
        // Iterations end before they converge.
        "ek_spectral_norm_f32" | "ek_spectral_radius_f32" | "ek_jacobian_norm_f32" => status == 8,
        // No variance of one value.
        "ek_batch_norm_forward_train_f32" => status == 3,
        _ => false,
    }
}

fn message() -> String {
    // SAFETY: a C string that lives until this thread's next error.
    unsafe { CStr::from_ptr(ek_last_error()) }.to_string_lossy().into_owned()
}

/// A multiple of a dimension, which may be huge.
pub fn times(factor: usize, n: usize) -> usize {
    factor.saturating_mul(n)
}

/// Elements from the first to the last of a matrix.
fn extent(rows: usize, cols: usize, ld: usize) -> Option<usize> {
    if rows == 0 || cols == 0 { Some(0) } else { (rows - 1).checked_mul(ld)?.checked_add(cols) }
}

#[cfg(target_arch = "x86_64")]
fn float_state() -> u32 {
    let mut state = 0u32;
    // SAFETY: stores the register to a variable of ours.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack)) };
    state
}
#[cfg(target_arch = "x86_64")]
fn set_float_state(state: u32) {
    // SAFETY: a valid state; no Rust code that computes runs under it but the library.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &state, options(nostack)) };
}
#[cfg(not(target_arch = "x86_64"))]
fn float_state() -> u32 {
    0x1F80
}
#[cfg(not(target_arch = "x86_64"))]
fn set_float_state(_: u32) {}
