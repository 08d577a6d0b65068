"""Vectors and quaternions as tuples, which compiled code keeps in registers."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
HALF, ONE, TWO = f32(0.5), f32(1), f32(2)
TINY = f32(1e-12)  # as torch's normalize guards its division


@kernel
@no_type_check
def cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@kernel
@no_type_check
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
@no_type_check
def plus(a, share, b):
    """a + share x b."""
    return a[0] + share * b[0], a[1] + share * b[1], a[2] + share * b[2]


@kernel
@no_type_check
def unit(a):
    """The vector at length one, and its length, guarded from zero."""
    length = max(np.sqrt(dot(a, a)), TINY)
    inverse = ONE / length
    return (a[0] * inverse, a[1] * inverse, a[2] * inverse), length


@kernel
@no_type_check
def unit_backward(direction, length, v):
    """Gradient of a vector from that of its direction."""
    x, y, z = plus(v, -dot(direction, v), direction)
    inverse = ONE / length
    return x * inverse, y * inverse, z * inverse


@kernel
@no_type_check
def column(row, k):
    """Column k of a map (12 numbers)."""
    return row[k], row[4 + k], row[8 + k]


@kernel
@no_type_check
def gram_schmidt(a, b):
    """Axes of the rotation nearest to a matrix of these columns; lengths divided by; b's part along the first axis."""
    x, length = unit(a)
    along = dot(x, b)
    y, rest = unit(plus(b, -along, x))
    return x, y, cross(x, y), length, rest, along


@kernel
@no_type_check
def gram_schmidt_backward(b, x, y, length, rest, along, v_x, v_y, v_z):
    """Gradients of the two columns from those of the three axes."""
    v_x, v_y = plus(v_x, ONE, cross(y, v_z)), plus(v_y, ONE, cross(v_z, x))
    v_rest = unit_backward(y, rest, v_y)
    over = dot(x, v_rest)
    v_x = plus(plus(v_x, -along, v_rest), -over, b)
    return unit_backward(x, length, v_x), plus(v_rest, -over, x)


@kernel
@no_type_check
def quat_of(x, y, z):
    """The unit quaternion of a rotation with these axes, its largest component positive."""
    d0, d1, d2 = x[0], y[1], z[2]
    s0, s1, s2, s3 = ONE + d0 + d1 + d2, ONE + d0 - d1 - d2, ONE - d0 + d1 - d2, ONE - d0 - d1 + d2
    a, b, c = y[2] - z[1], z[0] - x[2], x[1] - y[0]
    d, e, f = x[1] + y[0], x[2] + z[0], y[2] + z[1]
    best = max(max(s0, s1), max(s2, s3))
    n = HALF / np.sqrt(best)
    if s0 == best:
        return n * s0, n * a, n * b, n * c
    if s1 == best:
        return n * a, n * s1, n * d, n * e
    if s2 == best:
        return n * b, n * d, n * s2, n * f
    return n * c, n * e, n * f, n * s3


@kernel
@no_type_check
def quat_of_backward(q, x, y, z, v):
    """Gradients of the axes from that of the quaternion, along the rotations: across them nothing moves it.

    A turn by a small t changes q by (0, t / 2) q and each axis by t x axis; a gradient g of t is told by g / 2 x axis.
    """
    g = (
        f32(0.25) * (v[1] * q[0] - v[0] * q[1] + v[3] * q[2] - v[2] * q[3]),
        f32(0.25) * (v[2] * q[0] - v[0] * q[2] + v[1] * q[3] - v[3] * q[1]),
        f32(0.25) * (v[3] * q[0] - v[0] * q[3] + v[2] * q[1] - v[1] * q[2]),
    )
    return cross(g, x), cross(g, y), cross(g, z)


@kernel
@no_type_check
def multiply(a, b):
    """Hamilton product."""
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


@kernel
@no_type_check
def conjugate(q):
    return q[0], -q[1], -q[2], -q[3]


@kernel
@no_type_check
def unit_quat(q):
    """The quaternion at length one, and its length, guarded from zero."""
    length = max(np.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]), TINY)
    n = ONE / length
    return (q[0] * n, q[1] * n, q[2] * n, q[3] * n), length


@kernel
@no_type_check
def axes_of(q):
    """Where a unit quaternion turns the three axes to."""
    w, x, y, z = q
    return (
        (ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y)),
        (TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x)),
        (TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y)),
    )


@kernel
@no_type_check
def axes_of_backward(q, axes, v):
    """Gradient of a unit quaternion, along the rotations, from those of its axes: `quat_of_backward` the other way."""
    turn = plus(plus(cross(axes[0], v[0]), ONE, cross(axes[1], v[1])), ONE, cross(axes[2], v[2]))
    return multiply((f32(0), TWO * turn[0], TWO * turn[1], TWO * turn[2]), q)
