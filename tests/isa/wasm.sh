#!/bin/bash
# wasm.sh [FILTER...]: the test suite on WebAssembly with simd128, as a WASI program in node. It has no threads and no
# panics that are caught: the first test that fails ends the run.
. "$(dirname "$0")/common.sh"
target=wasm32-wasip1
need node:nodejs
[ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || rustup target add "$target" ||
  die "needs Rust's standard library for $target"
# Node 20 may fall over a collection while a program's memory grows, unless it marks in one go.
export CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings --no-incremental-marking --no-concurrent-marking $here/wasi.mjs"
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=+simd128"
# Nothing is shared with the native build, so build fast.
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cargo_args=(--target "$target" --no-default-features)
test_threads=1
run_suite "portable, scalar" "$@"
