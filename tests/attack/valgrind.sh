#!/bin/bash
# valgrind.sh [CALLS]: a sample of the attack under memcheck, which also sees reads of memory that was never written.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(cargo test --release --test attack --no-run --message-format=json |
  sed -n 's/.*"name":"attack".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
EVENKEEL_ATTACK_NO_FLUSH=1 EVENKEEL_ATTACK_CALLS=${1:-3000} valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite \
  "$program" --nocapture --test-threads 1 random_calls
