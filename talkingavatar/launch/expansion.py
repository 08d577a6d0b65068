"""A sweep to its runs: every combination of a grid, or draws from a seed."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass

from talkingavatar.errors import UserError
from talkingavatar.launch.parameters import Choice, draw
from talkingavatar.launch.sweep_file import Sweep
from talkingavatar.launch.values import digest, name_part, shortened

LIMIT = 10_000  # runs of one sweep, unless more are asked for


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its name, unique in the sweep, and what it overrides."""

    name: str
    overrides: tuple[str, ...]


def expand(sweep: Sweep, runs: int | None = None, draw_seed: int = 0, limit: int = LIMIT) -> list[Job]:
    """The runs of a sweep, in an order that depends on the file alone.

    Args:
        runs: how many to draw, for `method: random` (else its run_cap); a grid is cut after so many.
        draw_seed: of the draws.
        limit: more runs than this are refused.

    Raises:
        UserError: too many runs, or none.
    """
    wanted = runs or sweep.run_cap
    count = _count(sweep, wanted)
    if count > limit:
        raise UserError(
            f"{sweep.file}", f"{count:,} runs", f"at most {limit:,}",
            f"sweep fewer values, or ask for it with limit={count}",
        )  # fmt: skip
    rows = _grid(sweep, count) if sweep.method == "grid" else _draws(sweep, count, draw_seed)
    shown = _named(sweep)
    names = [shortened("_".join(name_part(k, row[k]) for k in shown) or sweep.name, str(row)) for row in rows]
    twice = {name for name, times in Counter(names).items() if times > 1}
    return [
        Job(
            name=f"{name}-{digest(str(row))}" if name in twice else name,
            overrides=(*sweep.fixed, *(f"{key}={text}" for key, text in row.items())),
        )
        for name, row in zip(names, rows, strict=True)
    ]


def _count(sweep: Sweep, wanted: int | None) -> int:
    if sweep.method == "random":
        if wanted is None:
            raise UserError(f"{sweep.file}: run_cap", "nothing", "how many runs to draw", "add it, or give runs=N")
        return wanted
    whole = math.prod(len(p.values) for p in sweep.parameters.values() if isinstance(p, Choice))
    return min(whole, wanted or whole)


def _grid(sweep: Sweep, count: int) -> list[dict[str, str]]:
    lists = [p.values for p in sweep.parameters.values() if isinstance(p, Choice)]
    rows = itertools.islice(itertools.product(*lists), count)
    return [dict(zip(sweep.parameters, row, strict=True)) for row in rows]


def _draws(sweep: Sweep, count: int, draw_seed: int) -> list[dict[str, str]]:
    """Distinct draws; fewer than asked for where there are no more (a few listed values only)."""
    generator = random.Random(draw_seed)
    rows: dict[str, dict[str, str]] = {}
    for _ in range(100 * count):
        row = {key: draw(parameter, generator) for key, parameter in sweep.parameters.items()}
        rows.setdefault(str(row), row)
        if len(rows) == count:
            break
    return list(rows.values())


def _named(sweep: Sweep) -> list[str]:
    """What runs are named by: all but constants, so that a value more in the file renames no run that exists."""
    return [key for key, p in sweep.parameters.items() if not (isinstance(p, Choice) and p.constant)]
