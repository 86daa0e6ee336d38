//! Which CPU a thread is on. A scheduler may wake a worker on its caller's, though others are idle: where each virtual CPU has
//! caches of its own, it does not look for them.

/// This thread's CPU, where that is known.
#[cfg(target_os = "linux")]
pub(super) fn current() -> Option<usize> {
    // SAFETY: it takes nothing.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Moves this thread to another of its CPUs, if there is one; it may come back later.
#[cfg(target_os = "linux")]
pub(super) fn leave() {
    let size = size_of::<libc::cpu_set_t>();
    let Some(cpu) = current().filter(|&cpu| cpu < 8 * size) else { return };
    // SAFETY: a set is bits alone, of which none need be set; it is as large as is said, and holds the CPU (checked).
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size, &mut all) != 0 {
            return;
        }
        let mut others = all;
        libc::CPU_CLR(cpu, &mut others);
        // It fails where there is no other.
        if libc::sched_setaffinity(0, size, &others) == 0 {
            libc::sched_setaffinity(0, size, &all);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leave() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The CPUs that this thread may run on, as the kernel prints them.
    fn allowed() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap().to_owned()
    }

    #[test]
    fn a_thread_that_leaves_its_cpu_may_come_back() {
        let (before, from) = (allowed(), current().unwrap());
        let several = before.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum::<u32>() > 1;
        // Somebody may bring it back between the two questions, but not each time.
        let moved = (0..100).any(|_| {
            let from = current();
            leave();
            current() != from
        });
        assert_eq!(moved, several, "on CPU {from} of {before}");
        assert_eq!(allowed(), before);
    }
}
