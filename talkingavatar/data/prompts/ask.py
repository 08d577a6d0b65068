"""One thing that is asked of a face, and all of them as curves over the clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from talkingavatar.body.action_units import INTENSITY, NAMES, SPOKEN
from talkingavatar.config.names import suggestion
from talkingavatar.errors import UserError

FADE = 0.4  # seconds in which one prompt takes over from another
SIDE = {"L": (0,), "R": (1,), "": (0, 1)}  # the person's left and right, as FACS writes them: AU12L


@dataclass(frozen=True)
class Ask:
    """Action units for a while. Keys are OpenFace's names, or those of one side: AU12, AU12L."""

    start: float = 0.0  # seconds
    stop: float = math.inf
    raised: Mapping[str, float] = field(default_factory=dict)  # to an intensity of 0 to 5, at least
    calmed: Mapping[str, float] = field(default_factory=dict)  # by a share of what is there
    words: str = ""  # that ask it
    feeling: bool = False  # of the whole face, which leaves to the sound what is the sound's (`SPOKEN`)


@dataclass(frozen=True)
class Track:
    """All of it at T times, those of a clock that begins with the sound."""

    raised: Float[ndarray, "T 17 2"]  # intensities, left and right
    calmed: Float[ndarray, "T 17 2"]  # shares
    weight: Float[ndarray, " T"]  # how much anything is asked for at all

    def with_(self, other: Track) -> Track:
        """Both; the strongest counts."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Track(*(np.maximum(one, another) for one, another in pairs))

    def window(self, first: int, count: int) -> Track:
        """The times from `first` on."""
        return Track(*(getattr(self, f.name)[first : first + count] for f in fields(self)))


@dataclass
class Asked:
    """The same of a clock without end; what is asked may change while it runs."""

    fps: float
    asks: Sequence[Ask] = ()
    spoken: bool = False  # feelings have a say in `SPOKEN` too
    origin: int = 0  # number of the first frame that is spoken, on the clock of the asks

    def window(self, first: int, count: int) -> Track:
        """Frames from `first` on, of those that are spoken."""
        numbers = self.origin + np.arange(first, first + count)
        return _track_at(self.asks, numbers / self.fps, self.spoken)


def track_of(asks: Sequence[Ask], fps: float, frames: int, spoken: bool = False) -> Track:
    """Each rises and falls within `FADE` round its start and stop; of several that ask for a unit the strongest counts.

    Args:
        spoken: feelings have a say in `SPOKEN` too.

    Raises:
        UserError: something is asked for beyond the end.
    """
    seconds = frames / fps
    for ask in asks:
        if ask.start >= seconds or (math.isfinite(ask.stop) and ask.stop > seconds + 0.5 / fps):
            late = ask.start if ask.start >= seconds else ask.stop
            raise UserError(ask.words, f"{late:g} s", f"a time within the sound's {seconds:.2f} s", "correct it")
    return _track_at(asks, np.arange(frames) / fps, spoken)


def _track_at(asks: Sequence[Ask], times: Float[ndarray, " T"], spoken: bool) -> Track:
    raised, calmed = np.zeros((2, len(times), len(NAMES), 2))
    most = np.zeros(len(times))
    for ask in asks:
        weight = _weight(ask, times)
        most = np.maximum(most, weight)
        for curve, wanted in ((raised, ask.raised), (calmed, ask.calmed)):
            for key, value in wanted.items():
                row, sides = place_of(key)
                if not (ask.feeling and NAMES[row] in SPOKEN and not spoken):
                    curve[:, row, sides] = np.maximum(curve[:, row, sides], (weight * value)[:, None])
    return Track(raised, calmed, most)


def place_of(key: str) -> tuple[int, tuple[int, ...]]:
    """Row of a unit, and its sides."""
    return NAMES.index(key[:4]), SIDE[key[4:]]


def unit_key(text: str, field: str) -> str:
    """A unit as a user writes it: AU12, au4, AU12L.

    Raises:
        UserError: it is none of the 17.
    """
    name = text.strip().upper()
    side = name[-1:] if name[-1:] in ("L", "R") else ""
    digits = name.removesuffix(side).removeprefix("AU").lstrip("_")
    key = f"AU{int(digits):02d}" if digits.isdecimal() and len(digits) < 4 else name
    if key not in NAMES:
        expected = f"one of {', '.join(NAMES)}, or one side of it (AU12L)"
        raise UserError(field, repr(text.strip()), expected, suggestion(key, NAMES))
    return key + side


def intensity(key: str, text: str, field: str) -> float:
    """
    Raises:
        UserError: no number from 0 to 5.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= INTENSITY:
        raise UserError(field, f"{key}={text.strip()}", f"an intensity from 0 to {INTENSITY:g}", "correct it")
    return value


def _weight(ask: Ask, times: Float[ndarray, " T"]) -> Float[ndarray, " T"]:
    """1 while it is asked, with smooth flanks; what is shorter than a fade still comes to 1."""
    fade = max(min(FADE, (ask.stop - ask.start) / 2), 1e-6)
    up = _smooth((times - ask.start) / fade + 0.5) if ask.start > 0 else np.ones_like(times)
    down = _smooth((ask.stop - times) / fade + 0.5) if math.isfinite(ask.stop) else np.ones_like(times)
    return up * down


def _smooth(x: Float[ndarray, " T"]) -> Float[ndarray, " T"]:
    x = x.clip(0, 1)
    return x * x * (3 - 2 * x)
