"""The examples of the documentation run."""

import doctest
import re
from pathlib import Path

import evenkeel
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["README.md", "python/README.md"])
def test_examples_run(name):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})


def test_the_package_s_own_example():
    assert doctest.testmod(evenkeel).attempted > 0
    assert doctest.testmod(evenkeel).failed == 0
