#!/bin/bash
# Makes the C reference from the header with Doxygen: target/reference/html/index.html.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v doxygen > /dev/null || { echo "reference.sh: doxygen is missing (apt install doxygen)" >&2; exit 1; }
mkdir -p target/reference
doxygen docs/Doxyfile
echo "target/reference/html/index.html"
