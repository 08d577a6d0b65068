"""Machine code kept on disk: used again, and made anew when a file that it was made from has changed."""

import subprocess
import sys
from pathlib import Path

import talkingavatar

OUTER = """
from talkingavatar.runtime.compiled import compiled
from mine.inner import inner

@compiled
def outer(x):
    return 10 * inner(x)
"""
INNER = """
from talkingavatar.runtime.compiled import compiled

@compiled
def inner(x):
    return x + {number}
"""
ASK = "from mine.outer import outer; print(outer(1.0), sum(outer.stats.cache_hits.values()))"


def asked(folder):
    done = subprocess.run([sys.executable, "-c", ASK], cwd=folder, capture_output=True, text=True, check=True)
    result, hits = done.stdout.split()
    return float(result), int(hits)


def test_a_change_of_what_a_function_calls_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(talkingavatar.__file__).parents[1]))
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "outer.py").write_text(OUTER)
    (package / "inner.py").write_text(INNER.format(number=1))
    assert asked(tmp_path) == (20.0, 0)
    assert asked(tmp_path) == (20.0, 1)
    (package / "inner.py").write_text(INNER.format(number=2))
    assert asked(tmp_path) == (30.0, 0)


LARGE = """
from talkingavatar.runtime.compiled import compiled

@compiled
def several_call_me(x):
    for i in range(9):
        {lines}
    return x

@compiled
def one(x):
    return several_call_me(x) + several_call_me(2 * x)
"""
CALLED = """
import re
from mine.large import one
one(1.0)
(assembly,) = one.inspect_asm().values()
(body,) = re.findall(r"^_ZN4mine5large3one\\S*:$(.*?)^.Lfunc_end", assembly, re.DOTALL | re.MULTILINE)
print("several_call_me" in body)
"""


def test_what_several_call_lies_in_each_of_them(tmp_path, monkeypatch):
    """However large: the process that compiles and those that find the code on disk run the same instructions."""
    monkeypatch.setenv("PYTHONPATH", str(Path(talkingavatar.__file__).parents[1]))
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    lines = "\n        ".join(f"x = x * {i} + 1 / (x + {i})" for i in range(1, 60))
    (package / "large.py").write_text(LARGE.format(lines=lines))
    done = subprocess.run([sys.executable, "-c", CALLED], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
