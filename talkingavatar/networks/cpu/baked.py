"""`networks.baked.posed` compiled: two small passes over joints and skin, then one over the Gaussians, eight at a time.

What eight Gaussians look up (joints, corners of the skin) is gathered row by row and turned over; all else is the same
arithmetic in eight lanes.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np

from talkingavatar.networks.cpu import BLOCK
from talkingavatar.networks.cpu.vectors import HALF, ONE, TINY, TWO, axes_of, cross, dot, multiply, plus, unit
from talkingavatar.networks.footing import FAR, NEAR
from talkingavatar.splatting.cpu.lanes import everywhere, load, load_one, load_whole, root, store, where
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
ZERO, QUARTER, SIXTEENTH, HIGH, SPAN = f32(0), f32(1 / 4), f32(1 / 16), f32(FAR), f32(FAR - NEAR)
LEAST, MOST = f32(-8), f32(8)
C2, C3, C4, C5 = f32(1 / 2), f32(1 / 6), f32(1 / 24), f32(1 / 120)
T0, T1, T2, T3, T4 = f32(10395), f32(1260), f32(21), f32(4725), f32(210)
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
    """out (M + 1, WIDE): each row's offset, and what the skin does to a place there less the unit (3 3); zeros last."""
    for block in range(part, (len(out) + BLOCK - 1) // BLOCK, parts):
        for r in range(block * BLOCK, min((block + 1) * BLOCK, len(out))):
            out[r] = ZERO
            if r < len(moved):
                told = moved[r]
                first = (base[r, 0, 0] + told[3], base[r, 1, 0] + told[5], base[r, 2, 0] + told[7])
                second = (base[r, 0, 1] + told[4], base[r, 1, 1] + told[6], base[r, 2, 1] + told[8])
                across, _ = unit(cross(first, second))
                for i in range(3):
                    out[r, i] = told[i]
                    for j in range(3):
                        along = first[i] * tangents[r, j, 0] + second[i] * tangents[r, j, 1]
                        out[r, 3 + 3 * i + j] = along + across[i] * normals[r, j]
                    out[r, 3 + 4 * i] -= ONE
            if r < len(further):
                for i in range(3):
                    out[r, i] += further[r, i]


@kernel
@no_type_check
def exponential(x):
    """e to the x, of lanes between -8 and 8: a series of a sixteenth."""
    x = where(x < LEAST, LEAST, where(x > MOST, MOST, x))
    y = SIXTEENTH * x
    e = ONE + y * (ONE + y * (C2 + y * (C3 + y * (C4 + y * C5))))
    e = e * e
    e = e * e
    e = e * e
    return e * e


@kernel
@no_type_check
def tangent(x):
    """Hyperbolic tangent of lanes: a continued fraction of a quarter, doubled twice."""
    x = where(x < LEAST, LEAST, where(x > MOST, MOST, x))
    y = QUARTER * x
    q = y * y
    t = y * (T0 + q * (T1 + q * T2)) / (T0 + q * (T3 + q * (T4 + q)))
    t = TWO * t / (ONE + t * t)
    return TWO * t / (ONE + t * t)


@kernel
@no_type_check
def absolute(x):
    return where(x < ZERO, ZERO - x, x)


@kernel
@no_type_check
def times(share, a):
    return share * a[0], share * a[1], share * a[2]


@kernel
@no_type_check
def axes_from(a, b):
    """`vectors.gram_schmidt` of lanes, without what its gradient needs."""
    x = times(ONE / (root(dot(a, a)) + TINY), a)
    b = plus(b, ZERO - dot(x, b), x)
    y = times(ONE / (root(dot(b, b)) + TINY), b)
    return x, y, cross(x, y)


@kernel
@no_type_check
def quat_from(x, y, z):
    """`vectors.quat_of` of lanes."""
    d0, d1, d2 = x[0], y[1], z[2]
    s0, s1, s2, s3 = ONE + d0 + d1 + d2, ONE + d0 - d1 - d2, ONE - d0 + d1 - d2, ONE - d0 - d1 + d2
    a, b, c = y[2] - z[1], z[0] - x[2], x[1] - y[0]
    d, e, f = x[1] + y[0], x[2] + z[0], y[2] + z[1]
    i, j = s0 < s1, s2 < s3
    first, last = where(i, s1, s0), where(j, s3, s2)
    k = first < last
    n = HALF / root(where(k, last, first))
    return (
        n * where(k, where(j, c, b), where(i, a, s0)),
        n * where(k, where(j, e, d), where(i, s1, a)),
        n * where(k, where(j, f, s2), where(i, d, b)),
        n * where(k, where(j, s3, f), where(i, e, c)),
    )


@kernel
@no_type_check
def turned_over(rows, into):
    """Of eight rows, what counts of each as eight lanes, one number after the other."""
    for k in range(8):
        for c in range(12):
            into[8 * c + k] = rows[WIDE * k + c]


@kernel
@no_type_check
def gather_maps(n, joints, values, maps, rows):
    """rows (8 WIDE): the maps that carry the eight Gaussians of a group."""
    for k in range(8):
        g = 8 * n + k
        at, share = WIDE * joints[g, 0], values[g, 0]
        a, b = share * load(maps, at), share * load(maps, at + 8)
        for w in range(1, joints.shape[1]):
            share = values[g, w]
            if share == ZERO:
                break
            at = WIDE * joints[g, w]
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
def add_nodes(n, spots, grid, table, rows):
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
            at = WIDE * nodes[x + i, y + j, z + h]
            a, b = a + share * load(table, at), b + share * load(table, at + 8)
        store(rows, WIDE * k, a)
        store(rows, WIDE * k + 8, b)


@kernel
@no_type_check
def gather_skin(n, corners, shares, table, rows, into):
    """into (12 8): what they take of the skin; its last row is of zeros."""
    for k in range(8):
        g = 8 * n + k
        a, b = everywhere(ZERO), everywhere(ZERO)
        for c in range(3):
            at, share = WIDE * corners[g, c], shares[g, c]
            a, b = a + share * load(table, at), b + share * load(table, at + 8)
        store(rows, WIDE * k, a)
        store(rows, WIDE * k + 8, b)
    turned_over(rows, into)


@kernel
@no_type_check
def three(values, at, step):
    return load(values, at), load(values, at + step), load(values, at + 2 * step)


@kernel
@no_type_check
def four(values, at, step):
    return load(values, at), load(values, at + step), load(values, at + 2 * step), load(values, at + 3 * step)


@kernel
@no_type_check
def keep_four(values, at, q):
    """Four lanes one after the other."""
    store(values, at, q[0])
    store(values, at + 8, q[1])
    store(values, at + 16, q[2])
    store(values, at + 24, q[3])


@kernel
@no_type_check
def keep_three(values, at, a):
    store(values, at, a[0])
    store(values, at + 8, a[1])
    store(values, at + 16, a[2])


@kernel
@no_type_check
def change_of(n, residual, into):
    """into (15 8): changes of the eight Gaussians of a group, the sum of its blocks'; the last is nobody's."""
    ranges, flat, directions, steps, starts, coefficients, columns, most, turns = residual
    count = steps.shape[1]
    for c in range(14):
        store(into, 8 * c, everywhere(ZERO))
    for c in range(0, count, 2):  # two at a time, of two directions each: sums that do not wait for each other
        told, other = everywhere(ZERO), everywhere(ZERO)
        for b in range(ranges[n], ranges[n + 1]):
            at, first = 8 * directions * (b * count + c), starts[b]
            next_at = at + 8 * directions
            p, q, r, s = everywhere(ZERO), everywhere(ZERO), everywhere(ZERO), everywhere(ZERO)
            for k in range(0, directions, 2):
                x, y = load_one(coefficients, first + k), load_one(coefficients, first + k + 1)
                p = p + x * load_whole(flat, at + 8 * k)
                q = q + y * load_whole(flat, at + 8 * k + 8)
                r = r + x * load_whole(flat, next_at + 8 * k)
                s = s + y * load_whole(flat, next_at + 8 * k + 8)
            told, other = told + steps[b, c] * (p + q), other + steps[b, c + 1] * (r + s)
        if len(most) > 0:
            told, other = most[c] * tangent(told), most[c + 1] * tangent(other)
        store(into, 8 * columns[c], told)
        store(into, 8 * columns[c + 1], other)
    if len(turns) > 0:
        keep_four(into, 24, multiply(four(turns, 32 * n, 8), four(into, 24, 8)))


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
def turned(u, v, w, a):
    """Where a rotation with these axes takes vectors."""
    return plus(plus(times(a[0], u), a[1], v), a[2], w)


@kernel
@no_type_check
def looks(at, told, flat, step, numbers, opacities, colours):
    """Write a group's opacities and constant colours with their changes."""
    odds = load(flat, at + 13 * step) * exponential(ZERO - load(told, 104))
    store(told, 104, ONE / (ONE + odds))
    for k in range(8):
        g = numbers[at + k]
        opacities[g] = told[104 + k]
        for c in range(3):
            colours[g, 0, c] = flat[(14 + c) * step + at + k] + told[80 + 8 * c + k]


@kernel
@no_type_check
def pose(part, parts, rest, residual, stands, moves, table, weights, maps, grid, voxels, numbers, out):
    """One pass over groups of eight.

    Args:
        rest: means, quats, scales, where they stand, odds against opacity, constant colours (17 G8).
        moves: whether any of a group stands on skin that moves.
        grid, voxels: of `add_nodes`; the maps of the grid's nodes.
        numbers: rows of `out` that they are written to.
        out: means, quats, scales (G8 _); opacities (G8) and colours (G8 S 3) of groups with a residual alone.
    """
    step, groups, flat = rest.shape[1], rest.shape[1] // 8, rest.reshape(-1)
    ranges, (to_means, to_quats, to_scales, to_opacities, to_colours) = residual[0], out
    rows, got, told = np.empty(8 * WIDE, f32), np.empty(96, f32), np.empty(120, f32)
    size = BLOCK // 8
    for block in range(part, (groups + size - 1) // size, parts):
        for n in range(block * size, min((block + 1) * size, groups)):
            at = 8 * n
            mean, q, scales = three(flat, at, step), four(flat, at + 3 * step, step), three(flat, at + 7 * step, step)
            if len(ranges) > 0 and ranges[n + 1] > ranges[n]:
                change_of(n, residual, told)
                mean, d = plus(mean, ONE, three(told, 0, 8)), four(told, 24, 8)
                q = (q[0] + d[0], q[1] + d[1], q[2] + d[2], q[3] + d[3])
                x, y, z = three(told, 56, 8)
                scales = (scales[0] * exponential(x), scales[1] * exponential(y), scales[2] * exponential(z))
                looks(at, told, flat, step, numbers, to_opacities, to_colours)
            unit = ONE / (root(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]) + TINY)
            a, b, c = axes_of((q[0] * unit, q[1] * unit, q[2] * unit, q[3] * unit))
            displaced = mean
            if moves[n]:
                gather_skin(n, *stands, table, rows, got)
                height = plus(mean, ZERO - ONE, three(flat, at + 10 * step, step))
                mean, (x, y, z), displaced = with_skin(got, mean, height, (a, b, c))
                a, b, c = axes_from(x, y)
                x, y, z = absolute(dot(a, x)), absolute(dot(b, y)), absolute(dot(c, z))
                scales = (scales[0] * x, scales[1] * y, scales[2] * z)
            gather_maps(n, *weights, maps, rows)
            if len(voxels) > 0:
                keep_three(told, 0, displaced)
                add_nodes(n, told, grid, voxels, rows)
            turned_over(rows, got)
            x, y, z = three(got, 0, 8), three(got, 32, 8), three(got, 64, 8)  # rows of the linear part
            u, v, w = axes_from((x[0], y[0], z[0]), (x[1], y[1], z[1]))
            keep_four(told, 24, quat_from(turned(u, v, w, a), turned(u, v, w, b), turned(u, v, w, c)))
            placed = dot(x, mean) + load(got, 24), dot(y, mean) + load(got, 56), dot(z, mean) + load(got, 88)
            keep_three(told, 0, placed)
            keep_three(told, 56, scales)
            for k in range(8):
                g = numbers[at + k]
                for c in range(3):
                    to_means[g, c] = told[8 * c + k]
                    to_scales[g, c] = told[56 + 8 * c + k]
                for c in range(4):
                    to_quats[g, c] = told[24 + 8 * c + k]
