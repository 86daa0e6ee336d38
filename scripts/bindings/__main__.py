"""Makes what is generated from include/evenkeel.h and shapes.txt: the Python functions and the calls of tests/attack.

    python3 scripts/bindings            writes the files
    python3 scripts/bindings --check    fails where a committed file differs
"""

import sys

from attack import attack
from header import ROOT, Header
from python import Writer


def main():
    header = Header()
    # Functions without tensors, which the bindings hold in other ways.
    bare = {"version", "version_string", "last_error", "status_string", "isa_name"}
    for f in header.functions:
        if not f.known and f.name not in bare and not f.name.endswith("_init") and not f.name.startswith("context_"):
            sys.exit(f"scripts/bindings/shapes.txt needs a line for ek_{f.name}")
    files = {"python/evenkeel/_functions.py": Writer(header).write(), "tests/attack/calls.rs": attack(header)}
    for name, text in files.items():
        path = ROOT / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                sys.exit(f"{name} is not what include/evenkeel.h and shapes.txt make; run python3 scripts/bindings")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


main()
