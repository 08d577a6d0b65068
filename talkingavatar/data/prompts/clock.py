"""Times in a prompt: "from 3.5s", "at 6 s", "until 4s", "between 1 and 2 seconds", "for 2s"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from talkingavatar.errors import UserError

_UNIT = r"(?:\s*(?:s|sec|secs|seconds?)\b|(?![\w.%]))"
_TIME = rf"(\d+(?:\.\d+)?|\.\d+){_UNIT}"
SPAN = re.compile(rf"\b(?:from|between)\s+{_TIME}\s*(?:to|till|until|and|-)\s*{_TIME}", re.IGNORECASE)
START = re.compile(rf"\b(?:from|at|after|starting at|beginning at)\s+{_TIME}(?:\s+(?:on|onwards?)\b)?", re.IGNORECASE)
STOP = re.compile(rf"\b(?:until|till|up to|before)\s+{_TIME}", re.IGNORECASE)
LENGTH = re.compile(rf"\bfor\s+{_TIME}", re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """When something is asked; None where the words do not say."""

    start: float | None = None  # seconds
    stop: float | None = None

    @property
    def told(self) -> bool:
        return self.start is not None or self.stop is not None


def take_times(text: str, field: str) -> tuple[str, Span]:
    """The words without their times, and these.

    Raises:
        UserError: an end that is not after the start.
    """
    start = stop = None
    if found := SPAN.search(text):
        text, start, stop = _without(text, found), float(found[1]), float(found[2])
    if found := START.search(text):
        text, start = _without(text, found), float(found[1])
    if found := STOP.search(text):
        text, stop = _without(text, found), float(found[1])
    if found := LENGTH.search(text):
        text, stop = _without(text, found), (start or 0.0) + float(found[1])
    if stop is not None and stop <= (start or 0.0):
        raise UserError(field, f"{start or 0:g} to {stop:g} s", "an end after the start", "correct it")
    return text, Span(start, stop)


def _without(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}"


def ended(starts: list[float], at: float) -> float:
    """When something that began at a time ends by itself: where the next one begins."""
    return min((start for start in starts if start > at), default=math.inf)
