"""Surroundings of a face: the portrait's plane, which follows the face's rim less and less further out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import map_coordinates

RINGS = ((1.0, 1.0), (1.28, 0.9), (1.6, 0.55), (2.1, 0.2), (2.8, 0.0))  # size, and how much of the rim's motion
POWER = 3  # of the distance by which anchors count less
CELLS = 48  # of the grid on which the motion is told, along each side


def surroundings(
    rim: Float[ndarray, "R 2"], target: Float[ndarray, "R 2"], width: int, height: int
) -> tuple[Float[ndarray, "H W 2"], Float[ndarray, "H W"]]:
    """Where each pixel lay in the portrait, and how far the sheet follows there (1 at the rim, 0 where it is still).

    Args:
        rim, target: of the face in the portrait and where it is now, pixels.
    """
    middle, moved = rim.mean(0), target - rim
    places, motions, follows = [], [], []
    for size, share in RINGS:
        here = middle + size * (rim - middle) + share * moved
        places.append(here)
        motions.append(share * moved)
        follows.append(np.full(len(rim), share))
    edge = np.linspace(0, 1, 13)
    frame = np.concatenate([np.stack([edge * width, np.full(13, side * height)], 1) for side in (0, 1)]
                           + [np.stack([np.full(13, side * width), edge * height], 1) for side in (0, 1)])  # fmt: skip
    anchors = np.concatenate([*places, frame])
    values = np.concatenate([np.concatenate(motions), np.zeros_like(frame)])
    told = np.concatenate([np.concatenate(follows), np.zeros(len(frame))])
    grid = np.stack(np.meshgrid(np.linspace(0, width, CELLS + 1), np.linspace(0, height, CELLS + 1)), -1)
    apart = np.square(grid[:, :, None] - anchors).sum(-1) + 1e-3
    weight = apart ** (-POWER / 2)
    weight /= weight.sum(-1, keepdims=True)
    field = np.concatenate([weight @ values, (weight @ told)[..., None]], -1)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    at = np.stack([y / height * CELLS, x / width * CELLS])
    dx, dy, follow = (map_coordinates(field[..., c], at, order=1) for c in range(3))
    return np.stack([x - dx, y - dy], -1).astype(np.float32), follow.astype(np.float32)
