# shellcheck shell=bash
# Sourced by the scripts beside it: the repository's root, its folder for tools, packages, the run itself.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/isa
tools=$root/target/isa
cd "$root"

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

apt() {
  local try
  for try in 1 2 3 4; do
    apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@" > /dev/null && return
    say "apt-get $1 failed (try $try)"
    sleep $((5 * try))
  done
  return 1
}

# need TOOL:PACKAGE...: installs with apt the packages whose tool, a command or a file (an absolute path), is not there.
need() {
  local pair missing=() packages=()
  for pair; do
    # Files by absolute paths only: this folder has one called cmake.
    command -v "${pair%:*}" > /dev/null || [[ $pair = /* && -e ${pair%:*} ]] || { missing+=("${pair%:*}") packages+=("${pair#*:}"); }
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "missing: ${missing[*]}; Debian's packages: ${packages[*]}"
  command -v apt-get > /dev/null || die "there is no apt-get to install them with"
  [ "$(id -u)" = 0 ] || die "only root can install them"
  apt update
  DEBIAN_FRONTEND=noninteractive apt install -y --no-install-recommends "${packages[@]}"
}

# What each way of running needs.
qemu_x86=(qemu-x86_64:qemu-user)
neon=(aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross
  qemu-aarch64:qemu-user)
bochs=(bochs-bin:bochs /usr/share/bochs/BIOS-bochs-latest:bochsbios /usr/lib/ISOLINUX/isolinux.bin:isolinux
  /usr/lib/syslinux/modules/bios/ldlinux.c32:syslinux-common genisoimage:genisoimage cpio:cpio
  busybox:busybox-static)

# stamped FILE: a filter that also writes each line, after the second that it came in, to FILE.
stamped() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line"
    printf '%s %s\n' "$EPOCHREALTIME" "$line" >> "$1"
  done
}

# Two tests are beyond qemu's user mode: a child process that is started anew runs on the real CPU, and a forked one gets no
# threads.
beyond_qemu=(--skip context::a_forked_child_computes_too --skip context::the_environment_chooses)

# run_suite EXPECTED [FILTER...]: the test suite, quick, in release; fails unless the instruction sets under test
# were exactly EXPECTED, as tests/suite/common.rs prints them. Its stamped output goes to EVENKEEL_ISA_LOG, if that is set.
cargo_args=()
test_threads=$(nproc)
run_suite() {
  local expected=$1 log
  shift
  log=${EVENKEEL_ISA_LOG:-$(mktemp)}
  # shellcheck disable=SC2064
  [ -n "${EVENKEEL_ISA_LOG:-}" ] || trap "rm -f '$log'" EXIT
  export EVENKEEL_QUICK=1 EVENKEEL_REQUIRE_ISA=$expected
  cargo test --release --test suite "${cargo_args[@]}" -- --test-threads "$test_threads" "$@" 2>&1 |
    sed -u 's/\r//g' | stamped "$log"
  grep -q "instruction sets under test: $expected\$" "$log" ||
    die "the instruction sets under test were not: $expected"
}

# native_or_bochs CPU_FLAG BOCHS_CPU EXPECTED [--emulate] [FILTER...]: natively where the CPU has the flag, else, or with
# --emulate, in Bochs.
native_or_bochs() {
  local flag=$1 cpu=$2 expected=$3 emulate=no
  shift 3
  if [ "${1:-}" = --emulate ]; then
    emulate=yes
    shift
  fi
  if [ $emulate = no ] && grep -qw "$flag" /proc/cpuinfo; then
    say "${0##*/}: natively"
  else
    say "${0##*/}: in Bochs"
    need "${bochs[@]}"
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$here/bochs.sh BOCHS_CPU=$cpu
    test_threads=1
  fi
  run_suite "$expected" "$@"
}
