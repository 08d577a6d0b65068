"""`networks.placing.place` compiled, with its gradient."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import TYPE_CHECKING, Any, no_type_check

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from torch.autograd.function import once_differentiable

from talkingavatar.networks.cpu import BLOCK, STRIPS
from talkingavatar.splatting.cpu.launch import kernel, spread

if TYPE_CHECKING:
    from talkingavatar.networks.placing import Local, Offsets

f32 = np.float32
HALF, ONE, TWO = f32(0.5), f32(1), f32(2)
TINY = f32(1e-12)  # as torch's normalize guards its division


@kernel
@no_type_check
def gram_schmidt(row, R):
    """Columns of the rotation nearest to a map's linear part; returns the lengths it divided by and the projection."""
    ax, ay, az, bx, by, bz = row[0], row[4], row[8], row[1], row[5], row[9]
    length = max(np.sqrt(ax * ax + ay * ay + az * az), TINY)
    xx, xy, xz = ax / length, ay / length, az / length
    along = xx * bx + xy * by + xz * bz
    ux, uy, uz = bx - along * xx, by - along * xy, bz - along * xz
    rest = max(np.sqrt(ux * ux + uy * uy + uz * uz), TINY)
    yx, yy, yz = ux / rest, uy / rest, uz / rest
    R[0, 0], R[1, 0], R[2, 0] = xx, xy, xz
    R[0, 1], R[1, 1], R[2, 1] = yx, yy, yz
    R[0, 2], R[1, 2], R[2, 2] = xy * yz - xz * yy, xz * yx - xx * yz, xx * yy - xy * yx
    return length, rest, along


@kernel
@no_type_check
def quat_of(R, q):
    """The unit quaternion of a rotation, its largest component positive."""
    d0, d1, d2 = R[0, 0], R[1, 1], R[2, 2]
    s0, s1, s2, s3 = ONE + d0 + d1 + d2, ONE + d0 - d1 - d2, ONE - d0 + d1 - d2, ONE - d0 - d1 + d2
    best = max(max(s0, s1), max(s2, s3))
    n = HALF / np.sqrt(best)
    if s0 == best:
        q[0], q[1], q[2], q[3] = s0, R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    elif s1 == best:
        q[0], q[1], q[2], q[3] = R[2, 1] - R[1, 2], s1, R[0, 1] + R[1, 0], R[0, 2] + R[2, 0]
    elif s2 == best:
        q[0], q[1], q[2], q[3] = R[0, 2] - R[2, 0], R[0, 1] + R[1, 0], s2, R[1, 2] + R[2, 1]
    else:
        q[0], q[1], q[2], q[3] = R[1, 0] - R[0, 1], R[0, 2] + R[2, 0], R[1, 2] + R[2, 1], s3
    for i in range(4):
        q[i] *= n


@kernel
@no_type_check
def multiply(a, b, out):
    """Hamilton product."""
    out[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
    out[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2]
    out[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1]
    out[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]


@kernel
@no_type_check
def unit(quats, g, sign, out):
    """A quaternion at length one into out, its conjugate for sign -1; returns the length."""
    q = quats[g]
    length = max(np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]), TINY)
    out[0] = q[0] / length
    for i in range(1, 4):
        out[i] = sign * q[i] / length
    return length


@kernel
@no_type_check
def place_forward(part, parts, local, maps, carrier, offsets, vertex, scaled, out):
    """local, out: means, quats, scales (log, then metres). Without carriers each has its own map."""
    means, quats, log_scales = local
    to_means, to_quats, to_scales = out
    R, turn, own = np.empty((3, 3), f32), np.empty(4, f32), np.empty(4, f32)
    for block in range(part, (len(means) + BLOCK - 1) // BLOCK, parts):
        for g in range(block * BLOCK, min((block + 1) * BLOCK, len(means))):
            row = maps[carrier[g] if len(carrier) > 0 else g]
            length, _, _ = gram_schmidt(row, R)
            x, y, z = means[g, 0], means[g, 1], means[g, 2]
            if len(vertex) > 0:
                v = vertex[g]
                x, y, z = x + offsets[v, 0], y + offsets[v, 1], z + offsets[v, 2]
            quat_of(R, turn)
            unit(quats, g, ONE, own)
            multiply(turn, own, to_quats[g])
            grown = length if scaled else ONE
            for i in range(3):
                to_means[g, i] = row[4 * i] * x + row[4 * i + 1] * y + row[4 * i + 2] * z + row[4 * i + 3]
                to_scales[g, i] = np.exp(log_scales[g, i]) * grown


@kernel
@no_type_check
def turn_backward(R, turn, v_turn, v_R):
    """Gradient of a rotation's matrix from that of its quaternion: along the rotations, where alone it matters."""
    w, x, y, z = turn[0], turn[1], turn[2], turn[3]
    a, b, c, d = v_turn[0], v_turn[1], v_turn[2], v_turn[3]
    # A small turn by t changes the quaternion by (0, t / 2) times itself; half of its cross matrix times R undoes it.
    tx = HALF * HALF * (b * w - a * x - c * z + d * y)
    ty = HALF * HALF * (c * w - a * y - d * x + b * z)
    tz = HALF * HALF * (d * w - a * z - b * y + c * x)
    for k in range(3):
        v_R[0, k] = ty * R[2, k] - tz * R[1, k]
        v_R[1, k] = tz * R[0, k] - tx * R[2, k]
        v_R[2, k] = tx * R[1, k] - ty * R[0, k]


@kernel
@no_type_check
def schmidt_backward(row, R, v_R, length, rest, along, v_length, v_row):
    """Add to a map's gradient what its rotation and the length of its first column bring."""
    xx, xy, xz, yx, yy, yz = R[0, 0], R[1, 0], R[2, 0], R[0, 1], R[1, 1], R[2, 1]
    px, py, pz, qx, qy, qz = v_R[0, 0], v_R[1, 0], v_R[2, 0], v_R[0, 1], v_R[1, 1], v_R[2, 1]
    zx, zy, zz = v_R[0, 2], v_R[1, 2], v_R[2, 2]
    # The third column is the cross product of the others.
    px, py, pz = px + yy * zz - yz * zy, py + yz * zx - yx * zz, pz + yx * zy - yy * zx
    qx, qy, qz = qx + zy * xz - zz * xy, qy + zz * xx - zx * xz, qz + zx * xy - zy * xx
    over = yx * qx + yy * qy + yz * qz
    qx, qy, qz = (qx - yx * over) / rest, (qy - yy * over) / rest, (qz - yz * over) / rest
    over = xx * qx + xy * qy + xz * qz
    v_row[1] += qx - xx * over
    v_row[5] += qy - xy * over
    v_row[9] += qz - xz * over
    px, py, pz = px - along * qx - row[1] * over, py - along * qy - row[5] * over, pz - along * qz - row[9] * over
    over = xx * px + xy * py + xz * pz - v_length * length
    v_row[0] += (px - xx * over) / length
    v_row[4] += (py - xy * over) / length
    v_row[8] += (pz - xz * over) / length


@kernel
@no_type_check
def place_backward(part, parts, local, maps, carrier, offsets, vertex, scaled, v_out, v_local, v_maps, v_offsets):
    """v_maps (STRIPS M 12; 1 N 12 without carriers), v_offsets (STRIPS V 3) get a sum a strip; v_local is written."""
    means, quats, log_scales = local
    v_to_means, v_to_quats, v_to_scales = v_out
    v_means, v_quats, v_scales = v_local
    R, v_R, v_row = np.empty((3, 3), f32), np.empty((3, 3), f32), np.empty(12, f32)
    turn, own, v_turn, v_own = np.empty(4, f32), np.empty(4, f32), np.empty(4, f32), np.empty(4, f32)
    length_of_strip = (len(means) + STRIPS - 1) // STRIPS
    for strip in range(part, STRIPS, parts):
        for g in range(strip * length_of_strip, min((strip + 1) * length_of_strip, len(means))):
            place_in_maps = carrier[g] if len(carrier) > 0 else g
            row = maps[place_in_maps]
            length, rest, along = gram_schmidt(row, R)
            quat_of(R, turn)
            # own quaternion: v = conj(turn) v_out; turn: v = v_out conj(own)
            n = unit(quats, g, -ONE, own)
            multiply(v_to_quats[g], own, v_turn)
            for i in range(1, 4):
                own[i] = -own[i]
                turn[i] = -turn[i]
            multiply(turn, v_to_quats[g], v_own)
            for i in range(1, 4):
                turn[i] = -turn[i]
            over = own[0] * v_own[0] + own[1] * v_own[1] + own[2] * v_own[2] + own[3] * v_own[3]
            for i in range(4):
                v_quats[g, i] = (v_own[i] - own[i] * over) / n
            x, y, z = means[g, 0], means[g, 1], means[g, 2]
            if len(vertex) > 0:
                v = vertex[g]
                x, y, z = x + offsets[v, 0], y + offsets[v, 1], z + offsets[v, 2]
            v_length = f32(0)
            for i in range(3):
                slope = v_to_means[g, i]
                v_row[4 * i], v_row[4 * i + 1], v_row[4 * i + 2], v_row[4 * i + 3] = (
                    slope * x,
                    slope * y,
                    slope * z,
                    slope,
                )
                v_means[g, i] = (
                    row[i] * v_to_means[g, 0] + row[4 + i] * v_to_means[g, 1] + row[8 + i] * v_to_means[g, 2]
                )
                grown = np.exp(log_scales[g, i]) * v_to_scales[g, i]
                v_scales[g, i] = grown * length if scaled else grown
                v_length += grown if scaled else f32(0)
                if len(vertex) > 0:
                    v_offsets[strip, vertex[g], i] += v_means[g, i]
            turn_backward(R, turn, v_turn, v_R)
            schmidt_backward(row, R, v_R, length, rest, along, v_length, v_row)
            into = strip if len(carrier) > 0 else 0
            for c in range(12):
                v_maps[into, place_in_maps, c] += v_row[c]


class Place(torch.autograd.Function):
    """(means, quats, log_scales, maps, offsets) to means, quats, scales in the world."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, vertex: Tensor, scaled: bool, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        *local, maps, offsets = (x.contiguous().numpy() for x in inputs)
        out = tuple(np.empty_like(x) for x in local)
        fixed = (tuple(local), maps.reshape(-1, 12), carrier.numpy(), offsets, vertex.numpy(), scaled)
        spread(place_forward, *fixed, out)
        ctx.fixed = fixed
        return tuple(torch.from_numpy(x) for x in out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *v_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        local, maps, carrier, offsets = ctx.fixed[:4]
        v_out = tuple(
            np.zeros_like(x) if v is None else v.contiguous().numpy() for x, v in zip(local, v_outputs, strict=True)
        )
        v_local = tuple(np.empty_like(x) for x in local)
        v_maps = np.zeros((STRIPS if len(carrier) else 1, *maps.shape), f32)
        v_offsets = np.zeros((STRIPS, *offsets.shape), f32)
        spread(place_backward, *ctx.fixed, v_out, v_local, v_maps, v_offsets, shares=1)
        gradients = (*v_local, _summed(v_maps).reshape(-1, 3, 4), _summed(v_offsets))
        return (None, None, None, *(torch.from_numpy(x) for x in gradients))


def _summed(strips: ndarray) -> ndarray:
    return strips[0] if len(strips) == 1 else strips.sum(0)


def place_cpu(
    local: Local, maps: Tensor, carrier: Tensor | None, offsets: Offsets | None, scaled: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`placing.place` of float32 CPU tensors."""
    nobody = torch.zeros(0, dtype=torch.long)
    values, vertex = (maps.new_zeros(0, 3), nobody) if offsets is None else offsets
    return Place.apply(nobody if carrier is None else carrier, vertex, scaled, *local, maps, values)
