"""What a residual and a sound change of eight Gaussians: sums of directions, and a small network."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np

from talkingavatar.networks.baked import MOST_WIDER
from talkingavatar.networks.cpu.eights import ZERO, four, keep_four, tangent
from talkingavatar.networks.cpu.vectors import multiply
from talkingavatar.splatting.cpu.lanes import everywhere, load, load_one, load_whole, store, where
from talkingavatar.splatting.cpu.launch import kernel

WIDER = np.float32(MOST_WIDER)
FEW = 4  # frames whose changes are summed at once


@kernel
@no_type_check
def change_of(n, f, residual, into):
    """into (15 8, zeros): changes of the eight Gaussians of a group, the sum of its blocks'; the last is nobody's."""
    ranges, flat, directions, steps, starts, wide, coefficients, columns, _, _ = residual
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
        store(into, 8 * columns[c], told)
        store(into, 8 * columns[c + 1], other)


@kernel
@no_type_check
def changes_of(n, f, residual, into):
    """The same of FEW frames from f on (FEW 15 8): what is read is made a number once for all of them."""
    ranges, flat, directions, steps, starts, wide, coefficients, columns, _, _ = residual
    count, none = steps.shape[1], everywhere(ZERO)
    for c in range(0, count, 2):
        for b in range(ranges[n], ranges[n + 1]):
            at, first = 8 * directions * (b * count + c), wide * f + starts[b]
            next_at = at + 8 * directions
            p0, p1, p2, p3, q0, q1, q2, q3 = none, none, none, none, none, none, none, none
            for k in range(directions):
                x, y = load_whole(flat, at + 8 * k), load_whole(flat, next_at + 8 * k)
                i = first + k
                told = load_one(coefficients, i)
                p0, q0 = p0 + told * x, q0 + told * y
                told = load_one(coefficients, i + wide)
                p1, q1 = p1 + told * x, q1 + told * y
                told = load_one(coefficients, i + 2 * wide)
                p2, q2 = p2 + told * x, q2 + told * y
                told = load_one(coefficients, i + 3 * wide)
                p3, q3 = p3 + told * x, q3 + told * y
            add_four(into, 8 * columns[c], steps[b, c], (p0, p1, p2, p3))
            add_four(into, 8 * columns[c + 1], steps[b, c + 1], (q0, q1, q2, q3))


@kernel
@no_type_check
def add_four(into, at, step, sums):
    """Add what each of FEW frames has."""
    store(into, at, load(into, at) + step * sums[0])
    store(into, at + 120, load(into, at + 120) + step * sums[1])
    store(into, at + 240, load(into, at + 240) + step * sums[2])
    store(into, at + 360, load(into, at + 360) + step * sums[3])


@kernel
@no_type_check
def limit_and_turn(n, residual, into):
    """What becomes of a frame's sums: within their limits, if there are any, the quaternion's turned."""
    columns, most, turns = residual[-3:]
    if len(most) > 0:
        for c in range(len(columns)):
            i = 8 * columns[c]
            store(into, i, most[c] * tangent(load(into, i)))
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
