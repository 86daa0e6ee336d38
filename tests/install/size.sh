#!/bin/bash
# The size of the shared library as it is installed, stripped, in bytes; fails beyond 3 MB.
#
#     cargo rustc --profile dist --lib --crate-type staticlib && tests/install/size.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

limit=3000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/install.sh --from "${CARGO_TARGET_DIR:-target}/dist" --shared-only "$work/prefix"
size=$(stat -L -c %s "$work/prefix/lib/libevenkeel.so")
echo "libevenkeel.so: $size bytes, at most $limit"
[ "$size" -le "$limit" ]
