#!/bin/bash
# wheel.sh: builds the wheel, installs it into an empty environment, and runs the tests of the package there.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pytest "maturin>=1.7,<1.17" cffi
"$work/venv/bin/maturin" build --release --interpreter "$work/venv/bin/python" --out "$work/wheels"
"$work/venv/bin/pip" uninstall --quiet --yes cffi maturin
"$work/venv/bin/pip" install --quiet "$work"/wheels/*.whl
mkdir "$work/python"
cp README.md "$work"
cp -r python/tests python/README.md "$work/python"
env -u EVENKEEL_LIBRARY -u PYTHONPATH "$work/venv/bin/python" -m pytest -q -p no:cacheprovider "$work/python/tests"
