"""Frames that ride on the triangles of a moving mesh (GaussianAvatars section 3.1; methods B.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class TriangleFrames:
    """What carries a point from a triangle's own frame into the world: scale x rotation x local + centre."""

    rotation: Float[Tensor, "F 3 3"]  # columns: along the first edge, the normal, their cross product
    scale: Float[Tensor, " F"]  # metres: mean of base and height
    centre: Float[Tensor, "F 3"]  # centroid

    @property
    def maps(self) -> Float[Tensor, "F 3 4"]:
        """[scale x rotation | centre]."""
        return torch.cat([self.scale[:, None, None] * self.rotation, self.centre[..., None]], -1)


def triangle_frames(corners: Float[Tensor, "F 3 3"]) -> TriangleFrames:
    """Frames of triangles given by their corners (F, corner, xyz); a degenerate triangle has scale near zero.

    The second axis is the normal. The third points away from the third corner: the published code's sign, which
    checkpoints rely on; the rotation is proper.
    """
    a, b, c = corners.unbind(1)
    base, side = b - a, c - a
    along = normalize(base, dim=-1, eps=1e-12)
    normal = normalize(torch.linalg.cross(along, side), dim=-1, eps=1e-12)
    third = -torch.linalg.cross(normal, along)
    height = (third * side).sum(-1).abs()
    return TriangleFrames(
        rotation=torch.stack([along, normal, third], -1),
        scale=0.5 * (base.norm(dim=-1) + height),
        centre=corners.mean(1),
    )
