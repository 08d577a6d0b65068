"""Maps of a moving mesh's triangles, as `geometry.triangles` has them, compiled, with their gradient."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.networks.cpu import BLOCK, STRIPS
from talkingavatar.networks.cpu.vectors import HALF, ONE, cross, dot, plus, unit, unit_backward
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
THIRD = f32(1 / 3)


@kernel
@no_type_check
def frame(vertices, faces, f):
    """Second edge; the frame's axes and the lengths they were divided by; height with its sign."""
    a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
    base, side = (b[0] - a[0], b[1] - a[1], b[2] - a[2]), (c[0] - a[0], c[1] - a[1], c[2] - a[2])
    along, length = unit(base)
    normal, area = unit(cross(along, side))
    third = cross(along, normal)
    return side, along, normal, third, length, area, dot(third, side)


@kernel
@no_type_check
def forward(part, parts, vertices, faces, out):
    """out (F 12): [scale x axes | centroid], row by row."""
    for block in range(part, (len(faces) + BLOCK - 1) // BLOCK, parts):
        for f in range(block * BLOCK, min((block + 1) * BLOCK, len(faces))):
            _, along, normal, third, length, _, height = frame(vertices, faces, f)
            scale = HALF * (length + abs(height))
            for i in range(3):
                out[f, 4 * i], out[f, 4 * i + 1], out[f, 4 * i + 2] = (
                    scale * along[i],
                    scale * normal[i],
                    scale * third[i],
                )
                total = vertices[faces[f, 0], i] + vertices[faces[f, 1], i] + vertices[faces[f, 2], i]
                out[f, 4 * i + 3] = THIRD * total


@kernel
@no_type_check
def backward(part, parts, vertices, faces, v_out, v_vertices):
    """v_vertices (STRIPS V 3): a sum a strip of the faces."""
    rows = (len(faces) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        for f in range(strip * rows, min((strip + 1) * rows, len(faces))):
            side, along, normal, third, length, area, height = frame(vertices, faces, f)
            scale, v = HALF * (length + abs(height)), v_out[f]
            g0, g1, g2 = (v[0], v[4], v[8]), (v[1], v[5], v[9]), (v[2], v[6], v[10])
            v_length = HALF * (dot(along, g0) + dot(normal, g1) + dot(third, g2))
            v_height = v_length if height >= 0 else -v_length
            v_third = plus((scale * g2[0], scale * g2[1], scale * g2[2]), v_height, side)
            v_along = plus(cross(normal, v_third), scale, g0)
            v_cross = unit_backward(normal, area, plus(cross(v_third, along), scale, g1))
            v_along = plus(v_along, ONE, cross(side, v_cross))
            v_side = plus(cross(v_cross, along), v_height, third)
            v_base = plus(unit_backward(along, length, v_along), v_length, along)
            for i in range(3):
                share = THIRD * v[4 * i + 3]
                v_vertices[strip, faces[f, 0], i] += share - v_base[i] - v_side[i]
                v_vertices[strip, faces[f, 1], i] += share + v_base[i]
                v_vertices[strip, faces[f, 2], i] += share + v_side[i]


class TriangleMaps(torch.autograd.Function):
    """(vertices, faces) to maps (F 3 4)."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> Tensor:
        arrays = vertices.detach().contiguous().numpy(), faces.numpy()
        out = np.empty((len(arrays[1]), 12), f32)
        spread(forward, *arrays, out)
        ctx.kept = arrays
        return torch.from_numpy(out.reshape(-1, 3, 4))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        vertices, faces = ctx.kept
        v_vertices = np.zeros((STRIPS, *vertices.shape), f32)
        spread(backward, vertices, faces, v_out.contiguous().numpy().reshape(-1, 12), v_vertices, shares=1)
        return torch.from_numpy(v_vertices.sum(0)), None
