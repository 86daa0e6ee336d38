//! The floating-point state of a thread while it works for a call: round to nearest, subnormals as the context says.

/// Sets the state of this thread; the old one returns when it is dropped.
pub(crate) struct FpEnv {
    restore: Option<arch::State>,
}

impl FpEnv {
    /// Costs a few cycles when the state is already right, as it nearly always is.
    #[inline]
    pub(crate) fn enter(flush_subnormals: bool) -> FpEnv {
        let old = arch::read();
        let wanted = arch::wanted(old, flush_subnormals);
        if old == wanted {
            return FpEnv { restore: None };
        }
        arch::write(wanted);
        FpEnv { restore: Some(old) }
    }
}

impl Drop for FpEnv {
    #[inline]
    fn drop(&mut self) {
        if let Some(old) = self.restore {
            arch::write(old);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use core::arch::asm;

    pub(super) type State = u32;

    const FLUSH: u32 = 1 << 15 | 1 << 6; // FTZ, DAZ
    const MASKS: u32 = 0x1f80; // every exception masked
    const FLAGS: u32 = 0x3f; // sticky flags are the host's: they may grow, nothing here clears them

    /// Round to nearest, exceptions masked, subnormals as asked.
    #[inline]
    pub(super) fn wanted(old: State, flush: bool) -> State {
        (old & FLAGS) | MASKS | if flush { FLUSH } else { 0 }
    }

    #[inline]
    pub(super) fn read() -> State {
        let mut state = 0u32;
        // SAFETY: stores the 4 bytes of MXCSR into `state`.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut state, options(nostack, preserves_flags)) };
        state
    }

    #[inline]
    pub(super) fn write(state: State) {
        // SAFETY: every bit set in `state` came from MXCSR itself or is one that SSE2 machines define.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &state, options(nostack, preserves_flags, readonly)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use core::arch::asm;

    pub(super) type State = u64;

    const FLUSH: u64 = 1 << 24; // FZ
    const CONTROL: u64 = 1 << 26 | 1 << 25 | 1 << 24 | 0b11 << 22 | 1 << 19 | 0x9f00; // AHP DN FZ RMode FZ16 traps

    /// Round to nearest, no traps, NaNs kept, subnormals as asked.
    #[inline]
    pub(super) fn wanted(old: State, flush: bool) -> State {
        (old & !CONTROL) | if flush { FLUSH } else { 0 }
    }

    #[inline]
    pub(super) fn read() -> State {
        let state: u64;
        // SAFETY: reads FPCR.
        unsafe { asm!("mrs {}, fpcr", out(reg) state, options(nomem, nostack, preserves_flags)) };
        state
    }

    #[inline]
    pub(super) fn write(state: State) {
        // SAFETY: writes FPCR bits that the architecture defines.
        unsafe { asm!("msr fpcr, {}", in(reg) state, options(nostack, preserves_flags)) };
    }
}

/// Elsewhere (WebAssembly) there is no such state.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) type State = ();
    pub(super) fn wanted(_: State, _: bool) -> State {}
    #[inline]
    pub(super) fn read() -> State {}
    pub(super) fn write(_: State) {}
}
