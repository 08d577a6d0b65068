"""A benchmark of this checkout and of another commit, run in turn: ratios that hold from machine to machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from talkingavatar.errors import UserError
from talkingavatar.launch.code import checkout

Row = dict[str, Any]


def compare(words: list[str], commit: str, rounds: int) -> list[Row]:
    """Run `bench <words>` there and here, `rounds` times each.

    Returns:
        Rows as the benchmark's own, each measured (float) column as {"before", "after", "ratio"}: medians, and how many
        times as large it was before.

    Raises:
        UserError: this is no checkout, it has no such commit, or the benchmark fails in one of both.
    """
    here = Path(__file__).resolve().parents[2]
    before: list[list[Row]] = []
    after: list[list[Row]] = []
    with _worktree(commit) as there:
        for number in range(1, rounds + 1):
            for tree, results in ((there, before), (here, after)):
                print(f"round {number} of {rounds}: {commit if tree is there else 'this checkout'}", flush=True)
                results.append(_run(tree, words, commit if tree is there else "this checkout"))
    return _ratios(before, after)


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """The commit's files in a folder of their own, for as long as they are needed."""
    root = checkout()
    action = "run it in a clone of the project"
    if root is None:
        raise UserError("--against", f"{commit}, outside a git checkout", "a commit of this checkout", action)
    git = ["git", "-C", str(root)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        words = [*git, "worktree", "add", "--quiet", "--detach", str(tree), f"{commit}^{{commit}}"]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode:
            raise UserError("--against", repr(commit), "a commit of this checkout", "see `git log`")
        try:
            yield tree
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(tree)], capture_output=True, check=False)


def _run(tree: Path, words: list[str], name: str) -> list[Row]:
    """The rows that a tree's own benchmark writes."""
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        # -P: the package of the tree, not one that lies in the current folder.
        command = [sys.executable, "-P", "-m", "talkingavatar.bench", *words, "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["nothing"])[-1].removeprefix("error: ")
            raise UserError(
                "--against", f"a benchmark that fails in {name} ({told})", "one that runs in both", "see it"
            )
        return json.loads(out.read_text())


def _ratios(before: list[list[Row]], after: list[list[Row]]) -> list[Row]:
    rows = []
    for place, first in enumerate(after[0]):
        row: Row = {}
        for column, value in first.items():
            if isinstance(value, float) and isinstance(before[0][place].get(column), float):
                old, new = (median(run[place][column] for run in runs) for runs in (before, after))
                row[column] = {"before": old, "after": new, "ratio": old / new if new else None}
            else:
                row[column] = value
        rows.append(row)
    return rows


def lines(rows: list[Row]) -> Iterator[str]:
    """A line a row and measured column: what it is of, before, after, ratio."""
    yield f"{'':<34}{'':>16}{'before':>12}{'after':>12}{'ratio':>8}"
    for row in rows:
        label = ", ".join(str(value) for value in row.values() if not isinstance(value, dict) and value is not None)
        for column, figures in row.items():
            if isinstance(figures, dict):
                ratio = "-" if figures["ratio"] is None else f"{figures['ratio']:.2f}"
                yield f"{label:<34}{column:>16}{figures['before']:>12.4g}{figures['after']:>12.4g}{ratio:>8}"
