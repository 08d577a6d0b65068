"""`vectors` eight at a time: numbers, vectors and quaternions of lanes, from arrays and back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.networks.cpu.vectors import HALF, ONE, TINY, TWO, cross, dot, plus
from talkingavatar.splatting.cpu.lanes import load, root, store, where
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
ZERO, QUARTER, SIXTEENTH = f32(0), f32(1 / 4), f32(1 / 16)
LEAST, MOST = f32(-8), f32(8)
C2, C3, C4, C5 = f32(1 / 2), f32(1 / 6), f32(1 / 24), f32(1 / 120)
T1, T2, T3, T4, T5 = (f32(x / 10395) for x in (1260, 21, 4725, 210, 1))


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
    """Hyperbolic tangent of lanes: a continued fraction of a quarter, doubled twice and divided once."""
    x = where(x < LEAST, LEAST, where(x > MOST, MOST, x))
    y = QUARTER * x
    q = y * y
    over, under = y * (ONE + q * (T1 + q * T2)), ONE + q * (T3 + q * (T4 + q * T5))
    over, under = TWO * over * under, under * under + over * over
    return TWO * over * under / (under * under + over * over)


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
def turned(u, v, w, a):
    """Where a rotation with these axes takes vectors."""
    return plus(plus(times(a[0], u), a[1], v), a[2], w)


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
def keep_three(values, at, a):
    store(values, at, a[0])
    store(values, at + 8, a[1])
    store(values, at + 16, a[2])


@kernel
@no_type_check
def keep_four(values, at, q):
    """Four lanes one after the other."""
    store(values, at, q[0])
    store(values, at + 8, q[1])
    store(values, at + 16, q[2])
    store(values, at + 24, q[3])
