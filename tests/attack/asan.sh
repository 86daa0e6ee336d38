#!/bin/bash
# asan.sh [CALLS]: the attack, a million calls unless told otherwise, under AddressSanitizer (needs a nightly Rust). Leaks
# and every access outside of the library's own allocations and stack frames are failures.
set -euo pipefail
cd "$(dirname "$0")/../.."
export EVENKEEL_ATTACK_CALLS=${1:-1000000}
export RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_stack_use_after_return=1:strict_init_order=1
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
cargo +nightly test --release --no-default-features --features capi --target x86_64-unknown-linux-gnu \
  --target-dir target/asan --test attack -- --nocapture random_calls
