//! Functions without tensors: contexts, options, names.

use super::generator::Source;
use std::ffi::{CStr, c_char, c_void};

unsafe extern "C" {
    fn ek_version() -> u32;
    fn ek_version_string() -> *const c_char;
    fn ek_last_error() -> *const c_char;
    fn ek_status_string(status: i32) -> *const c_char;
    fn ek_isa_name(isa: i32) -> *const c_char;
    fn ek_context_options_init(options: *mut c_void);
    fn ek_context_create(options: *const c_void, out: *mut *mut c_void) -> i32;
    fn ek_context_destroy(ctx: *mut c_void);
    fn ek_context_num_threads(ctx: *const c_void) -> usize;
    fn ek_context_isa(ctx: *const c_void) -> i32;
}

/// Declares the functions that fill a struct of the caller's, and lists them.
macro_rules! fills {
    ($($name:ident)*) => {
        unsafe extern "C" {
            $(fn $name(out: *mut c_void);)*
        }
        const FILLS: &[(&str, unsafe extern "C" fn(*mut c_void))] = &[$((stringify!($name), $name)),*];
    };
}

fills! {
    ek_clip_options_init ek_step_report_init ek_sgd_options_init ek_adam_options_init ek_rmsprop_options_init
    ek_adagrad_options_init ek_lion_options_init ek_loss_scaler_init ek_schedule_init ek_tensor_stats_init
    ek_flow_report_init
}

/// Every function without tensors, called by its name; a context is made and destroyed without computing.
pub fn every(mut around: impl FnMut(&'static str, &mut (dyn FnMut() + Send))) {
    // SAFETY: 4 KiB, more than any struct; names are static; each context is destroyed once, by its only user.
    unsafe {
        for (name, fill) in FILLS.iter().copied().chain([("ek_context_options_init", ek_context_options_init as _)]) {
            // Not on the stack that is measured.
            let mut room = vec![0u64; 512];
            around(name, &mut || fill(room.as_mut_ptr().cast()));
        }
        around("ek_version", &mut || assert!(ek_version() > 0));
        around("ek_version_string", &mut || assert!(!ek_version_string().is_null()));
        around("ek_status_string", &mut || assert!(!ek_status_string(3).is_null()));
        around("ek_isa_name", &mut || assert!(!ek_isa_name(2).is_null()));
        around("ek_last_error", &mut || assert!(!ek_last_error().is_null()));
        around("ek_context_num_threads", &mut || assert!(ek_context_num_threads(std::ptr::null()) > 0));
        around("ek_context_isa", &mut || assert!(ek_context_isa(std::ptr::null()) > 0));
        around("ek_context_create", &mut || {
            let mut out = std::ptr::null_mut();
            assert_eq!(ek_context_create(std::ptr::null(), &mut out), 0);
            ek_context_destroy(out);
        });
    }
}

/// The bytes of ek_context_options, and where its fields lie.
const SIZE: usize = 48;
const NUM_THREADS: usize = 8;
const ISA: usize = 16;
const FLAGS: [usize; 2] = [40, 41];

#[test]
fn names_exist_for_every_number() {
    let mut source = Source::new(7, &[]);
    for i in 0..2000 {
        let number = if i < 300 { i - 100 } else { source.word() as i32 };
        // SAFETY: static strings, whatever the number.
        let (status, isa) = unsafe { (CStr::from_ptr(ek_status_string(number)), CStr::from_ptr(ek_isa_name(number))) };
        assert_eq!(status.to_bytes().starts_with(b"EK_STATUS_"), (0..9).contains(&number), "{number}");
        assert_eq!(isa.to_bytes() != b"unknown", (0..6).contains(&number), "{number}");
    }
    // SAFETY: no arguments.
    unsafe {
        assert_eq!(CStr::from_ptr(ek_version_string()).to_str(), Ok(env!("CARGO_PKG_VERSION")));
        let parts: Vec<u32> =
            env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().expect("a number")).collect();
        assert_eq!(ek_version(), parts[0] << 16 | parts[1] << 8 | parts[2]);
    }
}

#[test]
fn contexts_from_any_options() {
    let mut source = Source::new(8, &[]);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut memory = [0u64; 1024];
        let options = memory.as_mut_ptr().cast::<u8>();
        let (mut out, mark) = (std::ptr::dangling_mut::<c_void>(), std::ptr::dangling_mut::<c_void>());
        // SAFETY: 8 KiB, more than any size that is believed; fields lie where the header says.
        let status = unsafe {
            ek_context_options_init(options.cast());
            assert_eq!(options.cast::<usize>().read(), SIZE);
            let mut strikes = source.word() % 4;
            while strikes > 0 {
                strikes -= 1;
                match source.word() % 5 {
                    0 => options
                        .cast::<usize>()
                        .write([0, 1, 8, 12, 40, 47, 49, 64, 4096, 4097, usize::MAX][source.below(11)]),
                    1 => {
                        options.add(NUM_THREADS).cast::<usize>().write([1, 2, 4096, 4097, usize::MAX][source.below(5)])
                    }
                    2 => options.add(ISA).cast::<i32>().write(source.word() as i32 % 9),
                    3 => options.add(FLAGS[source.below(2)]).write(source.word() as u8 % 4),
                    _ => options.add(SIZE + source.below(4096 - SIZE)).write(source.word() as u8),
                }
            }
            let to = if source.below(50) == 0 { std::ptr::null_mut() } else { &raw mut out };
            let from = if source.below(50) == 0 { std::ptr::null() } else { options.cast_const().cast::<c_void>() };
            ek_context_create(from, to)
        };
        if status == 0 {
            made += 1;
            // SAFETY: a context, used by nobody else, destroyed once.
            unsafe {
                assert!((1..=4096).contains(&ek_context_num_threads(out)));
                assert!((1..=5).contains(&ek_context_isa(out)));
                ek_context_destroy(out);
            }
        } else {
            refused += 1;
            assert!(status < 7 && out == mark, "status {status}, or the context was written");
            // SAFETY: a C string of this thread.
            let message = unsafe { CStr::from_ptr(ek_last_error()) }.to_string_lossy();
            assert!(message.starts_with("ek_context_create: ") && message.len() > 25, "{message}");
        }
    }
    assert!(made > 2000 && refused > 2000, "{made} made, {refused} refused");
    // SAFETY: NULL is fine for all of them.
    unsafe {
        ek_context_options_init(std::ptr::null_mut());
        ek_context_destroy(std::ptr::null_mut());
        assert!(ek_context_num_threads(std::ptr::null()) >= 1);
        assert!(ek_context_isa(std::ptr::null()) >= 1);
    }
}
