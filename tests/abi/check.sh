#!/bin/bash
# check.sh [--bless]: compares the header's ABI with that of the first release of this ABI version, evenkeel.abi. Added
# functions are fine; a function or a struct that changed or went is a failure. --bless writes the baseline anew.
#
# The ABI is read from a library of empty functions with the header's prototypes: it has every type in its debugging
# information, whatever compiler made the real one. That the real one exports the same functions is tested beside it.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
  echo '#include "evenkeel.h"'
  awk 'BEGIN { RS = ";" } /EK_API[ \n]/ { sub(/.*EK_API/, "EK_API"); gsub(/\n *\/\/[^\n]*/, ""); print $0 " { for (;;); }" }' \
    <(sed '1,/^extern "C"/d; s,^//.*,,' include/evenkeel.h)
} > "$work/stub.c"
${CC:-cc} -std=c99 -g -O0 -shared -fPIC -w -Iinclude "$work/stub.c" -o "$work/libevenkeel.so"

baseline=tests/abi/evenkeel.abi
if [ "${1:-}" = --bless ]; then
  abidw --no-corpus-path --no-comp-dir-path --no-show-locs --no-architecture --out-file "$baseline" "$work/libevenkeel.so"
  exit
fi
# 4: the ABI changed, 8: incompatibly.
abidiff --no-added-syms --no-architecture "$baseline" "$work/libevenkeel.so"
