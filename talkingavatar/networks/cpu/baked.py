"""`networks.baked.posed` compiled: two small passes over joints and skin, then one over the Gaussians, eight at a time.

What eight Gaussians look up (joints, corners of the skin) is gathered row by row and turned over; all else is the same
arithmetic in eight lanes.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np

from talkingavatar.networks.cpu import BLOCK
from talkingavatar.networks.cpu.changes import FEW, change_of, changes_of, hear, limit_and_turn
from talkingavatar.networks.cpu.eights import (
    ZERO,
    absolute,
    axes_from,
    exponential,
    four,
    keep_four,
    keep_three,
    quat_from,
    three,
    times,
    turned,
)
from talkingavatar.networks.cpu.vectors import ONE, TINY, axes_of, cross, dot, plus, unit
from talkingavatar.networks.footing import FAR, NEAR
from talkingavatar.splatting.cpu.lanes import everywhere, load, root, store, transposed, where
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
HIGH, SPAN = f32(FAR), f32(FAR - NEAR)
WIDE = 16  # floats in a row of a table that is gathered from, of which twelve count


@kernel
@no_type_check
def chain(quats, joints, parents, place, anchor, follow, maps):
    """maps (J1 WIDE): [rotation | translation] of each joint and the anchor."""
    for j in range(len(parents)):
        x, y, z = axes_of(quats[j])
        for i in range(3):
            maps[j, 4 * i], maps[j, 4 * i + 1], maps[j, 4 * i + 2] = x[i], y[i], z[i]
            maps[j, 4 * i + 3] = joints[j, i]
        p = parents[j]
        if p >= 0:
            away = (joints[j, 0] - joints[p, 0], joints[j, 1] - joints[p, 1], joints[j, 2] - joints[p, 2])
            for i in range(3):
                row = (maps[p, 4 * i], maps[p, 4 * i + 1], maps[p, 4 * i + 2])
                maps[j, 4 * i], maps[j, 4 * i + 1], maps[j, 4 * i + 2] = dot(row, x), dot(row, y), dot(row, z)
                maps[j, 4 * i + 3] = maps[p, 4 * i + 3] + dot(row, away)
    for j in range(len(parents)):
        for i in range(3):
            maps[j, 4 * i + 3] += place[i] - dot(maps[j, 4 * i : 4 * i + 3], joints[j])
    if len(anchor) > 0:
        last = len(parents)
        for i in range(3):
            for k in range(3):
                maps[last, 4 * i + k] = anchor[i, k]
            maps[last, 4 * i + 3] = anchor[i, 3] + follow * place[i]


@kernel
@no_type_check
def stretch_rows(part, parts, moved, base, tangents, normals, further, out):
    """What the skin does in F frames.

    Args:
        moved, further: `Skin.basis` (S 9 F) and `pose_basis` (M 3 F, or none) by what a frame has of each.
        out: (M + 1, F, WIDE) each row's offset, and what is done to a place there less the unit (3 3); zeros last.
    """
    for block in range(part, (len(out) + BLOCK - 1) // BLOCK, parts):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, len(out))):
            for f in range(out.shape[1]):
                into = out[r, f]
                into[:] = ZERO
                if r < len(moved):
                    told = moved[r, :, f]
                    first = (base[r, 0, 0] + told[3], base[r, 1, 0] + told[5], base[r, 2, 0] + told[7])
                    second = (base[r, 0, 1] + told[4], base[r, 1, 1] + told[6], base[r, 2, 1] + told[8])
                    across, _ = unit(cross(first, second))
                    for i in range(3):
                        into[i] = told[i]
                        for j in range(3):
                            along = first[i] * tangents[r, j, 0] + second[i] * tangents[r, j, 1]
                            into[3 + 3 * i + j] = along + across[i] * normals[r, j]
                        into[3 + 4 * i] -= ONE
                if r < len(further):
                    for i in range(3):
                        into[i] += further[r, i, f]


@kernel
@no_type_check
def turned_over(rows, into):
    """Of eight rows, what counts of each as eight lanes, one number after the other."""
    for half in range(0, WIDE, 8):
        a, b, c, d = four(rows, half, WIDE)
        e, f, g, h = four(rows, half + 4 * WIDE, WIDE)
        a, b, c, d, e, f, g, h = transposed(a, b, c, d, e, f, g, h)
        keep_four(into, 8 * half, (a, b, c, d))
        if half == 0:
            keep_four(into, 32, (e, f, g, h))


@kernel
@no_type_check
def gather_maps(n, f, frames, joints, values, maps, rows):
    """rows (8 WIDE): the maps that carry the eight Gaussians of a group in one of the frames."""
    for k in range(8):
        g = 8 * n + k
        at, share = WIDE * (frames * joints[g, 0] + f), values[g, 0]
        a, b = share * load(maps, at), share * load(maps, at + 8)
        for w in range(1, joints.shape[1]):
            share = values[g, w]
            if share == ZERO:
                break
            at = WIDE * (frames * joints[g, w] + f)
            a, b = a + share * load(maps, at), b + share * load(maps, at + 8)
        store(rows, WIDE * k, a)
        store(rows, WIDE * k + 8, b)


@kernel
@no_type_check
def voxel(x, last):
    """The lower of two neighbours that a place lies between, and how far it is from there to the other."""
    x = min(max(x, ZERO), f32(last))
    low = min(int(x), last - 1)
    return low, x - f32(low)


@kernel
@no_type_check
def add_nodes(n, f, frames, spots, grid, table, rows):
    """Add to the rows of a group what the voxels round its Gaussians have, as `Grid.blended`.

    Args:
        spots: where they are (3 8).
        grid: which Gaussians look it up, voxels' nodes, place of the first and voxels a metre.
    """
    looks_up, nodes, lower, finer = grid
    for k in range(8):
        if not looks_up[8 * n + k]:
            continue
        x, p = voxel((spots[k] - lower[0]) * finer[0], nodes.shape[0] - 1)
        y, q = voxel((spots[8 + k] - lower[1]) * finer[1], nodes.shape[1] - 1)
        z, r = voxel((spots[16 + k] - lower[2]) * finer[2], nodes.shape[2] - 1)
        a, b = load(rows, WIDE * k), load(rows, WIDE * k + 8)
        for corner in range(8):
            i, j, h = corner & 1, (corner >> 1) & 1, corner >> 2
            share = (p if i else ONE - p) * (q if j else ONE - q) * (r if h else ONE - r)
            at = WIDE * (frames * nodes[x + i, y + j, z + h] + f)
            a, b = a + share * load(table, at), b + share * load(table, at + 8)
        store(rows, WIDE * k, a)
        store(rows, WIDE * k + 8, b)


@kernel
@no_type_check
def gather_skin(n, f, frames, corners, shares, table, rows, into):
    """into (12 8): what they take of the skin; its last row is of zeros."""
    for k in range(8):
        g = 8 * n + k
        a, b = everywhere(ZERO), everywhere(ZERO)
        for c in range(3):
            at, share = WIDE * (frames * corners[g, c] + f), shares[g, c]
            a, b = a + share * load(table, at), b + share * load(table, at + 8)
        store(rows, WIDE * k, a)
        store(rows, WIDE * k + 8, b)
    turned_over(rows, into)


@kernel
@no_type_check
def with_skin(skin, mean, height, own):
    """Means of a group and their axes where the skin has gone (skin: 12 8), and means it has not stretched."""
    near = (HIGH - root(dot(height, height))) / SPAN
    near = where(near < ZERO, ZERO, where(near > ONE, ONE, near))
    s0, s1, s2 = times(near, three(skin, 24, 8)), times(near, three(skin, 48, 8)), times(near, three(skin, 72, 8))
    displaced = plus(mean, ONE, three(skin, 0, 8))
    mean = plus(displaced, ONE, (dot(s0, height), dot(s1, height), dot(s2, height)))
    a, b, c = own
    a = plus(a, ONE, (dot(s0, a), dot(s1, a), dot(s2, a)))
    b = plus(b, ONE, (dot(s0, b), dot(s1, b), dot(s2, b)))
    c = plus(c, ONE, (dot(s0, c), dot(s1, c), dot(s2, c)))
    return mean, (a, b, c), displaced


@kernel
@no_type_check
def looks(at, f, told, flat, step, numbers, opacities, colours):
    """Write a group's opacities and constant colours with their changes."""
    odds = load(flat, at + 13 * step) * exponential(ZERO - load(told, 104))
    store(told, 104, ONE / (ONE + odds))
    for k in range(8):
        g = numbers[at + k]
        opacities[f, g] = told[104 + k]
        for c in range(3):
            colours[f, g, 0, c] = flat[(14 + c) * step + at + k] + told[80 + 8 * c + k]


@kernel
@no_type_check
def pose(part, parts, rest, residual, listener, stands, moves, table, weights, maps, grid, voxels, numbers, out):
    """One pass over groups of eight, each in all of F frames: what is known of a group is read once.

    Args:
        rest: means, quats, scales, where they stand, odds against opacity, constant colours (17 G8).
        residual, listener: of `change_of` and `hear`.
        moves: whether any of a group stands on skin that moves.
        table, maps: of `stretch_rows` and `chain`, (_ F WIDE), flat.
        grid, voxels: of `add_nodes`; the maps of the grid's nodes, likewise.
        numbers: rows of `out` that they are written to.
        out: means, quats, scales (F G8 _); opacities (F G8) and colours (F G8 S 3) of groups with a residual alone.
    """
    step, groups, flat, size = rest.shape[1], rest.shape[1] // 8, rest.reshape(-1), BLOCK // 8
    ranges, hears, (to_means, to_quats, to_scales, to_opacities, to_colours) = residual[0], listener[0], out
    rows, got, several = np.empty(8 * WIDE, f32), np.empty(96, f32), np.empty(120 * FEW, f32)
    room, frames = 8 * max(listener[1], listener[3], listener[4]), len(to_means)
    one, other, together = np.empty(room, f32), np.empty(room, f32), frames % FEW == 0
    for block in range(part, (groups + size - 1) // size, parts):
        first, end = block * size, min((block + 1) * size, groups)
        for turn in range(frames * (end - first)):
            n, f = first + turn // frames, turn % frames
            at = 8 * n
            mean, q, scales = three(flat, at, step), four(flat, at + 3 * step, step), three(flat, at + 7 * step, step)
            changes, listens = len(ranges) > 0 and ranges[n + 1] > ranges[n], len(hears) > 0 and hears[n] >= 0
            told = several[120 * (f % FEW) : 120 * (f % FEW) + 120]
            if changes or listens:
                if f % FEW == 0:
                    for c in range(15 * FEW):
                        store(several, 8 * c, everywhere(ZERO))
                    if changes and together:
                        changes_of(n, f, residual, several)
                if changes:
                    if not together:
                        change_of(n, f, residual, told)
                    limit_and_turn(n, residual, told)
                    looks(at, f, told, flat, step, numbers, to_opacities, to_colours)
                if listens:
                    hear(hears[n], f, listener, one, other, told)
                mean, d = plus(mean, ONE, three(told, 0, 8)), four(told, 24, 8)
                q = (q[0] + d[0], q[1] + d[1], q[2] + d[2], q[3] + d[3])
                x, y, z = three(told, 56, 8)
                scales = (scales[0] * exponential(x), scales[1] * exponential(y), scales[2] * exponential(z))
            unit = ONE / (root(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]) + TINY)
            a, b, c = axes_of((q[0] * unit, q[1] * unit, q[2] * unit, q[3] * unit))
            displaced = mean
            if moves[n]:
                gather_skin(n, f, frames, *stands, table, rows, got)
                height = plus(mean, ZERO - ONE, three(flat, at + 10 * step, step))
                mean, (x, y, z), displaced = with_skin(got, mean, height, (a, b, c))
                a, b, c = axes_from(x, y)
                x, y, z = absolute(dot(a, x)), absolute(dot(b, y)), absolute(dot(c, z))
                scales = (scales[0] * x, scales[1] * y, scales[2] * z)
            gather_maps(n, f, frames, *weights, maps, rows)
            if len(voxels) > 0:
                keep_three(told, 0, displaced)
                add_nodes(n, f, frames, told, grid, voxels, rows)
            turned_over(rows, got)
            x, y, z = three(got, 0, 8), three(got, 32, 8), three(got, 64, 8)  # rows of the linear part
            u, v, w = axes_from((x[0], y[0], z[0]), (x[1], y[1], z[1]))
            keep_four(told, 24, quat_from(turned(u, v, w, a), turned(u, v, w, b), turned(u, v, w, c)))
            placed = dot(x, mean) + load(got, 24), dot(y, mean) + load(got, 56), dot(z, mean) + load(got, 88)
            keep_three(told, 0, placed)
            keep_three(told, 56, scales)
            for k in range(8):
                g = np.uintp(numbers[at + k])  # what may be negative is looked at before it is taken
                for c in range(3):
                    to_means[f, g, c] = told[8 * c + k]
                    to_scales[f, g, c] = told[56 + 8 * c + k]
                for c in range(4):
                    to_quats[f, g, c] = told[24 + 8 * c + k]
