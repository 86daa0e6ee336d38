"""Reads include/evenkeel.h and shapes.txt: the functions, structs and constants, and the shapes of tensors."""

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Tensor:
    """A pointer to numbers, as shapes.txt describes it."""

    dims: list  # of (factor, name, starred)
    ld: str = ""
    optional: bool = False
    given: bool = False  # read and written, or the sizes come from it
    listed: bool = False  # `count` pointers


@dataclass
class Param:
    name: str
    type: str  # without const and stars: float, size_t, ek_activation, ek_clip_options
    pointers: int
    const: bool  # what is pointed to
    tensor: Tensor = None
    default: str = None


@dataclass
class Function:
    name: str  # without ek_
    returns: str
    params: list
    doc: str
    divides: list = field(default_factory=list)  # of (divisor, dividend)
    flags: set = field(default_factory=set)
    known: bool = False  # stands in shapes.txt


@dataclass
class Struct:
    name: str
    fields: list  # of (type, name, doc)
    doc: str


def doc_before(lines, i):
    """The // comment that ends above line i."""
    j = i
    while j > 0 and lines[j - 1].strip().startswith("//"):
        j -= 1
    return "\n".join(line.strip()[2:].removeprefix(" ") for line in lines[j:i])


def parameter(text):
    const = text.startswith("const ")
    text = text.removeprefix("const ")
    head, name = re.fullmatch(r"(.*?)(\w+)", text.strip()).groups()
    return Param(name, head.replace("*", "").replace("const", "").strip(), head.count("*"), const)


class Header:
    def __init__(self):
        text = (ROOT / "include/evenkeel.h").read_text()
        lines = text.splitlines()
        self.constants = {}
        self.aliases = {}
        self.structs = []
        self.functions = []
        for i, line in enumerate(lines):
            if m := re.fullmatch(r"#define (EK_\w+) (-?\d+)", line):
                self.constants[m[1]] = (int(m[2]), doc_before(lines, i))
            elif m := re.fullmatch(r"typedef (\w+) (ek_\w+);", line):
                self.aliases[m[2]] = m[1]
            elif line == "typedef struct {":
                self.structs.append(self.struct(lines, i))
        start = text.index('extern "C"')
        for m in re.finditer(r"^EK_API\s+([^;]+?)\s*\(([^;]*)\);", text[start:], re.M):
            head, name = re.fullmatch(r"(.*?)(\w+)", m[1].strip(), re.S).groups()
            line = text[: start + m.start()].count("\n")
            params = [] if m[2].strip() == "void" else [parameter(" ".join(p.split())) for p in m[2].split(",")]
            self.functions.append(
                Function(name.removeprefix("ek_"), " ".join(head.split()), params, doc_before(lines, line))
            )
        self.read_shapes()

    def struct(self, lines, start):
        fields = []
        for i in range(start + 1, len(lines)):
            if m := re.fullmatch(r"\} (\w+);", lines[i]):
                return Struct(m[1], fields, doc_before(lines, start))
            if m := re.fullmatch(r"\s+([\w ]+?)(\s\*)?\s?(\w+);", lines[i]):
                fields.append((m[1] + (" *" if m[2] else ""), m[3], doc_before(lines, i)))
        raise SystemExit("a struct without an end")

    def base(self, name):
        """The C type behind a typedef."""
        return self.aliases.get(name, name)

    def read_shapes(self):
        by_name = {f.name: f for f in self.functions}
        self.later = []  # lines about functions that are not there
        for line in (ROOT / "scripts/bindings/shapes.txt").read_text().splitlines():
            line = line.split("#")[0].strip()
            if not line:
                continue
            head, words = line.split(":", 1)
            m = re.fullmatch(r"(.*)\{(.*)\}(.*)", head)
            names = [m[1] + kind + m[3] for kind in m[2].split(",")] if m else [head]
            for name in names:
                if name not in by_name:
                    self.later.append(name)
                    continue
                self.describe(by_name[name], words.split())

    def describe(self, function, words):
        function.known = True
        params = {p.name: p for p in function.params}
        for word in words:
            if m := re.fullmatch(r"(\w+)([?&*]*)\[([^\];]*);?(\w*)\]", word):
                if m[1] not in params:
                    if m[1] in ("params_bf16", "params_f16"):
                        continue
                    raise SystemExit(f"shapes.txt: {function.name} has no parameter {m[1]}")
                dims = []
                for dim in filter(None, m[3].split(",")):
                    d = re.fullmatch(r"(?:(\d+)\*)?(\w+)(\*?)", dim)
                    dims.append((int(d[1] or 1), d[2], bool(d[3])))
                params[m[1]].tensor = Tensor(dims, m[4], "?" in m[2], "&" in m[2], "*" in m[2])
            elif m := re.fullmatch(r"(\w+)=(\S+)", word):
                if m[1] not in params:
                    raise SystemExit(f"shapes.txt: {function.name} has no parameter {m[1]}")
                params[m[1]].default = m[2]
            elif m := re.fullmatch(r"(\w+)\|(\w+)", word):
                function.divides.append((m[1], m[2]))
            elif m := re.fullmatch(r"(\w+)&", word):
                params[m[1]].tensor = Tensor([], given=True)
            else:
                function.flags.add(word)
        structs = {s.name for s in self.structs}
        for p in function.params:
            plain = p.type in structs or p.type == "ek_context" or p.name == "sizes"
            if p.pointers and p.tensor is None and not plain and "hand" not in function.flags:
                raise SystemExit(f"shapes.txt: {function.name} needs the shape of {p.name}")
