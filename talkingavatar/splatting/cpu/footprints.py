"""From Gaussians to footprints as `project`, eight at a time, with what `paint` alone wants to know of them.

A row of a footprint holds what its pixels need, and between which x of a row of pixels they lie: the ellipse that a
splat can be seen in, and for surfels the disc of their low-pass.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.lanes import ceiling, everywhere, load, root, store, where
from talkingavatar.splatting.cpu.launch import kernel
from talkingavatar.splatting.cpu.project import (
    ALPHA_MIN,
    BLUR,
    EXTENT,
    FAR,
    LOW_PASS_REACH,
    MARGIN,
    NEAR,
    SLACK,
    tile_range,
)

f32 = np.float32
ZERO, ONE, TWO = f32(0), f32(1), f32(2)
# Alpha is two to the power of LIFT - u^2 - v^2.
DOUBLED, NATS = f32(np.sqrt(0.5 * np.log2(np.e))), f32(2 * np.log(2))
THIRD, FIFTH, SEVENTH, NINTH, ELEVENTH = (f32(1 / x) for x in (3, 5, 7, 9, 11))
FAINTEST, MORE, EVERYTHING = f32(np.log2(ALPHA_MIN)), f32(0.02), f32(1e9)
THIN, LEAST, EYE = f32(1e-5), f32(1e-4), f32(-1e-6)

# Columns of a row. Common: where the splat is, its colour, how it lifts alpha, u / v / z of `lay_2dgs` (u and v of
# `lay_3dgs`), and the ellipse: its middle, how far that moves to the right with each row below, and of half of its
# width squared what it is in the middle, and less by dy squared.
X, Y, LIFT, RED, GREEN, BLUE, UX, UY, VX, VY, MIDDLE_X, MIDDLE_Y, SLOPE, WIDTH, LESS = range(15)
Z0, ZX, ZY, LX, LY, LOW = range(15, 21)  # 2dgs; the last three: the low-pass
ROW_3DGS, ROW_2DGS = 16, 24  # one cache line, or one and a half
# What is taken of eight Gaussians.
MEAN, QUAT, SCALE, ODDS, COLOUR, TAKEN = 0, 3, 7, 10, 11, 14


@kernel
@no_type_check
def take(first, means, quats, scales, opacities, colours, into):
    """into (TAKEN 8): eight Gaussians turned over; of fewer, the last again."""
    for k in range(8):
        g = min(first + k, len(means) - 1)
        for c in range(3):
            into[8 * (MEAN + c) + k] = means[g, c]
            into[8 * (SCALE + c) + k] = scales[g, c]
            into[8 * (COLOUR + c) + k] = colours[g, c]
        for c in range(4):
            into[8 * (QUAT + c) + k] = quats[g, c]
        into[8 * ODDS + k] = opacities[g]


@kernel
@no_type_check
def of(values, column):
    return load(values, 8 * column)


@kernel
@no_type_check
def seen_from(view, values):
    """Means in camera space."""
    x, y, z = of(values, MEAN), of(values, MEAN + 1), of(values, MEAN + 2)
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3],
    )


@kernel
@no_type_check
def axes(view, values):
    """The first, second and third axis of each Gaussian in camera space."""
    w, x, y, z = of(values, QUAT), of(values, QUAT + 1), of(values, QUAT + 2), of(values, QUAT + 3)
    n = ONE / root(w * w + x * x + y * y + z * z)
    w, x, y, z = w * n, x * n, y * n, z * n
    return (
        seen_along(view, ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y)),
        seen_along(view, TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x)),
        seen_along(view, TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y)),
    )


@kernel
@no_type_check
def seen_along(view, x, y, z):
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z,
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z,
        view[2, 0] * x + view[2, 1] * y + view[2, 2] * z,
    )


@kernel
@no_type_check
def most(a, b):
    return where(a > b, a, b)


@kernel
@no_type_check
def least(a, b):
    return where(a < b, a, b)


@kernel
@no_type_check
def seen_within(opacity):
    """Squared standard deviations within which alpha can be seen, 2 log(opacity / ALPHA_MIN), by a series."""
    t = root(root(root(most(opacity * (ONE / ALPHA_MIN), ONE))))
    w = (t - ONE) / (t + ONE)
    q = w * w
    return f32(32) * w * (ONE + q * (THIRD + q * (FIFTH + q * (SEVENTH + q * (NINTH + q * ELEVENTH)))))


@kernel
@no_type_check
def keep(values, column, lanes):
    store(values, 8 * column, lanes)


@kernel
@no_type_check
def keep_common(row, taken, x, y, within):
    keep(row, X, x)
    keep(row, Y, y)
    keep(row, LIFT, FAINTEST + (ONE / NATS) * within)
    for c in range(3):
        keep(row, RED + c, of(taken, COLOUR + c))


@kernel
@no_type_check
def keep_ellipse(row, x, y, sxx, sxy, syy, det):
    """The ellipse round (x, y) of which s is the matrix; a little wider, as rounding must not cut it short."""
    keep(row, MIDDLE_X, x)
    keep(row, MIDDLE_Y, y)
    keep(row, SLOPE, sxy / syy)
    width = (det + THIN * sxx * syy) / syy
    keep(row, WIDTH, width)
    keep(row, LESS, width / syy)


@kernel
@no_type_check
def write(first, count, row, ends, depth, seen, size, rows, depths, boxes):
    """The rows of eight, turned over again; the tiles they touch (none, where not `seen`), and depths.

    ends: low and high x, low and high y, pixels (4 8).
    """
    tiles_x, tiles_y = (size[0] + at.TILE - 1) // at.TILE, (size[1] + at.TILE - 1) // at.TILE
    store(depth, 0, seen)
    for k in range(min(8, count - first)):
        g = first + k
        depths[g] = depth[k]
        boxes[g] = 0
        if not depth[k] > ZERO:
            continue
        x0, x1 = tile_range(ends[k], ends[8 + k], tiles_x)
        y0, y1 = tile_range(ends[16 + k], ends[24 + k], tiles_y)
        if x1 > x0 and y1 > y0:
            boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3] = x0, y0, x1, y1
            for c in range(rows.shape[1]):
                rows[g, c] = row[8 * c + k]


@kernel
@no_type_check
def footprints_3dgs(part, parts, means, quats, scales, opacities, colours, view, K, size, rows, depths, boxes):
    """Of ellipsoids, as `project_3dgs`."""
    taken, row = np.empty(8 * TAKEN, f32), np.zeros(8 * ROW_3DGS, f32)
    ends, depth = np.empty(32, f32), np.empty(8, f32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    left, right = -cx / fx - MARGIN * size[0] / fx, (f32(size[0]) - cx) / fx + MARGIN * size[0] / fx
    top, bottom = -cy / fy - MARGIN * size[1] / fy, (f32(size[1]) - cy) / fy + MARGIN * size[1] / fy
    for block in range(part, (len(means) + at.BLOCK - 1) // at.BLOCK, parts):
        for first in range(block * at.BLOCK, min((block + 1) * at.BLOCK, len(means)), 8):
            take(first, means, quats, scales, opacities, colours, taken)
            x, y, z = seen_from(view, taken)
            u, v, w = axes(view, taken)
            opacity, rz = of(taken, ODDS), ONE / z
            tx = most(least(x * rz, f32(right)), f32(left))
            ty = most(least(y * rz, f32(bottom)), f32(top))
            s, t, r = rz * of(taken, SCALE), rz * of(taken, SCALE + 1), rz * of(taken, SCALE + 2)
            p, q = fx * s * (u[0] - tx * u[2]), fy * s * (u[1] - ty * u[2])
            a, b, c = p * p + BLUR, p * q, q * q + BLUR
            p, q = fx * t * (v[0] - tx * v[2]), fy * t * (v[1] - ty * v[2])
            a, b, c = a + p * p, b + p * q, c + q * q
            p, q = fx * r * (w[0] - tx * w[2]), fy * r * (w[1] - ty * w[2])
            a, b, c = a + p * p, b + p * q, c + q * q
            det = a * c - b * b
            seen = (z > NEAR) & (z < FAR) & (opacity >= ALPHA_MIN) & (det > ZERO)
            px, py = fx * x * rz + cx, fy * y * rz + cy
            q = seen_within(opacity)
            keep_common(row, taken, px, py, q)
            across = DOUBLED * root(c / det)
            keep(row, UX, across)
            keep(row, UY, ZERO - across * b / c)
            keep(row, VY, DOUBLED / root(c))
            wide, tall = root(q * a) + SLACK, root(q * c) + SLACK
            store(ends, 0, px - wide)
            store(ends, 8, px + wide)
            store(ends, 16, py - tall)
            store(ends, 24, py + tall)
            q = q + MORE
            keep_ellipse(row, px, py, q * a, q * b, q * c, q * q * det)
            write(first, len(means), row, ends, depth, where(seen, z, ZERO), size, rows, depths, boxes)


@kernel
@no_type_check
def footprints_2dgs(part, parts, means, quats, scales, opacities, colours, view, K, size, rows, depths, boxes):
    """Of surfels, as `project_2dgs`."""
    taken, row = np.empty(8 * TAKEN, f32), np.zeros(8 * ROW_2DGS, f32)
    ends, depth = np.empty(32, f32), np.empty(8, f32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    wide, tall = f32(size[0]), f32(size[1])
    for block in range(part, (len(means) + at.BLOCK - 1) // at.BLOCK, parts):
        for first in range(block * at.BLOCK, min((block + 1) * at.BLOCK, len(means)), 8):
            take(first, means, quats, scales, opacities, colours, taken)
            x, y, z = seen_from(view, taken)
            u, v, _ = axes(view, taken)
            opacity, rz = of(taken, ODDS), ONE / z
            xn, yn, s, t = x * rz, y * rz, rz * of(taken, SCALE), rz * of(taken, SCALE + 1)
            h1, h2 = s * u[2], t * v[2]
            j11, j12 = fx * (s * u[0] - xn * h1), fx * (t * v[0] - xn * h2)
            j21, j22 = fy * (s * u[1] - yn * h1), fy * (t * v[1] - yn * h2)
            # Products of the rows of the homography
            hh, hx, hy = h1 * h1 + h2 * h2, h1 * j11 + h2 * j12, h1 * j21 + h2 * j22
            xx, xy, yy = j11 * j11 + j12 * j12, j11 * j21 + j12 * j22, j21 * j21 + j22 * j22
            z0, d = j11 * j22 - j12 * j21, hh - ONE
            seen = (z > NEAR) & (z < FAR) & (opacity >= ALPHA_MIN) & (d != ZERO) & (xx + yy < FAR)
            px, py, ox, oy = fx * xn + cx, fy * yn + cy, hx / d, hy / d
            lx, ly = px + ox, py + oy
            q = seen_within(opacity)
            keep_common(row, taken, px, py, q)
            keep(row, UX, DOUBLED * j22)
            keep(row, UY, (ZERO - DOUBLED) * j12)
            keep(row, VX, (ZERO - DOUBLED) * j21)
            keep(row, VY, DOUBLED * j11)
            keep(row, Z0, z0)
            keep(row, ZX, h2 * j21 - h1 * j22)
            keep(row, ZY, h1 * j12 - h2 * j11)
            keep(row, LX, lx)
            keep(row, LY, ly)
            # gsplat's radius
            rx = ceiling(EXTENT * root(most(ox * ox - xx / d, everywhere(LEAST))))
            ry = ceiling(EXTENT * root(most(oy * oy - yy / d, everywhere(LEAST))))
            seen = seen & (lx + rx > ZERO) & (lx - rx < wide) & (ly + ry > ZERO) & (ly - ry < tall)
            # What can be seen of the disc (its dual conic), unbounded where it cuts the eye's plane
            q = q + MORE
            d = q * hh - ONE
            whole = d < EYE
            d = where(whole, d, ZERO - ONE)
            ox, oy = q * hx / d, q * hy / d
            sxx, sxy, syy = ox * ox - q * xx / d, ox * oy - q * xy / d, oy * oy - q * yy / d
            low = root(q) * LOW_PASS_REACH + SLACK
            keep(row, LOW, low * low)
            half_x = where(whole, root(most(sxx, everywhere(ZERO))) + SLACK, EVERYTHING)
            half_y = where(whole, root(most(syy, everywhere(ZERO))) + SLACK, EVERYTHING)
            store(ends, 0, most(lx - rx, least(px + ox - half_x, lx - low)))
            store(ends, 8, least(lx + rx, most(px + ox + half_x, lx + low)))
            store(ends, 16, most(ly - ry, least(py + oy - half_y, ly - low)))
            store(ends, 24, least(ly + ry, most(py + oy + half_y, ly + low)))
            keep_ellipse(
                row, px + ox, py + oy, sxx, sxy, most(syy, everywhere(f32(1e-6))), q * q * z0 * z0 / (ZERO - d * d * d)
            )
            keep(row, WIDTH, where(whole, of(row, WIDTH), EVERYTHING))
            keep(row, LESS, where(whole, of(row, LESS), ZERO))
            keep(row, SLOPE, where(whole, of(row, SLOPE), ZERO))
            write(first, len(means), row, ends, depth, where(seen, z, ZERO), size, rows, depths, boxes)
