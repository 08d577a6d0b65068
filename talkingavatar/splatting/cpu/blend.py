"""One splat over the pixel rows of one tile that it reaches: the inner loops.

All that is known of a tile's pixels lies in one flat array `s`, plane after plane, row by row. Each loop is
one run over `i0 <= i < i1` without branches; with one array, constant offsets and unsigned indices compilers
prove its turns independent and make vector instructions of them (a value that may stay as it was must be read
before anything is written). A finished pixel has its transmittance negated: it takes no later splat.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
ALPHA_MIN, ALPHA_MAX, T_MIN = f32(cv.ALPHA_MIN), f32(cv.ALPHA_MAX), f32(cv.TRANSMITTANCE_MIN)
SCREEN = f32(cv.FILTER_2DGS / 2)
HALF, ONE, TWO, ZERO = f32(0.5), f32(1), f32(2), f32(0)
# exp(-5.6) < 1/255, so the exponential is wanted on [-5.6, 0]: the 8th power of a polynomial on [-0.7, 0].
EXP_LOW, EIGHTH = f32(-5.6), f32(0.125)
E1, E2, E3, E4, E5 = f32(0.99999476), f32(0.49989978), f32(0.1660284), f32(0.0398483), f32(0.00588525)
TINY = f32(1e-12)  # keeps the squared distance to a surfel seen edge-on finite

PIXELS = at.TILE * at.TILE
# Planes of `s`: pixel centres, transmittance; forward, the place of the splat that holds the median depth and
# the blended channels; back, what lies behind, weights, slopes of the exponent and gradients of the channels.
X, Y, T, MEDIAN, REST, WEIGHT, SLOPE = (np.uintp(k * PIXELS) for k in range(7))
C0, C1, C2, C3, C4, C5, C6 = (np.uintp(k * PIXELS) for k in range(7, 14))
PLANES = 14


@kernel
@no_type_check
def exponential(p):
    """exp(p) for -5.6 < p <= 0 to 1e-6, exp(-5.6) below."""
    h = (p if p > EXP_LOW else EXP_LOW) * EIGHTH
    e = ONE + h * (E1 + h * (E2 + h * (E3 + h * (E4 + h * E5))))
    e = e * e
    e = e * e
    return e * e


@kernel
@no_type_check
def alpha_3dgs(dx, dy, a, b, c, opacity):
    """Unclamped alpha, zero below the cut, of an ellipsoid at (dx, dy) pixels from its centre."""
    power = (a * dx + b * dy) * dx + c * dy * dy
    value = opacity * exponential(power)
    return value if value >= ALPHA_MIN and power <= ZERO else ZERO


@kernel
@no_type_check
def alpha_2dgs(dx, dy, ex, ey, j11, j12, j21, j22, z0, zx, zy, opacity):
    """The same of a surfel, at the smaller of on-splat and on-screen distance."""
    z = z0 + zx * dx + zy * dy
    r = ONE / (z if abs(z) > TINY else TINY)
    u, v = (j22 * dx - j12 * dy) * r, (j11 * dy - j21 * dx) * r
    on_splat, on_screen = HALF * (u * u + v * v), SCREEN * (ex * ex + ey * ey)
    value = opacity * exponential(-(on_splat if on_splat <= on_screen else on_screen))
    return value if z != ZERO and value >= ALPHA_MIN else ZERO


@kernel
@no_type_check
def pass_through(s, i, raw):
    """Move the transmittance of pixel i on past alpha `raw`; returns the splat's weight there."""
    alpha = raw if raw < ALPHA_MAX else ALPHA_MAX
    t = s[T + i]
    after = t - t * alpha
    open_ = after > T_MIN
    s[T + i] = after if open_ else -abs(t)
    return alpha * t if open_ else ZERO


@kernel
@no_type_check
def pass_surface(s, i, raw, place):
    """The same, with the place in the tile's order of the splat that holds the median depth."""
    t, median = s[T + i], s[MEDIAN + i]
    weight = pass_through(s, i, raw)
    s[MEDIAN + i] = place if t > HALF and weight > ZERO else median
    return weight


@kernel
@no_type_check
def pass_back(s, i, raw, dot):
    """The same, with the weight and the slope of the exponent into their planes.

    dot: the splat's features times the gradients of the pixel's channels. The REST plane holds what the
    splats behind and the background still add to the slope of the loss.
    """
    alpha = raw if raw < ALPHA_MAX else ALPHA_MAX
    t = s[T + i]
    after = t - t * alpha
    open_ = after > T_MIN
    weight = alpha * t if open_ else ZERO
    s[T + i] = after if open_ else -abs(t)
    behind = s[REST + i] - weight * dot
    s[REST + i] = behind
    s[WEIGHT + i] = weight
    s[SLOPE + i] = raw * (t * dot - behind / (ONE - alpha)) if open_ and raw <= ALPHA_MAX else ZERO


@kernel
@no_type_check
def finished(s):
    """Whether no pixel of the tile is open any more."""
    still_open = ZERO
    for i in range(np.uintp(PIXELS)):
        still_open += s[T + i] if s[T + i] > ZERO else ZERO
    return still_open == ZERO


@kernel
@no_type_check
def blend_3dgs(shape, features, g, i0, i1, left, top, s):
    """Add ellipsoid g to the pixels [i0, i1) of the tile at (left, top)."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    a, b, c = shape[g, at.QXX], shape[g, at.QXY], shape[g, at.QYY]
    f0, f1, f2, f3 = features[g, 0], features[g, 1], features[g, 2], features[g, 3]
    for i in range(i0, i1):
        weight = pass_through(s, i, alpha_3dgs(s[X + i] - mx, s[Y + i] - my, a, b, c, opacity))
        s[C0 + i] += weight * f0
        s[C1 + i] += weight * f1
        s[C2 + i] += weight * f2
        s[C3 + i] += weight * f3


@kernel
@no_type_check
def blend_2dgs(shape, features, g, place, i0, i1, left, top, s):
    """Add surfel g to the pixels [i0, i1) of the tile at (left, top)."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    j11, j12, j21, j22 = shape[g, at.J11], shape[g, at.J12], shape[g, at.J21], shape[g, at.J22]
    z0, zx, zy = shape[g, at.Z0], shape[g, at.ZX], shape[g, at.ZY]
    lx, ly = shape[g, at.LX] - left, shape[g, at.LY] - top
    f0, f1, f2, f3 = features[g, 0], features[g, 1], features[g, 2], features[g, 3]
    f4, f5, f6 = features[g, 4], features[g, 5], features[g, 6]
    for i in range(i0, i1):
        x, y = s[X + i], s[Y + i]
        alpha = alpha_2dgs(x - mx, y - my, x - lx, y - ly, j11, j12, j21, j22, z0, zx, zy, opacity)
        weight = pass_surface(s, i, alpha, place)
        s[C0 + i] += weight * f0
        s[C1 + i] += weight * f1
        s[C2 + i] += weight * f2
        s[C3 + i] += weight * f3
        s[C4 + i] += weight * f4
        s[C5 + i] += weight * f5
        s[C6 + i] += weight * f6


@kernel
@no_type_check
def slopes_3dgs(shape, features, g, i0, i1, left, top, s):
    """Weights and slopes of ellipsoid g; the channels' planes hold their gradients."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    a, b, c = shape[g, at.QXX], shape[g, at.QXY], shape[g, at.QYY]
    f0, f1, f2, f3 = features[g, 0], features[g, 1], features[g, 2], features[g, 3]
    for i in range(i0, i1):
        alpha = alpha_3dgs(s[X + i] - mx, s[Y + i] - my, a, b, c, opacity)
        pass_back(s, i, alpha, f0 * s[C0 + i] + f1 * s[C1 + i] + f2 * s[C2 + i] + f3 * s[C3 + i])


@kernel
@no_type_check
def slopes_2dgs(shape, features, g, i0, i1, left, top, s):
    """Weights and slopes of surfel g; the channels' planes hold their gradients."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    j11, j12, j21, j22 = shape[g, at.J11], shape[g, at.J12], shape[g, at.J21], shape[g, at.J22]
    z0, zx, zy = shape[g, at.Z0], shape[g, at.ZX], shape[g, at.ZY]
    lx, ly = shape[g, at.LX] - left, shape[g, at.LY] - top
    f0, f1, f2, f3 = features[g, 0], features[g, 1], features[g, 2], features[g, 3]
    f4, f5, f6 = features[g, 4], features[g, 5], features[g, 6]
    for i in range(i0, i1):
        x, y = s[X + i], s[Y + i]
        alpha = alpha_2dgs(x - mx, y - my, x - lx, y - ly, j11, j12, j21, j22, z0, zx, zy, opacity)
        dot = f0 * s[C0 + i] + f1 * s[C1 + i] + f2 * s[C2 + i] + f3 * s[C3 + i]
        pass_back(s, i, alpha, dot + f4 * s[C4 + i] + f5 * s[C5 + i] + f6 * s[C6 + i])


@kernel
@no_type_check
def gather_four(i0, i1, s, out, e):
    """Gradients of colour and depth of one splat in one tile."""
    s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        weight = s[WEIGHT + i]
        s0 += weight * s[C0 + i]
        s1 += weight * s[C1 + i]
        s2 += weight * s[C2 + i]
        s3 += weight * s[C3 + i]
    out[e, 0], out[e, 1], out[e, 2], out[e, 3] = s0, s1, s2, s3


@kernel
@no_type_check
def gather_normal(i0, i1, s, out, e):
    """Gradients of the normal of one surfel in one tile."""
    s4, s5, s6 = ZERO, ZERO, ZERO
    for i in range(i0, i1):
        weight = s[WEIGHT + i]
        s4 += weight * s[C4 + i]
        s5 += weight * s[C5 + i]
        s6 += weight * s[C6 + i]
    out[e, 4], out[e, 5], out[e, 6] = s4, s5, s6


@kernel
@no_type_check
def gather_shape_3dgs(shape, g, i0, i1, left, top, s, out, e):
    """Gradients of the columns of `shape` (behind the features in out[e]) from the moments of the slopes."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    m, mdx, mdy, mxx, mxy, myy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        q, dx, dy = s[SLOPE + i], s[X + i] - mx, s[Y + i] - my
        qx, qy = q * dx, q * dy
        m += q
        mdx += qx
        mdy += qy
        mxx += qx * dx
        mxy += qx * dy
        myy += qy * dy
    qxx, qxy, qyy, c = shape[g, at.QXX], shape[g, at.QXY], shape[g, at.QYY], at.CHANNELS_3DGS
    out[e, c + at.X] = -(TWO * qxx * mdx + qxy * mdy)
    out[e, c + at.Y] = -(qxy * mdx + TWO * qyy * mdy)
    out[e, c + at.OPACITY] = m / opacity
    out[e, c + at.QXX], out[e, c + at.QXY], out[e, c + at.QYY] = mxx, mxy, myy


@kernel
@no_type_check
def gather_shape_2dgs(shape, g, i0, i1, left, top, s, out, e):
    """The same for surfels: through u, v and z where the on-splat distance counted, else the low-pass."""
    mx, my, opacity = shape[g, at.X] - left, shape[g, at.Y] - top, shape[g, at.OPACITY]
    j11, j12, j21, j22 = shape[g, at.J11], shape[g, at.J12], shape[g, at.J21], shape[g, at.J22]
    z0, zx, zy = shape[g, at.Z0], shape[g, at.ZX], shape[g, at.ZY]
    lx, ly = shape[g, at.LX] - left, shape[g, at.LY] - top
    m, mu, mux, muy, mv, mvx, mvy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    mz, mzx, mzy, mlx, mly = ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        q, x, y = s[SLOPE + i], s[X + i], s[Y + i]
        dx, dy, ex, ey = x - mx, y - my, x - lx, y - ly
        z = z0 + zx * dx + zy * dy
        r = ONE / (z if abs(z) > TINY else TINY)
        u, v = (j22 * dx - j12 * dy) * r, (j11 * dy - j21 * dx) * r
        distance = u * u + v * v
        splat_counts = HALF * distance <= SCREEN * (ex * ex + ey * ey)
        on_splat = q * r if splat_counts else ZERO
        on_screen = ZERO if splat_counts else q
        qu, qv, qz = -on_splat * u, -on_splat * v, on_splat * distance
        m += q
        mu += qu
        mux += qu * dx
        muy += qu * dy
        mv += qv
        mvx += qv * dx
        mvy += qv * dy
        mz += qz
        mzx += qz * dx
        mzy += qz * dy
        mlx += on_screen * ex
        mly += on_screen * ey
    c = at.CHANNELS_2DGS
    out[e, c + at.X] = -(mu * j22 - mv * j21 + mz * zx)
    out[e, c + at.Y] = -(mv * j11 - mu * j12 + mz * zy)
    out[e, c + at.OPACITY] = m / opacity
    out[e, c + at.J11], out[e, c + at.J12] = mvy, -muy
    out[e, c + at.J21], out[e, c + at.J22] = -mvx, mux
    out[e, c + at.Z0], out[e, c + at.ZX], out[e, c + at.ZY] = mz, mzx, mzy
    out[e, c + at.LX], out[e, c + at.LY] = TWO * SCREEN * mlx, TWO * SCREEN * mly
