#!/bin/bash
# sse2.sh [FILTER...]: the test suite where the CPU has neither AVX nor FMA, so that the portable vectors run, and any
# instruction that leaked out of an AVX2 or AVX-512 entry is an illegal one: a processor of 2008, in qemu. Then on a CPU
# with AVX2 but no FMA, where AVX2 must not be chosen either.
. "$(dirname "$0")/common.sh"
need "${qemu_x86[@]}"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu Nehalem"
run_suite "portable, scalar" "${beyond_qemu[@]}" "$@"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64 -cpu max,-fma"
unset EVENKEEL_ISA_LOG
run_suite "portable, scalar" simd::
