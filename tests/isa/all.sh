#!/bin/bash
# all.sh [--record] [NAME[:FILTER,...]...]: the test suite on the instruction sets sse2, wasm, neon, avx2, avx512, or on those
# named and of those the tests that the filters choose, one after the other; with --record each run that passed is entered into
# docs/instruction_sets.md. Without names it runs all of the suite but on avx2, whose machines run it with cargo test: of that
# the vectors and the functions on them, in Bochs. That is eleven minutes of a machine of two cores with AVX-512, and an hour and a
# half of one without, most of it in Bochs; `all.sh --record avx512:norm::,norm_` is a part of it.
. "$(dirname "$0")/common.sh"
record=no
if [ "${1:-}" = --record ]; then
  record=yes
  shift
fi
[ $# -gt 0 ] || set -- sse2 wasm neon avx2:simd::,vecmath:: avx512
mkdir -p "$tools"
export BOCHS_TIMEOUT=${BOCHS_TIMEOUT:-7200}
page=docs/instruction_sets.md
machine="$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores"
commit=$(git describe --always --dirty --exclude '*')
for part; do
  name=${part%%:*}
  filters=()
  [ "$name" = "$part" ] || IFS=, read -ra filters <<< "${part#*:}"
  log=$tools/$name.log
  rm -f "$log"
  say "== $part"
  EVENKEEL_ISA_LOG=$log "$here/$name.sh" "${filters[@]}"
  [ $record = no ] || python3 "$here/record.py" "$page" "$(date -u +%F), commit $commit, $machine" "$name=$log"
done
