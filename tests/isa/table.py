"""table.py NAME=LOG...: a Markdown table of the suite's families against instruction sets, from logs of run_suite: tests that
passed and seconds. Fails where a log has a failure or no end."""

import re
import sys

columns, families = [], {}
for argument in sys.argv[1:]:
    name, path = argument.split("=", 1)
    columns.append(name)
    last, family, ended = None, None, False
    for line in open(path, encoding="utf-8", errors="replace"):
        stamp, _, text = line.rstrip("\r\n").partition(" ")
        if match := re.match(r"test ([a-z0-9]+)(_\w+)?::\S+ \.\.\. (.*)", text):
            family, text = match[1], match[3]
        elif match := re.match(r"test result: (\w+)", text):
            assert match[1] == "ok", f"{path}: {text}"
            ended = True
        # What a test itself prints comes before its outcome.
        if family and (match := re.match(r"(ok|ignored|FAILED)\b", text)):
            assert match[1] != "FAILED", f"{path}: {line}"
            passed, seconds = families.setdefault(family, {}).get(name, (0, 0.0))
            families[family][name] = (passed + (match[1] == "ok"), seconds + float(stamp) - last)
            last, family = float(stamp), None
        elif text.startswith("running "):
            last = float(stamp)
    assert ended, f"{path} has no end"

print("| family |", " | ".join(columns), "|")
print("|---|" + "---|" * len(columns))
totals = {name: [0, 0.0] for name in columns}
for family in sorted(families):
    cells = []
    for name in columns:
        passed, seconds = families[family].get(name, (0, 0.0))
        totals[name][0] += passed
        totals[name][1] += seconds
        cells.append(f"{passed}, {seconds:.0f} s" if passed else "–")
    print(f"| {family} |", " | ".join(cells), "|")
print("| **all** |", " | ".join(f"**{p}, {s:.0f} s**" for p, s in totals.values()), "|")
