"""Which file, row or picture made elsewhere belongs to which frame of a clip: by the number it carries, and how many
there are. A clip may show every second picture of its video, or a part of it, and numbers may begin anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from talkingavatar.errors import UserError

SLACK = 2  # pictures that programs disagree about at a video's end
LARGEST = 10**15  # beyond that a number counts nothing
FEWEST = 0.7  # share of a clip's frames of which something must be there
SAME_RATE = 0.02  # by which rates may differ and count as one


@dataclass(frozen=True)
class Clock:
    """A way to count that somebody may have numbered by.

    Args:
        name: for the user.
        numbers: of each frame of the clip, from 0.
        total: how many numbers there are.
        rate: numbers a second.
    """

    name: str
    numbers: Int[ndarray, " T"]
    total: int
    rate: float

    def told(self) -> dict[str, Any]:
        """For a capture's provenance."""
        return {"counted_by": self.name, "rate": round(self.rate, 3)}

    def at_rate(self, rate: float) -> Clock:
        """The same time counted at another rate."""
        numbers = np.round(self.numbers / self.rate * rate).astype(int)
        return Clock(f"pictures at {rate:.5g} a second", numbers, round(self.total / self.rate * rate), rate)


def clocks_of(taken: Sequence[int], source_count: int, source_rate: float, fps: float) -> list[Clock]:
    """By frames of the clip, by pictures of its whole video, by those of the part that was taken; each once.

    Args:
        taken: which of the video's `source_count` pictures each frame shows.
    """
    shown = np.asarray(taken)
    clocks = [
        Clock("frames of the capture", np.arange(len(shown)), len(shown), fps),
        Clock("pictures of the video", shown, source_count, source_rate),
        Clock("pictures of the part taken", shown - shown[0], int(shown[-1] - shown[0]) + 1, source_rate),
    ]
    totals = [clock.total for clock in clocks]
    return [clock for i, clock in enumerate(clocks) if clock.total not in totals[:i]]


@dataclass(frozen=True)
class Placed:
    """Which of the things each frame has, -1 for none; what was believed, for a capture's provenance."""

    rows: Int[ndarray, " T"]
    believed: dict[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Things:
    """What is numbered: files, rows.

    Args:
        field: the key by which a user gave them, for errors.
        found: what there is, in a few words.
        expected: how many there should be; {} stands for the number.
        action: what to do where they do not fit.
        usual: the first number, where nothing tells it.
    """

    field: str
    found: str
    expected: str
    action: str
    usual: int = 0

    def place(self, numbers: Sequence[int], clocks: Sequence[Clock], rate: float | None = None) -> Placed:
        """Each thing where its number says.

        Args:
            numbers: of the things, each once, in any order.
            rate: at which they were counted, where that is known.

        Raises:
            UserError: they fit none of the clocks, or too few are there.
        """
        known = np.asarray(sorted(numbers), int)
        for clock in clocks:  # one for each, however they are numbered
            if len(known) == clock.total and _steady(known):
                return self._of_clock(numbers, clock, int(known[0]), int(known[1] - known[0]) if len(known) > 1 else 1)
            if len(known) == len(clock.numbers) and np.ptp(known - clock.numbers) == 0:
                return self._of_clock(numbers, clock, int(known[0] - clock.numbers[0]), 1)
        counted = [c for c in clocks if rate is None or abs(c.rate / rate - 1) < SAME_RATE]
        if not counted and rate is not None:
            counted = [clocks[min(1, len(clocks) - 1)].at_rate(rate)]
        best: tuple[int, Placed] | None = None
        for clock in counted:
            first, sure = self._first(known, clock.total)
            span, placed = int(known[-1]) - first + 1, self._of_clock(numbers, clock, first, 1)
            if span > clock.total + SLACK or (placed.rows >= 0).mean() < FEWEST:
                continue
            if not sure:
                told = f"{self.found}: nothing tells the first number; {first} is taken for it"
                placed = replace(placed, warnings=(*placed.warnings, told))
            if best is None or abs(clock.total - span) < best[0]:
                best = abs(clock.total - span), placed
        if best is None:
            raise self.unfit(clocks)
        return best[1]

    def in_order(self, count: int, clocks: Sequence[Clock]) -> Placed:
        """Things without numbers, in the order in which they are.

        Raises:
            UserError: there is not one for each number of a clock.
        """
        clock = next((clock for clock in clocks if clock.total == count), None)
        if clock is None:
            raise self.unfit(clocks)
        placed = self._of_clock(range(count), clock, 0, 1)
        return replace(placed, believed=placed.believed | {"order": "by their names, which have no numbers"})

    def unfit(self, clocks: Sequence[Clock]) -> UserError:
        """The error that says so."""
        first, *more = clocks
        expected = self.expected.format(first.total) + "".join(f", or {c.total} ({c.name})" for c in more)
        return UserError(self.field, self.found, expected, self.action)

    def _first(self, known: Int[ndarray, " N"], total: int) -> tuple[int, bool]:
        """The number of what comes first, which may be absent; whether it is known."""
        low, high = int(known[0]), int(known[-1])
        if low > total:
            return low, False
        if low == 0 or high == total:
            return min(low, 1), True
        if self.usual or low > 1 or high == total - 1:
            return self.usual, bool(self.usual) or (low > 1 and high == total - 1)
        return 1, True

    def _of_clock(self, numbers: Sequence[int], clock: Clock, first: int, step: int) -> Placed:
        where = np.full(clock.total + SLACK, -1)
        places = (np.asarray(numbers, int) - first) // step
        inside = (places >= 0) & (places < len(where))
        where[places[inside]] = np.flatnonzero(inside)
        rows = where[np.clip(clock.numbers, 0, len(where) - 1)]
        believed = {"order": "by their numbers", **clock.told(), "count": len(numbers), "first_number": first}
        gone = np.flatnonzero(rows < 0)
        if not len(gone):
            return Placed(rows, believed)
        told = f"{self.found}: nothing for {len(gone)} of {len(rows)} frames ({ranges(gone.tolist())}); they are gaps"
        return Placed(rows, believed | {"absent_frames": ranges(gone.tolist())}, (told,))


def numbers_in(names: Sequence[str]) -> list[int] | None:
    """The number in each name that tells them apart: the last one that differs from all others'; None without such."""
    found = [[int(digits) for digits in reversed(re.findall(r"[0-9]+", name))] for name in names]
    for column in zip(*found, strict=False):
        if len(set(column)) == len(column) and max(column) <= LARGEST:
            return list(column)
    return None


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which names are sorted as people count."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def ranges(numbers: Sequence[int], most: int = 6) -> str:
    """Whole numbers in few words: 3, 7-9."""
    spans: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    told = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans[:most]]
    return ", ".join(told) + (", ..." if len(spans) > most else "")


def _steady(known: Int[ndarray, " N"]) -> bool:
    """Whether numbers are equally far apart."""
    return len(known) < 2 or bool((np.diff(known) == known[1] - known[0]).all())
