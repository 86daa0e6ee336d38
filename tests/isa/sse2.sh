#!/bin/bash
# sse2.sh [FILTER...]: the test suite where the CPU has neither AVX nor FMA, so that the portable vectors run, and any
# instruction that leaked out of an AVX2 or AVX-512 entry is an illegal one: a processor of 2008, in qemu. Then on a CPU
# with AVX2 but no FMA, where AVX2 must not be chosen either.
. "$(dirname "$0")/common.sh"
need "${qemu_x86[@]}"
# Two tests are beyond qemu's user mode: a child process that is started anew runs on the real CPU, and a forked one gets no
# threads.
[ $# -gt 0 ] || set -- --skip context::a_forked_child_computes_too --skip context::the_environment_chooses
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu Nehalem"
run_suite "portable, scalar" "$@"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu max,-fma"
unset EVENKEEL_ISA_LOG
run_suite "portable, scalar" simd::
