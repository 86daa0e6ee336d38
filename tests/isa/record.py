"""record.py PAGE RUN NAME=LOG...: enters logs of run_suite into the table of PAGE, which follows its mark: modules of the suite
against instruction sets, tests that passed, seconds, and which run that was: RUN is its day, commit and machine. What the logs
do not have stays as it was. Fails where a log has a failure or no end. Filters should choose whole modules."""

import re
import sys

MARK = "<!-- table -->\n"


def read_log(path):
    """Of each module (tests that passed, seconds)."""
    modules, last, module, ended = {}, None, None, False
    for line in open(path, encoding="utf-8", errors="replace"):
        stamp, _, text = line.rstrip("\r\n").partition(" ")
        if match := re.match(r"test (\w+)::\S+ \.\.\. (.*)", text):
            module, text = match[1], match[2]
        elif match := re.match(r"test result: (\w+)", text):
            assert match[1] == "ok", f"{path}: {text}"
            ended = True
        # What a test itself prints comes before its outcome.
        if module and (match := re.match(r"(ok|ignored|FAILED)\b", text)):
            assert match[1] != "FAILED", f"{path}: {line}"
            passed, seconds = modules.get(module, (0, 0.0))
            modules[module] = (passed + (match[1] == "ok"), seconds + float(stamp) - last)
            last, module = float(stamp), None
        elif text.startswith("running "):
            last, ended = float(stamp), False
    assert ended, f"{path} has no end"
    return modules


def read_table(text):
    """{(module, name): (passed, seconds, run)}, and the names in their order."""
    runs = dict(re.findall(r"^(\d+)\. (.+)$", text, re.M))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    names, cells = rows[0][1:] if rows else [], {}
    for module, *row in rows[2:]:
        for name, cell in zip(names, row):
            if match := re.fullmatch(r"(\d+), (\d+) s \[(\d+)\]", cell):
                cells[module, name] = (int(match[1]), float(match[2]), runs[match[3]])
    return cells, names


def table(cells, names):
    runs = list(dict.fromkeys(run for name in names for (_, of), (_, _, run) in cells.items() if of == name))
    rows = [["module", *names], ["---"] * (len(names) + 1)]
    for module in sorted({module for module, _ in cells}):
        found = [cells.get((module, name)) for name in names]
        rows.append([module, *(f"{c[0]}, {c[1]:.0f} s [{runs.index(c[2]) + 1}]" if c else "–" for c in found)])
    sums = [[c for (_, of), c in cells.items() if of == name] for name in names]
    rows.append(["**all**", *(f"**{sum(c[0] for c in column)}, {sum(c[1] for c in column):.0f} s**" for column in sums)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{i}. {run}" for i, run in enumerate(runs, 1)), ""])


page, run, *logs = sys.argv[1:]
head, mark, tail = open(page, encoding="utf-8").read().partition(MARK)
assert mark, f"{page} has no mark"
cells, names = read_table(tail)
for name, path in (argument.split("=", 1) for argument in logs):
    names += [name] if name not in names else []
    for module, (passed, seconds) in read_log(path).items():
        if passed:
            cells[module, name] = (passed, seconds, run)
with open(page, "w", encoding="utf-8") as out:
    out.write(f"{head}{mark}\n{table(cells, names)}")
