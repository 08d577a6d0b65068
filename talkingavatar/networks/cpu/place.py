"""`networks.placing.place` compiled, with its gradient."""

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
    column,
    conjugate,
    dot,
    gram_schmidt,
    gram_schmidt_backward,
    multiply,
    plus,
    quat_of,
    quat_of_backward,
    unit_quat,
)
from talkingavatar.networks.footing import NOWHERE, Footing
from talkingavatar.splatting.cpu.launch import kernel, spread

f32 = np.float32


@kernel
@no_type_check
def displaced(means, g, offsets, corners, shares):
    """A mean with the offsets of where it stands, where there are any."""
    mean = (means[g, 0], means[g, 1], means[g, 2])
    if len(corners) > 0:
        for k in range(corners.shape[1]):
            mean = plus(mean, shares[g, k], offsets[corners[g, k]])
    return mean


@kernel
@no_type_check
def turns(part, parts, maps, out):
    """out (M 5): the quaternion each map turns by, and the length of its first column."""
    for block in range(part, (len(maps) + BLOCK - 1) // BLOCK, parts):
        for m in range(block * BLOCK, min((block + 1) * BLOCK, len(maps))):
            x, y, z, length, _, _ = gram_schmidt(column(maps[m], 0), column(maps[m], 1))
            out[m, 0], out[m, 1], out[m, 2], out[m, 3] = quat_of(x, y, z)
            out[m, 4] = length


@kernel
@no_type_check
def place_forward(part, parts, local, maps, turned, carrier, offsets, corners, shares, scaled, out):
    """local, out: means, quats, scales. Without carriers each Gaussian has its own map."""
    means, quats, scales = local
    to_means, to_quats, to_scales = out
    for block in range(part, (len(means) + BLOCK - 1) // BLOCK, parts):
        for g in range(block * BLOCK, min((block + 1) * BLOCK, len(means))):
            m = carrier[g] if len(carrier) > 0 else g
            mean, row = displaced(means, g, offsets, corners, shares), maps[m]
            own, _ = unit_quat(quats[g])
            q = multiply(turned[m], own)
            to_quats[g, 0], to_quats[g, 1], to_quats[g, 2], to_quats[g, 3] = q
            grown = turned[m, 4] if scaled else ONE
            for i in range(3):
                to_means[g, i] = dot(row[4 * i : 4 * i + 3], mean) + row[4 * i + 3]
                to_scales[g, i] = scales[g, i] * grown


@kernel
@no_type_check
def map_backward(row, turn, v_turn, v_length, v_row):
    """Add to a map's gradient what its rotation and the length of its first column bring."""
    b = column(row, 1)
    x, y, z, length, rest, along = gram_schmidt(column(row, 0), b)
    v_x, v_y, v_z = quat_of_backward(turn, x, y, z, v_turn)
    v_a, v_b = gram_schmidt_backward(b, x, y, length, rest, along, v_x, v_y, v_z)
    v_a = plus(v_a, v_length, x)
    for i in range(3):
        v_row[4 * i] += v_a[i]
        v_row[4 * i + 1] += v_b[i]


@kernel
@no_type_check
def place_backward(
    part, parts, local, maps, turned, carrier, offsets, corners, shares, scaled, v_out, v_local, v_maps, v_offsets
):
    """v_maps (STRIPS M 12; 1 N 12 without carriers), v_offsets (STRIPS V 3) get a sum a strip; v_local is written.

    v_maps is empty where nothing is learned through the maps.
    """
    means, quats, scales = local
    v_to_means, v_to_quats, v_to_scales = v_out
    v_means, v_quats, v_scales = v_local
    rows = (len(means) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        for g in range(strip * rows, min((strip + 1) * rows, len(means))):
            m = carrier[g] if len(carrier) > 0 else g
            mean, row, turn = displaced(means, g, offsets, corners, shares), maps[m], turned[m]
            own, length = unit_quat(quats[g])
            v_own = multiply(conjugate(turn), v_to_quats[g])
            over = own[0] * v_own[0] + own[1] * v_own[1] + own[2] * v_own[2] + own[3] * v_own[3]
            for i in range(4):
                v_quats[g, i] = (v_own[i] - own[i] * over) / length
            v_grown, grown = f32(0), turn[4] if scaled else ONE
            for i in range(3):
                v_means[g, i] = dot(column(row, i), v_to_means[g])
                v_scales[g, i] = v_to_scales[g, i] * grown
                v_grown += v_to_scales[g, i] * scales[g, i]
                if len(corners) > 0:
                    for k in range(corners.shape[1]):
                        v_offsets[strip, corners[g, k], i] += shares[g, k] * v_means[g, i]
            if len(v_maps) > 0:
                v_row = v_maps[strip if len(carrier) > 0 else 0, m]
                for i in range(3):
                    slope = v_to_means[g, i]
                    v_row[4 * i + 3] += slope
                    for k in range(3):
                        v_row[4 * i + k] += slope * mean[k]
                map_backward(row, turn, multiply(v_to_quats[g], conjugate(own)), v_grown if scaled else f32(0), v_row)


class Place(torch.autograd.Function):
    """(means, quats, scales, maps, offsets) to means, quats, scales in the world."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, footing: Footing, scaled: bool, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        *local, maps, offsets = (x.contiguous().numpy() for x in inputs)
        out = tuple(np.empty_like(x) for x in local)
        rows = maps.reshape(-1, 12)
        turned = np.empty((len(rows), 5), f32)
        spread(turns, rows, turned)
        read = footing.corners.numpy(), footing.shares.contiguous().numpy()
        fixed = (tuple(local), rows, turned, carrier.numpy(), offsets, *read, scaled)
        spread(place_forward, *fixed, out)
        ctx.fixed = fixed
        return tuple(torch.from_numpy(x) for x in out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        local, maps, _, carrier, offsets, *_ = ctx.fixed
        v_out = tuple(
            np.zeros_like(x) if v is None else v.contiguous().numpy() for x, v in zip(local, v_outputs, strict=True)
        )
        v_local = tuple(np.empty_like(x) for x in local)
        learned = ctx.needs_input_grad[6]
        v_maps = np.zeros(((STRIPS if len(carrier) else 1) if learned else 0, *maps.shape), f32)
        v_offsets = np.zeros((STRIPS, *offsets.shape), f32)
        spread(place_backward, *ctx.fixed, v_out, v_local, v_maps, v_offsets, shares=1)
        of_maps = torch.from_numpy(_summed(v_maps).reshape(-1, 3, 4)) if learned else None
        of_local = (torch.from_numpy(x) for x in v_local)
        return (None, None, None, *of_local, of_maps, torch.from_numpy(_summed(v_offsets)))


def _summed(strips: ndarray) -> ndarray:
    return strips[0] if len(strips) == 1 else strips.sum(0)


def place_cpu(
    local: tuple[Tensor, Tensor, Tensor],
    maps: Tensor,
    carrier: Tensor | None,
    offsets: tuple[Tensor, Footing] | None,
    scaled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`placing.place` of float32 CPU tensors."""
    values, footing = (maps.new_zeros(0, 3), NOWHERE) if offsets is None else offsets
    own = torch.zeros(0, dtype=torch.long)
    return Place.apply(own if carrier is None else carrier, footing, scaled, *local, maps, values)
