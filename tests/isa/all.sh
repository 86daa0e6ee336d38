#!/bin/bash
# all.sh [NAME...]: the test suite, every family, on the instruction sets sse2, wasm, neon, avx2, avx512 or those named, one
# after the other, which takes a machine of two cores about an hour; with --record it writes what came out into
# docs/instruction_sets.md.
. "$(dirname "$0")/common.sh"
record=no
if [ "${1:-}" = --record ]; then
  record=yes
  shift
fi
[ $# -gt 0 ] || set -- sse2 wasm neon avx2 avx512
mkdir -p "$tools"
export BOCHS_TIMEOUT=${BOCHS_TIMEOUT:-7200}
columns=()
for name; do
  log=$tools/$name.log
  rm -f "$log"
  say "== $name"
  EVENKEEL_ISA_LOG=$log "$here/$name.sh"
  columns+=("$name=$log")
done
table=$(python3 "$here/table.py" "${columns[@]}")
printf '%s\n' "$table"
if [ $record = yes ]; then
  page=docs/instruction_sets.md
  {
    sed '/^<!-- table -->$/q' "$page"
    printf '\n%s, commit %s, %s:\n\n%s\n' "$(date -u +%F)" "$(git rev-parse --short HEAD)" \
      "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores" "$table"
  } > "$page.new"
  mv "$page.new" "$page"
fi
