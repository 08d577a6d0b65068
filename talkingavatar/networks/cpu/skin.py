"""The skinning field at every Gaussian, as `networks.skinning` says it in plain torch."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.networks.cpu import BLOCK, STRIPS
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
LEAST = f32(1e-8)  # of a weight before they are made to sum to one
Sparse = tuple[ndarray, ndarray, ndarray]  # starts (rows + 1), joints (E), weights (E)


@kernel
@no_type_check
def blend(part, parts, starts, joints, weights, residual, transforms, out):
    """Each row's transforms (12 numbers) blended by its weights; by convex ones where there is a residual."""
    rows, learned = len(starts) - 1, len(residual) > 0
    for block in range(part, (rows + BLOCK - 1) // BLOCK, parts):
        for a in range(block * BLOCK, min((block + 1) * BLOCK, rows)):
            total = f32(0)
            for c in range(12):
                out[a, c] = f32(0)
            for e in range(starts[a], starts[a + 1]):
                weight = max(weights[e] + residual[e], LEAST) if learned else weights[e]
                total += weight
                for c in range(12):
                    out[a, c] += weight * transforms[joints[e], c]
            if learned:
                for c in range(12):
                    out[a, c] /= total


@kernel
@no_type_check
def blend_backward(part, parts, starts, joints, weights, residual, transforms, v_strips, v_residual, v_transforms):
    """From the strips of the rows' gradients (STRIPS rows 12); v_transforms (blocks J 12) has a sum a block."""
    rows, learned = len(starts) - 1, len(residual) > 0
    v = np.empty(12, f32)
    for block in range(part, len(v_transforms), parts):
        for a in range(block * BLOCK, min((block + 1) * BLOCK, rows)):
            for c in range(12):
                v[c] = v_strips[0, a, c]
                for strip in range(1, STRIPS):
                    v[c] += v_strips[strip, a, c]
            total, along = f32(1), f32(0)
            if learned:
                total = f32(0)
                for e in range(starts[a], starts[a + 1]):
                    total += max(weights[e] + residual[e], LEAST)
            for e in range(starts[a], starts[a + 1]):
                weight = (max(weights[e] + residual[e], LEAST) if learned else weights[e]) / total
                slope = f32(0)
                for c in range(12):
                    slope += v[c] * transforms[joints[e], c]
                    v_transforms[block, joints[e], c] += weight * v[c]
                if learned:
                    v_residual[e] = slope
                    along += weight * slope
            if learned:
                for e in range(starts[a], starts[a + 1]):
                    clamped = weights[e] + residual[e] < LEAST
                    v_residual[e] = f32(0) if clamped else (v_residual[e] - along) / total


@kernel
@no_type_check
def cell(coordinate, lower, upper, size):
    """The node below a coordinate and the fraction of the way to the next."""
    position = (coordinate - lower) / (upper - lower) * f32(size - 1)
    position = min(max(position, f32(0)), f32(size - 1))
    low = max(min(int(position), size - 2), 0)  # also of a position that is no number
    return low, position - f32(low)


@kernel
@no_type_check
def corners_of(points, g, grid, nodes, shares):
    """The 8 nodes round a point and their trilinear shares."""
    lower, upper, node_of_voxel = grid
    size = node_of_voxel.shape[0]
    x, fx = cell(points[g, 0], lower[0], upper[0], size)
    y, fy = cell(points[g, 1], lower[1], upper[1], size)
    z, fz = cell(points[g, 2], lower[2], upper[2], size)
    for k in range(8):
        right, up, far = k >> 2, (k >> 1) & 1, k & 1
        share = (fx if right else f32(1) - fx) * (fy if up else f32(1) - fy)
        shares[k] = share * (fz if far else f32(1) - fz)
        nodes[k] = node_of_voxel[x + right, y + up, z + far]


@kernel
@no_type_check
def add_row(row, share, into):
    """into += share x row, 12 numbers: written out, or compilers make no vector instructions of them."""
    into[0] += share * row[0]
    into[1] += share * row[1]
    into[2] += share * row[2]
    into[3] += share * row[3]
    into[4] += share * row[4]
    into[5] += share * row[5]
    into[6] += share * row[6]
    into[7] += share * row[7]
    into[8] += share * row[8]
    into[9] += share * row[9]
    into[10] += share * row[10]
    into[11] += share * row[11]


@kernel
@no_type_check
def gather(part, parts, points, grid, blended, corners, beside, anchors, out):
    """What the grid blends at each point, and the mean of what its vertices (corners, beside: N K) add."""
    nodes, shares = np.empty(8, np.int64), np.empty(8, f32)
    for block in range(part, (len(points) + BLOCK - 1) // BLOCK, parts):
        for g in range(block * BLOCK, min((block + 1) * BLOCK, len(points))):
            corners_of(points, g, grid, nodes, shares)
            out[g] = f32(0)
            if len(anchors) > 0:
                for k in range(corners.shape[1]):
                    add_row(anchors[corners[g, k]], beside[g, k], out[g])
            for k in range(8):
                add_row(blended[nodes[k]], shares[k], out[g])


@kernel
@no_type_check
def scatter(part, parts, points, grid, corners, beside, v_out, v_blended, v_anchors):
    """Gradients of nodes (STRIPS A 12) and anchors (STRIPS V 12, or empty): a sum a strip of the points."""
    nodes, shares = np.empty(8, np.int64), np.empty(8, f32)
    length = (len(points) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        for g in range(strip * length, min((strip + 1) * length, len(points))):
            corners_of(points, g, grid, nodes, shares)
            for k in range(8):
                add_row(v_out[g], shares[k], v_blended[strip, nodes[k]])
            if v_anchors.shape[1] > 0:
                for k in range(corners.shape[1]):
                    add_row(v_out[g], beside[g, k], v_anchors[strip, corners[g, k]])


class Skin(torch.autograd.Function):
    """(points, residual, transforms) to maps (N 12); no gradient to the points.

    `field`: sparse weights of the nodes; `anchors`: of the vertices, what the grid misses of them, or None; `corners`
    and `beside`: of which vertices each point has how much.
    """

    @staticmethod
    def forward(
        ctx: Any,
        field: Sparse,
        grid: tuple[ndarray, ndarray, ndarray],
        anchors: Sparse | None,
        corners: Tensor,
        beside: Tensor,
        points: Tensor,
        residual: Tensor,
        transforms: Tensor,
    ) -> Tensor:
        arrays = [x.contiguous().numpy() for x in (points, residual, transforms)]
        blended = _blended(field, arrays[1], arrays[2])
        nothing = np.empty(0, f32)
        missing = np.empty((0, 12), f32) if anchors is None else _blended(anchors, nothing, arrays[2])
        out = np.empty((len(points), 12), f32)
        read = corners.numpy(), beside.contiguous().numpy()
        spread(gather, arrays[0], grid, blended, *read, missing, out)
        ctx.kept = (field, grid, anchors, read, arrays)
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        field, grid, anchors, read, (points, residual, transforms) = ctx.kept
        nodes, vertices = (0 if rows is None else len(rows[0]) - 1 for rows in (field, anchors))
        v_blended, v_anchors = (np.zeros((STRIPS, rows, 12), f32) for rows in (nodes, vertices))
        spread(scatter, points, grid, *read, v_out.contiguous().numpy(), v_blended, v_anchors, shares=1)
        v_residual, v_transforms = _blended_backward(field, residual, transforms, v_blended)
        if anchors is not None:
            v_transforms += _blended_backward(anchors, np.empty(0, f32), transforms, v_anchors)[1]
        return None, None, None, None, None, None, torch.from_numpy(v_residual), torch.from_numpy(v_transforms)


def _blended(weights: Sparse, residual: ndarray, transforms: ndarray) -> ndarray:
    out = np.empty((len(weights[0]) - 1, 12), f32)
    spread(blend, *weights, residual, transforms, out)
    return out


def _blended_backward(
    weights: Sparse, residual: ndarray, transforms: ndarray, v_strips: ndarray
) -> tuple[ndarray, ndarray]:
    blocks = (v_strips.shape[1] + BLOCK - 1) // BLOCK
    v_residual, v_transforms = np.zeros_like(residual), np.zeros((blocks, *transforms.shape), f32)
    spread(blend_backward, *weights, residual, transforms, v_strips, v_residual, v_transforms)
    return v_residual, v_transforms.sum(0, dtype=np.float64).astype(f32)
