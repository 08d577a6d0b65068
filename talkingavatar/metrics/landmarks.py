"""Landmark distances, in pixels, under the two definitions that papers use.

`lmd` is that of the talking-head papers (ER-NeRF, TalkingGaussian): 68 landmarks detected alike in both videos, each
set about its own mean. `landmark_distances` is that of THGS table 7: mean distance as it stands, by groups.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from talkingavatar.errors import UserError

CONFIDENT = 0.2  # a point counts above this confidence in both (THGS eq. 16)
PARTS: dict[str, slice] = {
    "face": slice(0, 68),
    "contour": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}


def lmd(a: Float[ndarray, "T 68 3"], b: Float[ndarray, "S 68 3"], part: str = "mouth") -> float:
    """Mean distance of a part's points after each set's own mean in each frame is taken off (methods.md E.3).

    Points are x, y, confidence; one that is NaN or not confident in either set is left out of both, means included.

    Returns:
        NaN where nothing is seen in both.

    Raises:
        UserError: unknown part, or sets of different shape.
    """
    if part not in PARTS:
        raise UserError("part", repr(part), f"one of {', '.join(PARTS)}", "choose one of them")
    _same_shape(a, b)
    a, b = a[:, PARTS[part]], b[:, PARTS[part]]
    counted = _counted(a, b)
    # Of a single point nothing is left once its mean is taken off.
    counted &= counted.sum(axis=1, keepdims=True) > 1
    return _mean_distance(_centred(a, counted), _centred(b, counted), counted)


def landmark_distances(
    a: Float[ndarray, "T N 3"], b: Float[ndarray, "S M 3"], groups: Mapping[str, slice | ndarray]
) -> dict[str, float]:
    """Mean distance of each group's points as they stand (THGS table 7), points of all frames counting alike.

    Points are x, y, confidence (1 for projected joints). A group of which nothing is seen in both is NaN.

    Raises:
        UserError: sets of different shape.
    """
    _same_shape(a, b)
    found = {}
    for name, rows in groups.items():
        x, y = a[:, rows], b[:, rows]
        found[name] = _mean_distance(x[..., :2], y[..., :2], _counted(x, y))
    return found


def _counted(a: Float[ndarray, "T n 3"], b: Float[ndarray, "T n 3"]) -> Bool[ndarray, "T n"]:
    seen = [np.isfinite(points).all(-1) & (points[..., 2] > CONFIDENT) for points in (a, b)]
    return seen[0] & seen[1]


def _centred(points: Float[ndarray, "T n 3"], counted: Bool[ndarray, "T n"]) -> Float[ndarray, "T n 2"]:
    xy = np.where(counted[..., None], points[..., :2], 0.0).astype(np.float64)
    count = np.maximum(counted.sum(axis=1), 1)[:, None, None]
    return xy - xy.sum(axis=1, keepdims=True) / count


def _mean_distance(a: Float[ndarray, "T n 2"], b: Float[ndarray, "T n 2"], counted: Bool[ndarray, "T n"]) -> float:
    if not counted.any():
        return float("nan")
    return float(np.linalg.norm(a[counted].astype(np.float64) - b[counted], axis=-1).mean())


def _same_shape(a: ndarray, b: ndarray) -> None:
    if a.shape != b.shape:
        found, expected = f"{a.shape} against {b.shape}", "the same frames and points in both"
        raise UserError("landmarks", found, expected, "detect both videos over the same frames")
