"""Whether several cameras ran on one clock: what moves, moves in all of their pictures at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from scipy.ndimage import uniform_filter1d

from talkingavatar.errors import UserError

SMALL = 48  # pixels each way in which motion is looked for
FEWEST = 40  # changes from frame to frame, below which nothing is said
FARTHEST = 10  # frames that a camera is looked for early or late
SLOW = 15  # frames over which motion's own mean is taken off
ALIKE, BETTER = 0.6, 0.12  # correlation in another place that is believed; by how much it is above that in place


@dataclass
class Clocks:
    """Sees all pictures of one view after the other, then tells which view is out of step."""

    shots: list[tuple[int, int]]
    changes: dict[str, list[float]] = field(default_factory=dict)
    _before: Float[ndarray, "s s 3"] | None = None

    def see(self, view: str, index: int, picture: UInt8[ndarray, "H W 3"]) -> None:
        """The next frame of a view, composited on one colour."""
        small = Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX)
        now, seen = np.asarray(small, np.float64), self.changes.setdefault(view, [])
        first = any(index == start for start, _ in self.shots)
        if not first:
            assert self._before is not None, "frames of a view come one after the other"
            seen.append(float(np.abs(now - self._before).mean()))
        self._before = now

    def check(self, source: str) -> None:
        """
        Raises:
            UserError: a view shows what the first one does, some frames earlier or later.
        """
        views = list(self.changes)
        for view in views[1:]:
            late = lag(np.array(self.changes[views[0]]), np.array(self.changes[view]))
            if late:
                found = f"{abs(late)} frames {'behind' if late > 0 else 'ahead of'} {views[0]}"
                action = "number its pictures by their time, or leave the camera out"
                raise UserError(f"{source}: camera {view}", found, "cameras on one clock", action)


def lag(a: Float[ndarray, " T"], b: Float[ndarray, " T"]) -> int:
    """Frames by which motion `b` comes after `a`; 0 where nothing says so clearly."""
    if len(a) < FEWEST:
        return 0
    a, b = (values - uniform_filter1d(values, SLOW) for values in (a, b))
    alike = {shift: _correlation(a, b, shift) for shift in range(-FARTHEST, FARTHEST + 1)}
    best = max(alike, key=lambda shift: alike[shift])
    return best if alike[best] > ALIKE and alike[best] - alike[0] > BETTER else 0


def _correlation(a: Float[ndarray, " T"], b: Float[ndarray, " T"], shift: int) -> float:
    x, y = (a[: len(a) - shift], b[shift:]) if shift >= 0 else (a[-shift:], b[: len(b) + shift])
    x, y = x - x.mean(), y - y.mean()
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 1e-9 else 0.0
