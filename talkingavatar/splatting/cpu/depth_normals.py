"""Normals of the surface in a depth image, as `plain.depth_normals`, in two passes instead of forty."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
STRIP = 8  # rows per unit of work
TINY = f32(1e-12)


@kernel
@no_type_check
def cross_at(depth, K, y, x, down, right, normal):
    """Differences of a pixel's unprojected neighbours and their unit cross product; returns its length."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    u, v = (f32(x) + f32(0.5) - cx) / fx, (f32(y) + f32(0.5) - cy) / fy
    above, below, left, after = depth[y - 1, x], depth[y + 1, x], depth[y, x - 1], depth[y, x + 1]
    du, dv = f32(1) / fx, f32(1) / fy
    down[0], down[1], down[2] = (below - above) * u, (below - above) * v + (below + above) * dv, below - above
    right[0], right[1], right[2] = (after - left) * u + (after + left) * du, (after - left) * v, after - left
    a = down[1] * right[2] - down[2] * right[1]
    b = down[2] * right[0] - down[0] * right[2]
    c = down[0] * right[1] - down[1] * right[0]
    length = np.sqrt(a * a + b * b + c * c)
    inverse = f32(1) / max(length, TINY)
    normal[0], normal[1], normal[2] = a * inverse, b * inverse, c * inverse
    return length


@kernel
@no_type_check
def surface_forward(part, parts, depth, alpha, view, K, out):
    """Camera-space cross products, rotated to the world and weighted by alpha."""
    height, width = depth.shape
    down, right, normal = np.empty(3, f32), np.empty(3, f32), np.empty(3, f32)
    for strip in range(part, (height + STRIP - 1) // STRIP, parts):
        for y in range(strip * STRIP, min((strip + 1) * STRIP, height)):
            for x in range(width):
                inside = 0 < y < height - 1 and 0 < x < width - 1
                if not inside or alpha[y, x] == 0:
                    out[y, x, 0], out[y, x, 1], out[y, x, 2] = f32(0), f32(0), f32(0)
                    continue
                cross_at(depth, K, y, x, down, right, normal)
                for j in range(3):
                    turned = view[0, j] * normal[0] + view[1, j] * normal[1] + view[2, j] * normal[2]
                    out[y, x, j] = turned * alpha[y, x]


@kernel
@no_type_check
def surface_backward(part, parts, depth, alpha, view, K, v_out, v_depth, v_views):
    """Each strip also goes over the row above and below it, and adds only to the depths it owns."""
    height, width = depth.shape
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    down, right, n = np.empty(3, f32), np.empty(3, f32), np.empty(3, f32)
    g, v = np.empty(3, f32), np.empty(3, f32)
    for strip in range(part, len(v_views), parts):
        first, last = strip * STRIP, min((strip + 1) * STRIP, height)
        for y in range(max(first - 1, 1), min(last + 1, height - 1)):
            for x in range(1, width - 1):
                weight = alpha[y, x]
                if weight == 0:
                    continue
                length = max(cross_at(depth, K, y, x, down, right, n), TINY)
                g[0], g[1], g[2] = v_out[y, x, 0] * weight, v_out[y, x, 1] * weight, v_out[y, x, 2] * weight
                for i in range(3):
                    v[i] = view[i, 0] * g[0] + view[i, 1] * g[1] + view[i, 2] * g[2]
                    if first <= y < last:
                        for j in range(3):
                            v_views[strip, i, j] += n[i] * g[j]
                along = n[0] * v[0] + n[1] * v[1] + n[2] * v[2] if length > TINY else f32(0)
                a, b, c = (
                    (v[0] - along * n[0]) / length,
                    (v[1] - along * n[1]) / length,
                    (v[2] - along * n[2]) / length,
                )
                pu, pv = (f32(x) + f32(0.5) - cx) / fx, (f32(y) + f32(0.5) - cy) / fy
                # Slopes of `down` (right x v) and `right` (v x down), each dotted with the neighbour's ray.
                d0, d1, d2 = (
                    right[1] * c - right[2] * b,
                    right[2] * a - right[0] * c,
                    right[0] * b - right[1] * a,
                )
                r0, r1, r2 = b * down[2] - c * down[1], c * down[0] - a * down[2], a * down[1] - b * down[0]
                along_down, along_right = d0 * pu + d1 * pv + d2, r0 * pu + r1 * pv + r2
                if first <= y < last:
                    v_depth[y, x + 1] += along_right + r0 / fx
                    v_depth[y, x - 1] -= along_right - r0 / fx
                if first <= y + 1 < last:
                    v_depth[y + 1, x] += along_down + d1 / fy
                if first <= y - 1 < last:
                    v_depth[y - 1, x] -= along_down - d1 / fy


class _Surface(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depth: Tensor, alpha: Tensor, view: Tensor, K: Tensor) -> Tensor:
        ctx.save_for_backward(depth, alpha, view, K)
        out = torch.empty(*depth.shape[:2], 3)
        planes = depth.numpy()[..., 0], alpha.numpy()[..., 0]
        spread(surface_forward, *planes, view.numpy(), K.numpy(), out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        depth, alpha, view, K = (x.numpy() for x in ctx.saved_tensors)
        v_depth = torch.zeros(depth.shape)
        v_views = np.zeros(((len(depth) + STRIP - 1) // STRIP, 3, 3), np.float32)
        gradients = v_out.contiguous().numpy(), v_depth.numpy()[..., 0], v_views
        spread(surface_backward, depth[..., 0], alpha[..., 0], view, K, *gradients)
        v_view = torch.zeros(4, 4)
        v_view[:3, :3] = torch.from_numpy(v_views.sum(0, dtype=np.float64))
        return v_depth, None, v_view, None


def surface_normals(
    depth: Float[Tensor, "H W 1"],
    alpha: Float[Tensor, "H W 1"],
    view: Float[Tensor, "4 4"],
    K: Float[Tensor, "3 3"],
) -> Float[Tensor, "H W 3"]:
    """Unit normals (world space, facing the camera) times alpha, which gets no gradient."""
    return _Surface.apply(depth.contiguous(), alpha.detach().contiguous(), view.contiguous(), K.contiguous())
