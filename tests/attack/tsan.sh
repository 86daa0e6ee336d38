#!/bin/bash
# tsan.sh [TIMES]: tests/c_api/stress.c, many threads that make, share and destroy contexts, under ThreadSanitizer, three
# times unless told otherwise. The library and Rust's standard library are instrumented too: it needs a nightly Rust with its
# source (rustup component add rust-src --toolchain nightly) and gcc.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=x86_64-unknown-linux-gnu
folder=target/tsan
runtime=$(rustc +nightly --print sysroot)/lib/rustlib/$target/lib/librustc-nightly_rt.tsan.a

RUSTFLAGS=-Zsanitizer=thread CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 \
  CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
  cargo +nightly rustc --release -Zbuild-std --target $target --target-dir $folder --lib --crate-type staticlib

# build NAME SOURCE: gcc instruments the C, its runtime is rustc's.
build() {
  gcc -fsanitize=thread -g -O1 -Iinclude -Itests/c_api -c "$2" -o "$folder/$1.o"
  gcc "$folder/$1.o" $folder/$target/release/libevenkeel.a -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive \
    -lstdc++ -lpthread -ldl -lm -lrt -lresolv -lgcc_s -o "$folder/$1"
}

# A race that must be found: without it silence would mean nothing.
cat > $folder/race.c << 'C'
#include <pthread.h>
static int count;
static void *add(void *arg) { for (int i = 0; i < 100000; i++) count++; return arg; }
int main(void)
{
    pthread_t other;
    pthread_create(&other, 0, add, 0);
    add(0);
    return pthread_join(other, 0);
}
C
build race $folder/race.c
# Address space that the sanitizer can map.
quiet() { setarch -R "$@"; }
if quiet $folder/race > /dev/null 2>&1; then
  echo "tsan.sh: a race was not found" >&2
  exit 1
fi

build stress tests/c_api/stress.c
for ((i = 0; i < ${1:-3}; i++)); do
  TSAN_OPTIONS="halt_on_error=0 exitcode=66 history_size=4" quiet $folder/stress
done
echo "no race"
