"""Lookups in `networks.triplane`'s hash table, compiled, with the table's gradient."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.networks.cpu import BLOCK
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32
FIRST, SECOND = np.array([0, 1, 0]), np.array([1, 2, 2])  # coordinates of the planes XY, YZ, XZ
Levels = tuple[ndarray, ndarray, ndarray, int, int]  # resolutions (L), hashed (L), offsets (planes L), mask, prime


@kernel
@no_type_check
def corners_of(points, n, plane, level, levels, rows, shares):
    """Rows of the table at the 4 corners of a point's cell, and their bilinear shares."""
    resolutions, hashed, offsets, mask, prime = levels
    resolution = resolutions[level]
    u, v = (points[n, FIRST[plane]] + f32(1)) * f32(0.5), (points[n, SECOND[plane]] + f32(1)) * f32(0.5)
    u, v = min(max(u, f32(0)), f32(1)) * f32(resolution), min(max(v, f32(0)), f32(1)) * f32(resolution)
    # A coordinate that is no number passes all of these; its cell must be one all the same.
    x, y = max(min(int(u), resolution - 1), 0), max(min(int(v), resolution - 1), 0)
    fx, fy = u - f32(x), v - f32(y)
    for k in range(4):
        i, j = x + (k >> 1), y + (k & 1)
        place = (i ^ (j * prime)) & mask if hashed[level] else i + j * (resolution + 1)
        rows[k] = place + offsets[plane, level]
        shares[k] = (fx if k >> 1 else f32(1) - fx) * (fy if k & 1 else f32(1) - fy)


@kernel
@no_type_check
def lookup(part, parts, points, levels, table, out):
    """out (N planes x L)."""
    rows, shares = np.empty(4, np.int64), np.empty(4, f32)
    planes, count = levels[2].shape
    for block in range(part, (len(points) + BLOCK - 1) // BLOCK, parts):
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(points))):
            for plane in range(planes):
                for level in range(count):
                    corners_of(points, n, plane, level, levels, rows, shares)
                    total = f32(0)
                    for k in range(4):
                        total += shares[k] * table[rows[k]]
                    out[n, plane * count + level] = total


@kernel
@no_type_check
def lookup_backward(part, parts, points, levels, v_out, v_table):
    """A part has levels of its own, whose rows of the table no other has."""
    rows, shares = np.empty(4, np.int64), np.empty(4, f32)
    planes, count = levels[2].shape
    for unit in range(part, planes * count, parts):
        for n in range(len(points)):
            corners_of(points, n, unit // count, unit % count, levels, rows, shares)
            for k in range(4):
                v_table[rows[k]] += shares[k] * v_out[n, unit]


class Lookup(torch.autograd.Function):
    """(points, table) to features; no gradient to the points."""

    @staticmethod
    def forward(ctx: Any, levels: Levels, points: Tensor, table: Tensor) -> Tensor:
        at = points.detach().contiguous().numpy()
        out = np.empty((len(at), levels[2].size), f32)
        spread(lookup, at, levels, table.detach().numpy()[:, 0], out)
        ctx.kept = levels, at, table.shape
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v_out: Tensor) -> tuple[None, None, Tensor]:  # type: ignore[override]
        levels, at, shape = ctx.kept
        v_table = np.zeros(shape, f32)
        spread(lookup_backward, at, levels, v_out.contiguous().numpy(), v_table[:, 0])
        return None, None, torch.from_numpy(v_table)
