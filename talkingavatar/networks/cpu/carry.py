"""How a skin has deformed, and Gaussians carried with it, as `networks.skin_surface` says it in plain torch."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.networks.cpu import BLOCK, STRIPS
from talkingavatar.networks.cpu.vectors import (
    ONE,
    axes_of,
    axes_of_backward,
    cross,
    dot,
    gram_schmidt,
    gram_schmidt_backward,
    plus,
    quat_of,
    quat_of_backward,
    unit,
    unit_backward,
    unit_quat,
)
from talkingavatar.networks.footing import FAR, NEAR, Footing
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
Skin = tuple[ndarray, ...]  # starts (R + 1), edges (E 2), slopes (E 2), tangents (R 3 2), normals (R 3)
ZERO, HIGH, SPAN = f32(0), f32(FAR), f32(FAR - NEAR)
NOTHING = (ZERO, ZERO, ZERO)


@kernel
@no_type_check
def tangents_moved(skin, offsets, r):
    """A vertex's two tangents as the offsets of its neighbours take them along."""
    starts, edges, slopes, tangents, _ = skin
    first = (tangents[r, 0, 0], tangents[r, 1, 0], tangents[r, 2, 0])
    second = (tangents[r, 0, 1], tangents[r, 1, 1], tangents[r, 2, 1])
    for e in range(starts[r], starts[r + 1]):
        step = plus(offsets[edges[e, 1]], -ONE, offsets[edges[e, 0]])
        first, second = plus(first, slopes[e, 0], step), plus(second, slopes[e, 1], step)
    return first, second


@kernel
@no_type_check
def gradients(part, parts, skin, offsets, out):
    """out (R 9): each row's deformation gradient."""
    tangents, normals = skin[3], skin[4]
    for block in range(part, (len(out) + BLOCK - 1) // BLOCK, parts):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, len(out))):
            first, second = tangents_moved(skin, offsets, r)
            across, _ = unit(cross(first, second))
            for i in range(3):
                for j in range(3):
                    along = first[i] * tangents[r, j, 0] + second[i] * tangents[r, j, 1]
                    out[r, 3 * i + j] = along + across[i] * normals[r, j]


@kernel
@no_type_check
def gradients_backward(part, parts, skin, offsets, v_out, v_offsets):
    """v_offsets (STRIPS V 3): a sum a strip of the rows."""
    starts, edges, slopes, tangents, normals = skin
    rows = (len(v_out) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        v = v_offsets[strip]
        for r in range(strip * rows, min((strip + 1) * rows, len(v_out))):
            first, second = tangents_moved(skin, offsets, r)
            across, area = unit(cross(first, second))
            v_first = v_second = v_across = NOTHING
            for j in range(3):
                column = (v_out[r, j], v_out[r, 3 + j], v_out[r, 6 + j])
                v_first, v_second = plus(v_first, tangents[r, j, 0], column), plus(v_second, tangents[r, j, 1], column)
                v_across = plus(v_across, normals[r, j], column)
            v_cross = unit_backward(across, area, v_across)
            v_first, v_second = plus(v_first, ONE, cross(second, v_cross)), plus(v_second, ONE, cross(v_cross, first))
            for e in range(starts[r], starts[r + 1]):
                for i in range(3):
                    slope = slopes[e, 0] * v_first[i] + slopes[e, 1] * v_second[i]
                    v[edges[e, 1], i] += slope
                    v[edges[e, 0], i] -= slope


@kernel
@no_type_check
def stretch_at(g, means, stands):
    """From where a Gaussian stands to where it is; how near that counts as; rows of the stretch, less the unit."""
    corners, shares, resting, row, gradient = stands
    height = (means[g, 0], means[g, 1], means[g, 2])
    x, y, z = (-ONE, ZERO, ZERO), (ZERO, -ONE, ZERO), (ZERO, ZERO, -ONE)
    for k in range(corners.shape[1]):
        there, share = gradient[row[corners[g, k]]], shares[g, k]
        height = plus(height, -share, resting[corners[g, k]])
        x, y, z = plus(x, share, there[0:3]), plus(y, share, there[3:6]), plus(z, share, there[6:9])
    near = min(max((HIGH - np.sqrt(dot(height, height))) / SPAN, ZERO), ONE)
    return height, near, (plus(NOTHING, near, x), plus(NOTHING, near, y), plus(NOTHING, near, z))


@kernel
@no_type_check
def through(stretch, a):
    """a + stretch a."""
    return a[0] + dot(stretch[0], a), a[1] + dot(stretch[1], a), a[2] + dot(stretch[2], a)


@kernel
@no_type_check
def back_through(stretch, v):
    """v + stretch transposed v."""
    return plus(plus(plus(v, v[0], stretch[0]), v[1], stretch[1]), v[2], stretch[2])


@kernel
@no_type_check
def carried_axes(stretch, own):
    """A Gaussian's axes, and what the stretch makes of them."""
    r = axes_of(own)
    return r, (through(stretch, r[0]), through(stretch, r[1]), through(stretch, r[2]))


@kernel
@no_type_check
def carry(part, parts, chosen, local, stands, out):
    """local, out: means, quats, scales; only the chosen rows are written."""
    means, quats, scales = local
    to_means, to_quats, to_scales = out
    for block in range(part, (len(chosen) + BLOCK - 1) // BLOCK, parts):
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(chosen))):
            g = chosen[n]
            height, _, stretch = stretch_at(g, means, stands)
            own, _ = unit_quat(quats[g])
            _, (a, b, c) = carried_axes(stretch, own)
            x, y, z, _, _, _ = gram_schmidt(a, b)
            to_quats[g, 0], to_quats[g, 1], to_quats[g, 2], to_quats[g, 3] = quat_of(x, y, z)
            lengths = (dot(x, a), dot(y, b), dot(z, c))
            for i in range(3):
                to_means[g, i] = means[g, i] + dot(stretch[i], height)
                to_scales[g, i] = scales[g, i] * abs(lengths[i])


@kernel
@no_type_check
def axes_backward(g, carried, turned, scales, v_turned, v_to_scales, v_scales):
    """Gradients of the carried axes from those of quaternions and scales; those of the scales are written."""
    a, b, c = carried
    x, y, z, length, rest, along = gram_schmidt(a, b)
    lengths = (dot(x, a), dot(y, b), dot(z, c))
    for i in range(3):
        v_scales[g, i] = v_to_scales[g, i] * abs(lengths[i])
    u, v = v_to_scales[g, 0] * scales[g, 0], v_to_scales[g, 1] * scales[g, 1]
    w = v_to_scales[g, 2] * (scales[g, 2] if lengths[2] >= ZERO else -scales[g, 2])
    v_x, v_y, v_z = quat_of_backward(turned, x, y, z, v_turned)
    v_x, v_y, v_z = plus(v_x, u, a), plus(v_y, v, b), plus(v_z, w, c)
    v_a, v_b = gram_schmidt_backward(b, x, y, length, rest, along, v_x, v_y, v_z)
    return plus(v_a, u, x), plus(v_b, v, y), plus(NOTHING, w, z)


@kernel
@no_type_check
def carry_backward(part, parts, chosen, local, stands, turned, v_out, v_local, v_gradient):
    """v_local is written in the chosen rows; v_gradient (STRIPS R 9): a sum a strip of them.

    `turned`: the quaternions that `carry` made.
    """
    means, quats, scales = local
    corners, shares, _, row, _ = stands
    v_to_means, v_to_quats, v_to_scales = v_out
    v_means, v_quats, v_scales = v_local
    rows = (len(chosen) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        for n in range(strip * rows, min((strip + 1) * rows, len(chosen))):
            g = chosen[n]
            height, near, stretch = stretch_at(g, means, stands)
            own, size = unit_quat(quats[g])
            r, carried = carried_axes(stretch, own)
            v_mean = (v_to_means[g, 0], v_to_means[g, 1], v_to_means[g, 2])
            v_turned = (v_to_quats[g, 0], v_to_quats[g, 1], v_to_quats[g, 2], v_to_quats[g, 3])
            v = axes_backward(g, carried, turned[g], scales, v_turned, v_to_scales, v_scales)
            v_r = back_through(stretch, v[0]), back_through(stretch, v[1]), back_through(stretch, v[2])
            v_own = axes_of_backward(own, r, v_r)
            for i in range(4):
                v_quats[g, i] = v_own[i] / size
            v_resting = back_through(stretch, v_mean)
            for i in range(3):
                v_means[g, i] = v_resting[i]
                v_row = plus(plus(plus(NOTHING, v[0][i], r[0]), v[1][i], r[1]), v[2][i], r[2])
                v_row = plus(v_row, v_mean[i], height)
                for k in range(corners.shape[1]):
                    share, at = near * shares[g, k], row[corners[g, k]]
                    for j in range(3):
                        v_gradient[strip, at, 3 * i + j] += share * v_row[j]


class Gradient(torch.autograd.Function):
    """(offsets) to deformation gradients (R 3 3); `skin`: what `SkinGradient.arrays` gives."""

    @staticmethod
    def forward(ctx: Any, skin: Skin, offsets: Tensor) -> Tensor:
        read = offsets.detach().contiguous().numpy()
        out = np.empty((len(skin[0]) - 1, 9), f32)
        spread(gradients, skin, read, out)
        ctx.kept = skin, read
        return torch.from_numpy(out).unflatten(-1, (3, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        skin, offsets = ctx.kept
        v_offsets = np.zeros((STRIPS, *offsets.shape), f32)
        spread(gradients_backward, skin, offsets, v_out.contiguous().numpy().reshape(-1, 9), v_offsets, shares=1)
        return None, torch.from_numpy(v_offsets.sum(0))


class Carry(torch.autograd.Function):
    """(means, quats, scales, gradient) to means, quats, scales on the deformed skin."""

    @staticmethod
    def forward(ctx: Any, chosen: Tensor, footing: Footing, resting: Tensor, row: Tensor, *inputs: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        *local, gradient = (x.detach().contiguous().numpy() for x in inputs)
        read = footing.corners.numpy(), footing.shares.contiguous().numpy(), resting.numpy(), row.numpy()
        out = tuple(x.copy() for x in local)
        ctx.fixed = chosen.numpy(), tuple(local), (*read, gradient.reshape(-1, 9))
        spread(carry, *ctx.fixed, out)
        ctx.turned = out[1]
        return tuple(torch.from_numpy(x) for x in out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        _, local, (*_, gradient) = ctx.fixed
        v_out = tuple(
            np.zeros_like(x) if v is None else v.contiguous().numpy() for x, v in zip(local, v_outputs, strict=True)
        )
        v_local, v_gradient = tuple(v.copy() for v in v_out), np.zeros((STRIPS, *gradient.shape), f32)
        spread(carry_backward, *ctx.fixed, ctx.turned, v_out, v_local, v_gradient, shares=1)
        gradients = *v_local, v_gradient.sum(0).reshape(-1, 3, 3)
        return (None, None, None, None, *(torch.from_numpy(x) for x in gradients))
