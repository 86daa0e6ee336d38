//! Memory that notices: each piece ends where pages that may not be touched begin, and a pattern lies before it.

use std::ptr;

/// A piece of a call's memory is never larger.
pub const LARGEST: usize = 1 << 20;
const PAGE: usize = 4096;
const SLOTS: usize = 96;
/// Bytes before a piece that hold the pattern.
const BEFORE: usize = 64;
const PATTERN: u8 = 0xA5;

/// A place for as many pieces as a call needs.
pub struct Arena {
    base: *mut u8,
    used: usize,
}

impl Arena {
    pub fn new() -> Arena {
        let stride = LARGEST + 2 * PAGE;
        // SAFETY: a new private mapping; nothing is replaced.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SLOTS * stride,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert!(base != libc::MAP_FAILED, "no address space");
        let base = base.cast::<u8>();
        for slot in 0..SLOTS {
            // SAFETY: within the mapping; a page before and after each slot stays untouchable.
            let status = unsafe {
                libc::mprotect(base.add(slot * stride + PAGE).cast(), LARGEST, libc::PROT_READ | libc::PROT_WRITE)
            };
            assert_eq!(status, 0, "mprotect");
        }
        Arena { base, used: 0 }
    }

    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// The start of `bytes` bytes, `shift` bytes further to the front than flush with the end. None where they are too
    /// many.
    pub fn take(&mut self, bytes: usize, shift: usize) -> Option<*mut u8> {
        if bytes + shift + BEFORE > LARGEST || self.used == SLOTS {
            return None;
        }
        let end = self.used * (LARGEST + 2 * PAGE) + PAGE + LARGEST;
        self.used += 1;
        // SAFETY: within the slot, as just checked.
        unsafe {
            let p = self.base.add(end - shift - bytes);
            ptr::write_bytes(p.sub(BEFORE), PATTERN, BEFORE);
            ptr::write_bytes(p.add(bytes), PATTERN, shift);
            Some(p)
        }
    }

    /// Whether the pattern around a piece that `take` returned is whole.
    pub fn whole(p: *const u8, bytes: usize, shift: usize) -> bool {
        // SAFETY: within the piece's slot (take).
        let (before, after) = unsafe {
            (std::slice::from_raw_parts(p.sub(BEFORE), BEFORE), std::slice::from_raw_parts(p.add(bytes), shift))
        };
        before.iter().chain(after).all(|&b| b == PATTERN)
    }
}
