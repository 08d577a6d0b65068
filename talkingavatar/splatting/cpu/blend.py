"""One splat over the blocks of pixels of one tile that it reaches: the inner loops.

All that is known of a tile's pixels lies in one flat array `s`, plane after plane, block by block: a block's
eight pixels (4 wide, 2 high) are neighbours there and taken at once (`lanes`). `window` (block rows first,
last, block columns first, last) is what the splat reaches. A finished pixel has its transmittance negated: it
takes no later splat.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.lanes import any_true, everywhere, load, store, total, where
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
ALPHA_MIN, ALPHA_MAX, T_MIN = f32(cv.ALPHA_MIN), f32(cv.ALPHA_MAX), f32(cv.TRANSMITTANCE_MIN)
SCREEN = f32(cv.FILTER_2DGS / 2)
HALF, ONE, TWO, ZERO = f32(0.5), f32(1), f32(2), f32(0)
# exp(-5.6) < 1/255, so the exponential is wanted on [-5.6, 0]: the 8th power of a polynomial on [-0.7, 0].
EXP_LOW, EIGHTH = f32(-5.6), f32(0.125)
E1, E2, E3, E4, E5 = f32(0.99999476), f32(0.49989978), f32(0.1660284), f32(0.0398483), f32(0.00588525)
TINY = f32(1e-12)  # keeps the squared distance to a surfel seen edge-on finite
TINY_SQUARED = TINY * TINY

PIXELS = at.TILE * at.TILE
STRIDE = PIXELS + 2 * at.LANES  # planes 4 KiB apart would make loads wait for stores that only look alike
# Planes of `s`: pixel centres, transmittance, the channels (forward: what is blended; back: their gradients).
# Forward, the place of the splat that holds the median depth; back, what lies behind.
X, Y, T, MEDIAN = (np.uintp(k * STRIDE) for k in range(4))
C0, C1, C2, C3, C4, C5, C6 = (np.uintp(k * STRIDE) for k in range(4, 11))
REST = MEDIAN
PLANES = 11


@kernel
@no_type_check
def first_block(window):
    """Where the window's first block begins, how many blocks it has, and what lies between two of its rows."""
    wide, tall = window[3] - window[2], window[1] - window[0]
    start = (window[0] * at.BLOCKS_X + window[2]) * at.LANES
    return np.uintp(start), wide * tall, np.uintp((at.BLOCKS_X - wide) * at.LANES)


@kernel
@no_type_check
def next_block(i, column, window, skip):
    """The next block and its column: one loop over all of them, whose only surprise is its end."""
    column += 1
    end = column == window[3]
    return i + np.uintp(at.LANES) + (skip if end else np.uintp(0)), window[2] if end else column


@kernel
@no_type_check
def exponential(p):
    """exp(p) for -5.6 < p <= 0 to 1e-6, exp(-5.6) below."""
    h = where(p > EXP_LOW, p, EXP_LOW) * EIGHTH
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
    return where((value >= ALPHA_MIN) & (power <= ZERO), value, ZERO)


@kernel
@no_type_check
def on_surfel(dx, dy, j11, j12, j21, j22, z0, zx, zy):
    """Where the ray of a pixel (dx, dy) from its centre meets a surfel: u, v and 1 / z; and whether it does."""
    z = z0 + zx * dx + zy * dy
    r = ONE / where(z * z > TINY_SQUARED, z, TINY)
    return (j22 * dx - j12 * dy) * r, (j11 * dy - j21 * dx) * r, r, z != ZERO


@kernel
@no_type_check
def alpha_2dgs(on_splat, on_screen, hit, opacity):
    """Unclamped alpha, zero below the cut, of a surfel at the smaller of two halved squared distances."""
    value = opacity * exponential(ZERO - where(on_splat <= on_screen, on_splat, on_screen))
    return where(hit & (value >= ALPHA_MIN), value, ZERO)


@kernel
@no_type_check
def pass_through(s, i, raw):
    """Move the transmittance of pixels i on past alpha `raw`; returns the splat's weight there."""
    alpha = where(raw < ALPHA_MAX, raw, ALPHA_MAX)
    t = load(s, T + i)
    after = t - t * alpha
    open_ = after > T_MIN
    closed = ZERO - t
    store(s, T + i, where(open_, after, where(t < closed, t, closed)))
    return where(open_, alpha * t, ZERO)


@kernel
@no_type_check
def pass_back(s, i, raw, dot):
    """The same; returns the weight and the slope of the exponent.

    dot: the splat's features times the gradients of the pixel's channels. The REST plane holds what the
    splats behind and the background still add to the slope of the loss.
    """
    alpha = where(raw < ALPHA_MAX, raw, ALPHA_MAX)
    t = load(s, T + i)
    after = t - t * alpha
    open_ = after > T_MIN
    weight = where(open_, alpha * t, ZERO)
    store(s, T + i, where(open_, after, where(t > ZERO, ZERO - t, t)))
    behind = load(s, REST + i) - weight * dot
    store(s, REST + i, behind)
    slope = raw * (t * dot - behind / (ONE - alpha))
    return weight, where(open_ & (raw <= ALPHA_MAX), slope, ZERO)


@kernel
@no_type_check
def add(s, i, value):
    """Add to pixels i of a plane."""
    store(s, i, load(s, i) + value)


@kernel
@no_type_check
def finished(s):
    """Whether no pixel of the tile is open any more."""
    for i in range(T, T + np.uintp(PIXELS), np.uintp(at.LANES)):  # noqa: SIM110 - kernels know no `all`
        if any_true(load(s, i) > ZERO):
            return False
    return True


@kernel
@no_type_check
def blend_3dgs(splat, window, left, top, s):
    """Add an ellipsoid (its row of what tiles read) to its window in the tile at (left, top)."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    a, b, c = splat[at.QXX], splat[at.QXY], splat[at.QYY]
    f = at.SHAPE_3DGS
    f0, f1, f2, f3 = splat[f], splat[f + 1], splat[f + 2], splat[f + 3]
    i, count, skip = first_block(window)
    column = window[2]
    for _ in range(count):
        weight = pass_through(s, i, alpha_3dgs(load(s, X + i) - mx, load(s, Y + i) - my, a, b, c, opacity))
        add(s, C0 + i, weight * f0)
        add(s, C1 + i, weight * f1)
        add(s, C2 + i, weight * f2)
        add(s, C3 + i, weight * f3)
        i, column = next_block(i, column, window, skip)


@kernel
@no_type_check
def blend_2dgs(splat, window, place, left, top, s):
    """The same of a surfel, and its place in the tile's order where it holds the median depth."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    j11, j12, j21, j22 = splat[at.J11], splat[at.J12], splat[at.J21], splat[at.J22]
    z0, zx, zy = splat[at.Z0], splat[at.ZX], splat[at.ZY]
    lx, ly = splat[at.LX] - left, splat[at.LY] - top
    f = at.SHAPE_2DGS
    f0, f1, f2, f3 = splat[f], splat[f + 1], splat[f + 2], splat[f + 3]
    f4, f5, f6 = splat[f + 4], splat[f + 5], splat[f + 6]
    i, count, skip = first_block(window)
    column = window[2]
    for _ in range(count):
        x, y, before = load(s, X + i), load(s, Y + i), load(s, T + i)
        u, v, _, hit = on_surfel(x - mx, y - my, j11, j12, j21, j22, z0, zx, zy)
        ex, ey = x - lx, y - ly
        raw = alpha_2dgs(HALF * (u * u + v * v), SCREEN * (ex * ex + ey * ey), hit, opacity)
        weight = pass_through(s, i, raw)
        store(s, MEDIAN + i, where((before > HALF) & (weight > ZERO), place, load(s, MEDIAN + i)))
        add(s, C0 + i, weight * f0)
        add(s, C1 + i, weight * f1)
        add(s, C2 + i, weight * f2)
        add(s, C3 + i, weight * f3)
        add(s, C4 + i, weight * f4)
        add(s, C5 + i, weight * f5)
        add(s, C6 + i, weight * f6)
        i, column = next_block(i, column, window, skip)


@kernel
@no_type_check
def gather_3dgs(splat, window, left, top, s, out):
    """Gradients of an ellipsoid's features, then of its shape through the moments of the slopes, into `out`."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    a, b, c = splat[at.QXX], splat[at.QXY], splat[at.QYY]
    f = at.SHAPE_3DGS
    f0, f1, f2, f3 = splat[f], splat[f + 1], splat[f + 2], splat[f + 3]
    none = everywhere(ZERO)
    s0, s1, s2, s3 = none, none, none, none
    m, mdx, mdy, mxx, mxy, myy = none, none, none, none, none, none
    i, count, skip = first_block(window)
    column = window[2]
    for _ in range(count):
        dx, dy = load(s, X + i) - mx, load(s, Y + i) - my
        v0, v1, v2, v3 = load(s, C0 + i), load(s, C1 + i), load(s, C2 + i), load(s, C3 + i)
        raw = alpha_3dgs(dx, dy, a, b, c, opacity)
        weight, q = pass_back(s, i, raw, f0 * v0 + f1 * v1 + f2 * v2 + f3 * v3)
        s0 += weight * v0
        s1 += weight * v1
        s2 += weight * v2
        s3 += weight * v3
        qx, qy = q * dx, q * dy
        m += q
        mdx += qx
        mdy += qy
        mxx += qx * dx
        mxy += qx * dy
        myy += qy * dy
        i, column = next_block(i, column, window, skip)
    out[0], out[1], out[2], out[3] = total(s0), total(s1), total(s2), total(s3)
    mx, my, c0 = total(mdx), total(mdy), at.CHANNELS_3DGS
    out[c0 + at.X] = -(TWO * a * mx + b * my)
    out[c0 + at.Y] = -(b * mx + TWO * c * my)
    out[c0 + at.OPACITY] = total(m) / opacity
    out[c0 + at.QXX], out[c0 + at.QXY], out[c0 + at.QYY] = total(mxx), total(mxy), total(myy)


@kernel
@no_type_check
def gather_2dgs(splat, window, left, top, s, out):
    """The same of a surfel: through u, v and z where the on-splat distance counted, else the low-pass."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    j11, j12, j21, j22 = splat[at.J11], splat[at.J12], splat[at.J21], splat[at.J22]
    z0, zx, zy = splat[at.Z0], splat[at.ZX], splat[at.ZY]
    lx, ly = splat[at.LX] - left, splat[at.LY] - top
    f = at.SHAPE_2DGS
    f0, f1, f2, f3 = splat[f], splat[f + 1], splat[f + 2], splat[f + 3]
    f4, f5, f6 = splat[f + 4], splat[f + 5], splat[f + 6]
    none = everywhere(ZERO)
    s0, s1, s2, s3, s4, s5, s6 = none, none, none, none, none, none, none
    m, mu, mux, muy, mv, mvx, mvy = none, none, none, none, none, none, none
    mz, mzx, mzy, mlx, mly = none, none, none, none, none
    i, count, skip = first_block(window)
    column = window[2]
    for _ in range(count):
        x, y = load(s, X + i), load(s, Y + i)
        dx, dy, ex, ey = x - mx, y - my, x - lx, y - ly
        u, v, r, hit = on_surfel(dx, dy, j11, j12, j21, j22, z0, zx, zy)
        distance = u * u + v * v
        on_splat, on_screen = HALF * distance, SCREEN * (ex * ex + ey * ey)
        raw = alpha_2dgs(on_splat, on_screen, hit, opacity)
        v0, v1, v2, v3 = load(s, C0 + i), load(s, C1 + i), load(s, C2 + i), load(s, C3 + i)
        v4, v5, v6 = load(s, C4 + i), load(s, C5 + i), load(s, C6 + i)
        dot = f0 * v0 + f1 * v1 + f2 * v2 + f3 * v3 + f4 * v4 + f5 * v5 + f6 * v6
        weight, q = pass_back(s, i, raw, dot)
        s0 += weight * v0
        s1 += weight * v1
        s2 += weight * v2
        s3 += weight * v3
        s4 += weight * v4
        s5 += weight * v5
        s6 += weight * v6
        m += q
        through = where(on_splat <= on_screen, q, ZERO)
        low_pass, through = q - through, through * r
        qu, qv, qz = through * u, through * v, through * distance
        mu += qu
        mux += qu * dx
        muy += qu * dy
        mv += qv
        mvx += qv * dx
        mvy += qv * dy
        mz += qz
        mzx += qz * dx
        mzy += qz * dy
        mlx += low_pass * ex
        mly += low_pass * ey
        i, column = next_block(i, column, window, skip)
    out[0], out[1], out[2], out[3] = total(s0), total(s1), total(s2), total(s3)
    out[4], out[5], out[6] = total(s4), total(s5), total(s6)
    c0, vu, vv, vz = at.CHANNELS_2DGS, total(mu), total(mv), total(mz)
    out[c0 + at.X] = vu * j22 - vv * j21 - vz * zx
    out[c0 + at.Y] = vv * j11 - vu * j12 - vz * zy
    out[c0 + at.OPACITY] = total(m) / opacity
    out[c0 + at.J11], out[c0 + at.J12] = -total(mvy), total(muy)
    out[c0 + at.J21], out[c0 + at.J22] = total(mvx), -total(mux)
    out[c0 + at.Z0], out[c0 + at.ZX], out[c0 + at.ZY] = vz, total(mzx), total(mzy)
    out[c0 + at.LX], out[c0 + at.LY] = TWO * SCREEN * total(mlx), TWO * SCREEN * total(mly)
