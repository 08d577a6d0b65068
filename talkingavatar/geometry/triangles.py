"""Frames that ride on the triangles of a moving mesh (GaussianAvatars section 3.1; methods B.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

FLAT = 1e-6  # squared sine of a triangle's angle below which it has no inside


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


def triangle_areas(corners: Float[Tensor, "F 3 3"]) -> Float[Tensor, " F"]:
    """In m^2."""
    a, b, c = corners.unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2


def quarters(corners: Float[Tensor, "F 3 3"]) -> Float[Tensor, "F 4 3 3"]:
    """Each triangle cut in four by the lines between the middles of its edges; all are wound as it is."""
    a, b, c = corners.unbind(1)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    return torch.stack([torch.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))], 1)


def closest_on_triangles(points: Float[Tensor, "N 3"], corners: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3"]:
    """Shares (barycentric coordinates) of the corners in the point of each triangle that is nearest to its point.

    A degenerate triangle counts as its edges.
    """
    a, b, c = corners.unbind(1)
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    v, w = (x / area.clamp_min(1e-20) for x in (d11 * d20 - d01 * d21, d00 * d21 - d01 * d20))
    inside = (v >= 0) & (w >= 0) & (v + w <= 1) & (area > FLAT * d00 * d11)
    zero = torch.zeros_like(v)
    along_ab, along_ac = (d20 / d00.clamp_min(1e-20)).clamp(0, 1), (d21 / d11.clamp_min(1e-20)).clamp(0, 1)
    bc = d00 + d11 - 2 * d01
    along_bc = ((d21 - d20 + d00 - d01) / bc.clamp_min(1e-20)).clamp(0, 1)
    candidates = torch.stack(
        [
            torch.stack([1 - v - w, v, w], -1),
            torch.stack([1 - along_ab, along_ab, zero], -1),
            torch.stack([1 - along_ac, zero, along_ac], -1),
            torch.stack([zero, 1 - along_bc, along_bc], -1),
        ],
        1,
    )
    distances = (candidates @ corners - points[:, None]).square().sum(-1)
    distances[:, 0] = torch.where(inside, distances[:, 0], torch.inf)
    return candidates[torch.arange(len(points), device=points.device), distances.argmin(1)]
