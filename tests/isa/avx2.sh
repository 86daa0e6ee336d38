#!/bin/bash
# avx2.sh [FILTER...]: the test suite on a CPU that has AVX2 and FMA but no AVX-512: a Haswell in Bochs. (qemu 7.2 reads
# masked lanes of vmaskmovps, so that the guard-page tests fail there.)
. "$(dirname "$0")/common.sh"
native_or_bochs none corei7_haswell_4770 "avx2, scalar" --emulate "$@"
