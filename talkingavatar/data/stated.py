"""Values that a JSON or YAML file states, taken apart by name: what is wrong with one is said by its place."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.errors import UserError
from talkingavatar.runtime import readers

DEEPEST = 40  # parts within parts
SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True)
class Stated:
    """A value and its place in a file.

    Args:
        place: the file and the names that lead to the value.
        action: what a user does about a wrong one.
    """

    place: str
    value: Any
    action: str

    def wrong(self, expected: str) -> UserError:
        """The error that says so."""
        return UserError(self.place, shown(self.value), expected, self.action)

    def has(self, key: str) -> bool:
        """Whether something other than null stands under a name."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def of(self, key: str) -> Stated:
        """
        Raises:
            UserError: these are no named values, or none has this name.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("named values")
        if key not in self.value:
            raise UserError(self.place, f"no {key}", f"named values with {key}", self.action)
        return Stated(f"{self.place}:{key}", self.value[key], self.action)

    def names(self) -> list[str]:
        """
        Raises:
            UserError: these are no named values.
        """
        if not isinstance(self.value, dict):
            raise self.wrong("named values")
        return [str(name) for name in self.value]

    def entries(self) -> list[Stated]:
        """
        Raises:
            UserError: not a list.
        """
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Stated(f"{self.place}[{i}]", entry, self.action) for i, entry in enumerate(self.value)]

    def number(self, least: float = -math.inf, most: float = math.inf) -> float:
        """
        Raises:
            UserError: not a finite number of that range.
        """
        try:
            found = float(self.value) if _is_number(self.value) else math.nan
        except OverflowError:
            found = math.inf
        if not (math.isfinite(found) and least <= found <= most):
            raise self.wrong("a number" + _range(least, most))
        return found

    def whole(self, least: float = -math.inf, most: float = math.inf) -> int:
        """
        Raises:
            UserError: not a whole number of that range.
        """
        whole = _is_number(self.value) and (isinstance(self.value, int) or self.value.is_integer())
        if not whole or not least <= self.value <= most:
            raise self.wrong("a whole number" + _range(least, most))
        return int(self.value)

    def text(self) -> str:
        """
        Raises:
            UserError: not a text, or an empty one.
        """
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("a text")
        return self.value

    def matrix(self, *shapes: tuple[int, int], gaps: bool = False) -> Float[ndarray, "a b"]:
        """Rows of numbers, or all of them in one list.

        Args:
            gaps: a row may hold NaN or null, and is NaN then.

        Raises:
            UserError: not finite numbers in one of these shapes.
        """
        expected = "finite numbers of shape " + " or ".join(f"{a}x{b}" for a, b in shapes)
        try:
            found = np.array(self.value, np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.wrong(expected) from error
        for shape in shapes:
            if found.shape == shape or found.shape == (shape[0] * shape[1],):
                rows = found.reshape(shape)
                if gaps:
                    rows[np.isnan(rows).any(axis=1)] = np.nan
                if np.isinf(rows).any() or (not gaps and np.isnan(rows).any()):
                    break
                return rows
        raise self.wrong(expected)


def shown(value: Any) -> str:
    """A value as JSON has it, short."""
    if isinstance(value, dict | list) and not value:
        return "nothing"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def read_json(file: Path, action: str, finite: bool = True) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it is absent, damaged, says one name twice, holds (if `finite`) numbers that are none, or parts
            without end.
    """
    try:
        content = readers.read_json(file, object, action, finite)
    except FileNotFoundError as error:
        raise UserError(str(file), "no such file", "a JSON file", action) from error
    if _depth(content) > DEEPEST:
        raise UserError(str(file), f"parts within parts, more than {DEEPEST} deep", "plain values", action)
    return content


def _depth(content: Any) -> int:
    depth, layer = 0, [content]
    while layer and depth <= DEEPEST:
        depth += 1
        layer = [part for whole in layer for part in _parts(whole) if isinstance(part, dict | list)]
    return depth


def _parts(whole: Any) -> Iterable[Any]:
    return whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(least: float, most: float) -> str:
    if math.isfinite(least) and math.isfinite(most):
        return f" from {least:.12g} to {most:.12g}"
    return f" of at least {least:.12g}" if math.isfinite(least) else ""
