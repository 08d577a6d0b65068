"""LivePortrait's implicit keypoints: where a head's canonical points are in a pose and with an expression.

Coordinates are a picture's, [-1, 1] from its left to its right, top to bottom, and into it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Motion(NamedTuple):
    """Of B pictures."""

    kp: Float[Tensor, "B K 3"]  # canonical: the person's, without pose and expression
    exp: Float[Tensor, "B K 3"]  # what the expression adds, in the turned head
    scale: Float[Tensor, "B 1"]
    angles: Float[Tensor, "B 3"]  # pitch, yaw, roll, radians
    t: Float[Tensor, "B 3"]  # its third number moves nothing

    def points(self) -> Float[Tensor, "B K 3"]:
        """Where the keypoints are: scale (kp R + exp) + t (arXiv 2407.03168, eq. 2)."""
        placed = self.scale[:, None] * (self.kp @ rotation(self.angles) + self.exp)
        return placed + self.t[:, None] * self.t.new_tensor((1.0, 1.0, 0.0))


def rotation(angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Of row vectors: about x, then y, then z by pitch, yaw and roll, radians."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().T, angles.sin().T
    rows = (
        (cy * cz, cy * sz, -sy),
        (sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy),
        (cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def angles_of(rotations: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """The pitch, yaw and roll of `rotation`; yaw within a quarter turn of the front."""
    yaw = torch.asin((-rotations[:, 0, 2]).clamp(-1, 1))
    pitch = torch.atan2(rotations[:, 1, 2], rotations[:, 2, 2])
    roll = torch.atan2(rotations[:, 0, 1], rotations[:, 0, 0])
    return torch.stack([pitch, yaw, roll], 1)
