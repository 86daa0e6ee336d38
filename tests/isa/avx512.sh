#!/bin/bash
# avx512.sh [--emulate] [FILTER...]: the test suite on AVX-512: natively where the CPU has it, else, or with --emulate,
# on a Skylake-X in Bochs.
. "$(dirname "$0")/common.sh"
native_or_bochs avx512f corei7_skylake_x "avx512, scalar" "$@"
