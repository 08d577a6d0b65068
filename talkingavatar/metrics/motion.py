"""How unsteady something is in time, apart from how much it moves.

Jitter is the root mean square of the fourth finite difference, divided by what that difference makes of white noise:
white noise of standard deviation s has jitter s, and motion that is cubic over five frames has none. It has the units
of what is measured and is taken per coordinate. A recording has jitter of its own, that of its detector included, so
it is always set beside the ground truth's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from talkingavatar.errors import UserError

KERNEL = np.array([1.0, -4.0, 6.0, -4.0, 1.0])
GAIN = float(np.sqrt(np.square(KERNEL).sum()))  # sqrt(70)


class JitterMeter:
    """Jitter of points that come frame by frame; five frames are kept."""

    def __init__(self) -> None:
        self._rows: deque[Float[ndarray, "N D"]] = deque(maxlen=len(KERNEL))
        self._squares, self._count = 0.0, 0
        self._by_frame: list[float] = []

    def add(self, points: Float[ndarray, "N D"]) -> None:
        """The next frame; NaN where a point is not seen, which leaves out the differences it is in.

        Raises:
            UserError: another number of points than before.
        """
        if self._rows and self._rows[-1].shape != points.shape:
            found, expected = f"points of shape {points.shape}", f"{self._rows[-1].shape} as before"
            raise UserError("jitter", found, expected, "give every frame the same points, NaN where unseen")
        self._rows.append(np.asarray(points, np.float64))
        self._by_frame.append(float("nan"))
        if len(self._rows) == len(KERNEL):
            squares = np.square(np.tensordot(KERNEL, np.stack(self._rows), axes=1) / GAIN)
            known = squares[np.isfinite(squares)]
            self._squares += float(known.sum())
            self._count += len(known)
            if len(known):
                self._by_frame[-1 - len(KERNEL) // 2] = float(np.sqrt(known.mean()))

    def cut(self) -> None:
        """The next frame is no neighbour of the last."""
        self._rows.clear()

    def value(self) -> float:
        """The jitter so far; NaN where no five neighbouring frames were seen."""
        return float(np.sqrt(self._squares / self._count)) if self._count else float("nan")

    def by_frame(self) -> Float[ndarray, " T"]:
        """The jitter of every frame and its two neighbours to each side; NaN where these were not all seen."""
        return np.array(self._by_frame)


def metered(trajectories: Float[ndarray, "T N D"], shots: Sequence[tuple[int, int]] | None = None) -> JitterMeter:
    """What has seen N points over T frames, and no difference across a cut.

    Args:
        shots: (start, stop) of each, which fill the T frames; none given means one.
    """
    meter = JitterMeter()
    for start, stop in _shots(shots, len(trajectories)):
        meter.cut()
        for points in trajectories[start:stop]:
            meter.add(points)
    return meter


def jitter(trajectories: Float[ndarray, "T N D"], shots: Sequence[tuple[int, int]] | None = None) -> float:
    """Jitter of N points over T frames, in their units; never across a cut.

    Args:
        shots: (start, stop) of each; none given means one.

    Returns:
        NaN where no five neighbouring frames were seen.
    """
    return metered(trajectories, shots).value()


def jitter_ratio(
    trajectories: Float[ndarray, "T N D"],
    truth: Float[ndarray, "S M E"],
    shots: Sequence[tuple[int, int]] | None = None,
) -> float:
    """Jitter by the ground truth's own; 1 is as steady as the recording, NaN where that has none or is not seen.

    Raises:
        UserError: the two differ in shape.
    """
    _same_shape(trajectories, truth)
    own = jitter(truth, shots)
    return jitter(trajectories, shots) / own if own > 0 else float("nan")


def acceleration_error(
    trajectories: Float[ndarray, "T N D"],
    truth: Float[ndarray, "S M E"],
    shots: Sequence[tuple[int, int]] | None = None,
) -> float:
    """Mean length of the difference of second finite differences, in units per frame squared (methods.md B.6, ACC-err).

    Returns:
        NaN where no three neighbouring frames are seen in both.

    Raises:
        UserError: the two differ in shape.
    """
    _same_shape(trajectories, truth)
    apart = trajectories.astype(np.float64) - truth
    parts = [np.diff(apart[start:stop], n=2, axis=0) for start, stop in _shots(shots, len(apart)) if stop - start > 2]
    lengths = np.concatenate([np.linalg.norm(part, axis=-1).ravel() for part in parts]) if parts else np.zeros(0)
    lengths = lengths[np.isfinite(lengths)]
    return float(lengths.mean()) if len(lengths) else float("nan")


def sample_colours(image: Float[Tensor, "H W C"], points: Float[ndarray, "N 2"]) -> Float[ndarray, "N C"]:
    """Colours at points (x, y) in pixels, bilinear between pixel centres at +0.5; NaN outside the picture.

    At points that ride on a surface, their jitter is the flicker of that surface: texture that moves along is none.
    """
    height, width = image.shape[:2]
    known = np.isfinite(points).all(-1) & (points >= 0).all(-1) & (points <= (width, height)).all(-1)
    place = torch.from_numpy(np.where(known[:, None], points, 0.0) - 0.5).to(image)
    limit = place.new_tensor([width - 1, height - 1])
    place = torch.minimum(place.clamp_min(0), limit)
    low = place.floor().long()
    high = torch.minimum(low + 1, limit.long())
    x, y = (place - low).T[..., None]
    upper = (1 - x) * image[low[:, 1], low[:, 0]] + x * image[low[:, 1], high[:, 0]]
    lower = (1 - x) * image[high[:, 1], low[:, 0]] + x * image[high[:, 1], high[:, 0]]
    colours = ((1 - y) * upper + y * lower).cpu().numpy().astype(np.float64)
    colours[~known] = np.nan
    return colours


def _shots(shots: Sequence[tuple[int, int]] | None, frames: int) -> Sequence[tuple[int, int]]:
    if shots is None:
        return [(0, frames)]
    if shots and max(stop for _, stop in shots) > frames:
        raise UserError("shots", f"{list(shots)}", f"shots inside 0 to {frames}", "give those of these frames")
    return shots


def _same_shape(a: ndarray, b: ndarray) -> None:
    if a.shape != b.shape:
        raise UserError("trajectories", f"{a.shape}", f"{b.shape}, the ground truth's", "compare the same frames")
