"""Where a stiff set of points went: scale, rotation and place, and the rotation as angles of a head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def similarity(
    points: Float[Tensor, "T S 3"], seen: Float[Tensor, "T S 3"]
) -> tuple[Float[Tensor, " T"], Float[Tensor, "T 3 3"], Float[Tensor, "T 3"]]:
    """Scale, rotation and translation with the least squares: seen = scale rotation points + translation.

    Source: Umeyama 1991.
    """
    means, goals = points.mean(1, keepdim=True), seen.mean(1, keepdim=True)
    a, b = points - means, seen - goals
    U, strength, Vt = torch.linalg.svd(b.transpose(1, 2) @ a)
    keep = torch.ones_like(strength)
    keep[:, 2] = torch.det(U @ Vt).sign()  # never a reflection
    rotation = (U * keep[:, None]) @ Vt
    scale = (strength * keep).sum(1) / a.square().sum((1, 2))
    moved = scale[:, None, None] * means @ rotation.transpose(1, 2)
    return scale, rotation, (goals - moved)[:, 0]


def head_rotation(angles: Float[Tensor, "T 3"]) -> Float[Tensor, "T 3 3"]:
    """Of pitch (nose down), yaw (to its left) and roll (crown to its right), radians: about x first, about z last."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(1), angles.sin().unbind(1)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def head_angles(rotation: Float[Tensor, "T 3 3"]) -> Float[Tensor, "T 3"]:
    """Pitch, yaw and roll of `head_rotation`; yaw within a right angle."""
    pitch = torch.atan2(rotation[:, 2, 1], rotation[:, 2, 2])
    yaw = torch.asin(-rotation[:, 2, 0].clamp(-1, 1))
    roll = torch.atan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return torch.stack([pitch, yaw, roll], 1)
