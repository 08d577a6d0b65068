"""Which way round a published camera is meant: what projects where it was seen, in front of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from talkingavatar.data.stated import Stated
from talkingavatar.errors import UserError

OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # turns a camera's own y and z axes round
GOOD_PX = 30.0  # median reprojection error beyond which something is wrong


@dataclass(frozen=True)
class Reading:
    """One way to read a camera."""

    name: str
    viewmat: Float[ndarray, "4 4"]
    median_z: float  # metres
    error_px: float  # median distance to what was seen; NaN where nothing was


def choose_reading(
    readings: dict[str, Float[ndarray, "4 4"]],
    K: Float[ndarray, "3 3"],
    points: Float[ndarray, "T N 3"],
    seen: Shaped[ndarray, "T N 3"] | None,
    source: str,
) -> Reading:
    """The reading with the points in front of the camera that projects them nearest to where they were seen.

    Args:
        readings: world-to-camera matrices by name, the likeliest first: it wins where nothing tells them apart.
        points: in the world, metres.
        seen: the same in the picture: x, y in pixels, confidence.

    Raises:
        UserError: none of them has the points in front of the camera.
    """
    judged = [_judge(name, viewmat, K, points, seen) for name, viewmat in readings.items()]
    in_front = [reading for reading in judged if reading.median_z > 0]
    if not in_front:
        found = ", ".join(f"{r.name}: median depth {r.median_z:.2f} m" for r in judged)
        raise UserError(source, found, "a subject in front of the camera", "check the camera file")
    return min(in_front, key=lambda r: np.inf if np.isnan(r.error_px) else r.error_px)


def _judge(
    name: str,
    viewmat: Float[ndarray, "4 4"],
    K: Float[ndarray, "3 3"],
    points: Float[ndarray, "T N 3"],
    seen: Shaped[ndarray, "T N 3"] | None,
) -> Reading:
    local = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    error = np.nan
    if seen is not None:
        pixels = local @ K.T
        distance = np.linalg.norm(pixels[..., :2] / pixels[..., 2:] - seen[..., :2], axis=-1)
        sure = (seen[..., 2] > 0.2) & np.isfinite(distance)
        error = float(np.median(distance[sure])) if sure.any() else np.nan
    return Reading(name, viewmat, float(np.median(local[..., 2])), error)


def over_shots(matrices: Float[ndarray, "S V a b"], lengths: Sequence[int]) -> Float[ndarray, "V C a b"]:
    """What a file a shot says of every view: once where all say the same, else for each frame."""
    if np.allclose(matrices, matrices[:1]):
        return matrices[:1].swapaxes(0, 1)
    return np.repeat(matrices, lengths, axis=0).swapaxes(0, 1)


def rigid(stated: Stated) -> Float[ndarray, "4 4"]:
    """A camera's matrix of three rows or four.

    Raises:
        UserError: other than finite numbers, or they turn nothing.
    """
    matrix = np.concatenate([stated.matrix((4, 4), (3, 4))[:3], [[0.0, 0.0, 0.0, 1.0]]])
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-6:
        raise stated.wrong("a rotation and a place")
    return matrix


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Float[ndarray, "3 3"]:
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
