"""`networks.baked.posed` compiled: two small passes over joints and skin, then one over the Gaussians, eight at a time.

What eight Gaussians look up (joints, corners of the skin) is gathered row by row and turned over; all else is the same
arithmetic in eight lanes.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np

from talkingavatar.networks.baked import MOST_WIDER
from talkingavatar.networks.cpu import BLOCK
from talkingavatar.networks.cpu.eights import (
    ZERO,
    absolute,
    axes_from,
    exponential,
    four,
    keep_four,
    keep_three,
    quat_from,
    tangent,
    three,
    times,
    turned,
)
from talkingavatar.networks.cpu.vectors import ONE, TINY, axes_of, cross, dot, multiply, plus, unit
from talkingavatar.networks.footing import FAR, NEAR
from talkingavatar.splatting.cpu.lanes import everywhere, load, load_one, load_whole, root, store, where
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
HIGH, SPAN, WIDER = f32(FAR), f32(FAR - NEAR), f32(MOST_WIDER)
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
    for k in range(8):
        for c in range(12):
            into[8 * c + k] = rows[WIDE * k + c]


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
def change_of(n, f, residual, into):
    """into (15 8): changes of the eight Gaussians of a group, the sum of its blocks'; the last is nobody's."""
    ranges, flat, directions, steps, starts, wide, coefficients, columns, most, turns = residual
    count = steps.shape[1]
    for c in range(0, count, 2):  # two at a time, of two directions each: sums that do not wait for each other
        told, other = everywhere(ZERO), everywhere(ZERO)
        for b in range(ranges[n], ranges[n + 1]):
            at, first = 8 * directions * (b * count + c), wide * f + starts[b]
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
def layer(values, count, weights, rows, into):
    """into (rows 8) += weights (rows count) x values (count 8), four rows at a time."""
    for h in range(0, rows, 4):
        at, first = 8 * h, count * h
        p, q, r, s = four(into, at, 8)
        for k in range(count):
            x = load(values, 8 * k)
            p = p + load_one(weights, first + k) * x
            q = q + load_one(weights, first + count + k) * x
            r = r + load_one(weights, first + 2 * count + k) * x
            s = s + load_one(weights, first + 3 * count + k) * x
        keep_four(into, at, (p, q, r, s))


@kernel
@no_type_check
def begun(count, biases, into):
    """Each bias in eight lanes."""
    for h in range(count):
        store(into, 8 * h, load_one(biases, h) + everywhere(ZERO))


@kernel
@no_type_check
def rectified(count, values):
    for h in range(count):
        x = load(values, 8 * h)
        store(values, 8 * h, where(x > ZERO, x, ZERO))


@kernel
@no_type_check
def hear(k, f, listener, one, other, into):
    """Add to the changes of a group what its sound does: the k-th that listens, a `Listener`'s four layers.

    Args:
        listener: as `Poser` lays it out, all arrays flat.
        one, other: room for the numbers between layers.
    """
    _, channels, hidden, rows, results, ears, sound, places, first, second, b, third, c, last, d, some = listener
    for a in range(channels):
        store(other, 8 * a, load_one(sound, channels * f + a) * load(ears, 8 * (channels * k + a)))
    for h in range(hidden):
        store(one, 8 * h, load(places, 8 * (hidden * k + h)))
    layer(other, channels, first, rows, one)
    rectified(hidden, one)
    begun(rows, b, other)
    layer(one, hidden, second, rows, other)
    rectified(hidden, other)
    begun(rows, c, one)
    layer(other, hidden, third, rows, one)
    rectified(hidden, one)
    begun(results, d, other)
    layer(one, hidden, last, results, other)
    mine, most = load(some, 8 * k), everywhere(WIDER)
    for c in range(10):
        change = load(other, 8 * c)
        if c >= 7:
            change = where(change > most, most, change)
        store(into, 8 * c, load(into, 8 * c) + mine * change)


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
    rows, got, told = np.empty(8 * WIDE, f32), np.empty(96, f32), np.empty(120, f32)
    room, frames = 8 * max(listener[1], listener[3], listener[4]), len(to_means)
    one, other = np.empty(room, f32), np.empty(room, f32)
    for block in range(part, (groups + size - 1) // size, parts):
        first, end = block * size, min((block + 1) * size, groups)
        for turn in range(frames * (end - first)):
            n, f = first + turn // frames, turn % frames
            at = 8 * n
            mean, q, scales = three(flat, at, step), four(flat, at + 3 * step, step), three(flat, at + 7 * step, step)
            changes, listens = len(ranges) > 0 and ranges[n + 1] > ranges[n], len(hears) > 0 and hears[n] >= 0
            if changes or listens:
                for c in range(14):
                    store(told, 8 * c, everywhere(ZERO))
                if changes:
                    change_of(n, f, residual, told)
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
                g = numbers[at + k]
                for c in range(3):
                    to_means[f, g, c] = told[8 * c + k]
                    to_scales[f, g, c] = told[56 + 8 * c + k]
                for c in range(4):
                    to_quats[f, g, c] = told[24 + 8 * c + k]
