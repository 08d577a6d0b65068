"""`geometry.triangles.closest_on_triangles` compiled."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from torch import Tensor

from talkingavatar.geometry import triangles
from talkingavatar.networks.cpu import BLOCK
from talkingavatar.networks.cpu.vectors import ONE, dot
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
ZERO, LEAST, FLAT = f32(0), f32(1e-20), f32(triangles.FLAT)


@kernel
@no_type_check
def along(numerator, length):
    """How far along an edge, within it."""
    return min(max(numerator / max(length, LEAST), ZERO), ONE)


@kernel
@no_type_check
def squared(ab, ac, ap, v, w):
    """Squared distance of a point of the triangle's plane from the given one."""
    rest = (ap[0] - v * ab[0] - w * ac[0], ap[1] - v * ab[1] - w * ac[1], ap[2] - v * ab[2] - w * ac[2])
    return dot(rest, rest)


@kernel
@no_type_check
def shares_of(part, parts, points, vertices, corners, out):
    """out (N 3): inside the triangle where the foot of the perpendicular is, else on its nearest edge."""
    for block in range(part, (len(points) + BLOCK - 1) // BLOCK, parts):
        for g in range(block * BLOCK, min((block + 1) * BLOCK, len(points))):
            a, b, c, p = vertices[corners[g, 0]], vertices[corners[g, 1]], vertices[corners[g, 2]], points[g]
            ab, ac = (b[0] - a[0], b[1] - a[1], b[2] - a[2]), (c[0] - a[0], c[1] - a[1], c[2] - a[2])
            ap = (p[0] - a[0], p[1] - a[1], p[2] - a[2])
            d00, d01, d11, d20, d21 = dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac)
            area = d00 * d11 - d01 * d01
            v, w = (d11 * d20 - d01 * d21) / max(area, LEAST), (d00 * d21 - d01 * d20) / max(area, LEAST)
            if not (v >= ZERO and w >= ZERO and v + w <= ONE and area > FLAT * d00 * d11):
                v, w = along(d20, d00), ZERO
                least = squared(ab, ac, ap, v, w)
                t = along(d21, d11)
                other = squared(ab, ac, ap, ZERO, t)
                if other < least:
                    v, w, least = ZERO, t, other
                t = along(d21 - d20 + d00 - d01, d00 + d11 - d01 - d01)
                if squared(ab, ac, ap, ONE - t, t) < least:
                    v, w = ONE - t, t
            out[g, 0], out[g, 1], out[g, 2] = ONE - v - w, v, w


def nearest_shares_cpu(points: Tensor, vertices: Tensor, corners: Tensor) -> Tensor:
    """Of float32 CPU tensors."""
    out = np.empty((len(points), 3), f32)
    spread(shares_of, points.contiguous().numpy(), vertices.numpy(), corners.numpy(), out)
    return torch.from_numpy(out)
