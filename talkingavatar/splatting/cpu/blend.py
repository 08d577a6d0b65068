"""One splat over the pixel rows of one tile that it reaches: the inner loops.

Pixels of a tile lie one after the other (row by row), so that each loop is one run over `i0 <= i < i1`
without branches, which compilers turn into vector instructions. Indices are unsigned: signed ones could be
negative, and the test for that would keep loops scalar. A finished pixel has its transmittance negated, which
keeps it out of every later splat.
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
HALF, ONE, ZERO = f32(0.5), f32(1), f32(0)
# exp(-5.6) < 1/255, so the exponential is wanted on [-5.6, 0]: the 8th power of a polynomial on [-0.7, 0].
EXP_LOW, EIGHTH = f32(-5.6), f32(0.125)
E1, E2, E3, E4, E5 = f32(0.99999476), f32(0.49989978), f32(0.1660284), f32(0.0398483), f32(0.00588525)
TINY = f32(1e-12)  # keeps the squared distance to a surfel seen edge-on finite


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
def alpha_3dgs(splat, g, i0, i1, x, y, left, top, alpha):
    """Unclamped alpha, zero below the cut, of an ellipsoid."""
    mx, my, opacity = splat[g, at.X] - left, splat[g, at.Y] - top, splat[g, at.OPACITY]
    a, b, c = splat[g, at.QXX], splat[g, at.QXY], splat[g, at.QYY]
    for i in range(i0, i1):
        dx, dy = x[i] - mx, y[i] - my
        power = (a * dx + b * dy) * dx + c * dy * dy
        value = opacity * exponential(power)
        alpha[i] = value if value >= ALPHA_MIN and power <= ZERO else ZERO


@kernel
@no_type_check
def alpha_2dgs(splat, g, i0, i1, x, y, left, top, alpha):
    """The same of a surfel, at the smaller of on-splat and on-screen distance."""
    mx, my, opacity = splat[g, at.X] - left, splat[g, at.Y] - top, splat[g, at.OPACITY]
    j11, j12, j21, j22 = splat[g, at.J11], splat[g, at.J12], splat[g, at.J21], splat[g, at.J22]
    z0, zx, zy = splat[g, at.Z0], splat[g, at.ZX], splat[g, at.ZY]
    lx, ly = splat[g, at.LX] - left, splat[g, at.LY] - top
    for i in range(i0, i1):
        dx, dy, ex, ey = x[i] - mx, y[i] - my, x[i] - lx, y[i] - ly
        z = z0 + zx * dx + zy * dy
        hit = z != ZERO
        r = ONE / (z if abs(z) > TINY else TINY)
        u, v = (j22 * dx - j12 * dy) * r, (j11 * dy - j21 * dx) * r
        on_splat, on_screen = HALF * (u * u + v * v), SCREEN * (ex * ex + ey * ey)
        value = opacity * exponential(-(on_splat if on_splat <= on_screen else on_screen))
        alpha[i] = value if hit and value >= ALPHA_MIN else ZERO


@kernel
@no_type_check
def composite(owner, i0, i1, alpha, T, weight, median):
    """Move transmittances on past a splat; its weights, and its id where it may hold the median depth."""
    for i in range(i0, i1):
        a = alpha[i] if alpha[i] < ALPHA_MAX else ALPHA_MAX
        t = T[i]
        after = t - t * a
        open_ = after > T_MIN
        w = a * t if open_ else ZERO
        weight[i] = w
        median[i] = owner if t > HALF and w > ZERO else median[i]
        T[i] = after if open_ else -abs(t)


@kernel
@no_type_check
def finished(T):
    """Whether no pixel of the tile is open any more."""
    still_open = ZERO
    for i in range(len(T)):
        still_open += T[i] if T[i] > ZERO else ZERO
    return still_open == ZERO


@kernel
@no_type_check
def add_four(features, g, c, i0, i1, weight, image):
    """Channels c to c + 3 of the splat's features, weighted, onto the tile."""
    f0, f1, f2, f3 = features[g, c], features[g, c + 1], features[g, c + 2], features[g, c + 3]
    for i in range(i0, i1):
        w = weight[i]
        image[c, i] += w * f0
        image[c + 1, i] += w * f1
        image[c + 2, i] += w * f2
        image[c + 3, i] += w * f3


@kernel
@no_type_check
def dot_four(features, g, c, i0, i1, v_image, dot):
    """Add to `dot` the splat's features c to c + 3 times the gradients of the image."""
    f0, f1, f2, f3 = features[g, c], features[g, c + 1], features[g, c + 2], features[g, c + 3]
    for i in range(i0, i1):
        total = f0 * v_image[c, i] + f1 * v_image[c + 1, i] + f2 * v_image[c + 2, i] + f3 * v_image[c + 3, i]
        dot[i] = total if c == 0 else dot[i] + total


@kernel
@no_type_check
def composite_backward(i0, i1, alpha, dot, T, rest, weight, v_power):
    """Gradient of the exponent. `rest`: what all that lies behind still adds to the slope of the loss."""
    for i in range(i0, i1):
        a = alpha[i] if alpha[i] < ALPHA_MAX else ALPHA_MAX
        t = T[i]
        after = t - t * a
        open_ = after > T_MIN
        w = a * t if open_ else ZERO
        weight[i] = w
        T[i] = after if open_ else -abs(t)
        behind = rest[i] - w * dot[i]
        rest[i] = behind
        v_alpha = t * dot[i] - behind / (ONE - a)
        v_power[i] = alpha[i] * v_alpha if open_ and alpha[i] <= ALPHA_MAX else ZERO


@kernel
@no_type_check
def sum_four(c, i0, i1, weight, v_image, out, e):
    """Gradients of features c to c + 3 of one splat in one tile."""
    s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        w = weight[i]
        s0 += w * v_image[c, i]
        s1 += w * v_image[c + 1, i]
        s2 += w * v_image[c + 2, i]
        s3 += w * v_image[c + 3, i]
    out[e, c], out[e, c + 1], out[e, c + 2], out[e, c + 3] = s0, s1, s2, s3


@kernel
@no_type_check
def shape_backward_3dgs(splat, g, i0, i1, x, y, left, top, v_power, out, e, c):
    """Gradients of the columns of `shape` (from out[e, c] on) from the moments of the exponent's gradient."""
    mx, my, opacity = splat[g, at.X] - left, splat[g, at.Y] - top, splat[g, at.OPACITY]
    s, sx, sy, sxx, sxy, syy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        q, dx, dy = v_power[i], x[i] - mx, y[i] - my
        qx, qy = q * dx, q * dy
        s += q
        sx += qx
        sy += qy
        sxx += qx * dx
        sxy += qx * dy
        syy += qy * dy
    qxx, qxy, qyy = splat[g, at.QXX], splat[g, at.QXY], splat[g, at.QYY]
    out[e, c + at.X] = -(f32(2) * qxx * sx + qxy * sy)
    out[e, c + at.Y] = -(qxy * sx + f32(2) * qyy * sy)
    out[e, c + at.OPACITY] = s / opacity
    out[e, c + at.QXX], out[e, c + at.QXY], out[e, c + at.QYY] = sxx, sxy, syy


@kernel
@no_type_check
def shape_backward_2dgs(splat, g, i0, i1, x, y, left, top, v_power, out, e, c):
    """The same for surfels: through u, v and z where the on-splat distance counted, else the low-pass."""
    mx, my, opacity = splat[g, at.X] - left, splat[g, at.Y] - top, splat[g, at.OPACITY]
    j11, j12, j21, j22 = splat[g, at.J11], splat[g, at.J12], splat[g, at.J21], splat[g, at.J22]
    z0, zx, zy = splat[g, at.Z0], splat[g, at.ZX], splat[g, at.ZY]
    lx, ly = splat[g, at.LX] - left, splat[g, at.LY] - top
    s, su, sux, suy, sv, svx, svy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    sz, szx, szy, slx, sly = ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(i0, i1):
        q, dx, dy, ex, ey = v_power[i], x[i] - mx, y[i] - my, x[i] - lx, y[i] - ly
        z = z0 + zx * dx + zy * dy
        r = ONE / (z if abs(z) > TINY else TINY)
        u, v = (j22 * dx - j12 * dy) * r, (j11 * dy - j21 * dx) * r
        distance = u * u + v * v
        splat_counts = HALF * distance <= SCREEN * (ex * ex + ey * ey)
        on_splat = q * r if splat_counts else ZERO
        on_screen = ZERO if splat_counts else q
        vu, vv, vz = -on_splat * u, -on_splat * v, on_splat * distance
        s += q
        su += vu
        sux += vu * dx
        suy += vu * dy
        sv += vv
        svx += vv * dx
        svy += vv * dy
        sz += vz
        szx += vz * dx
        szy += vz * dy
        slx += on_screen * ex
        sly += on_screen * ey
    out[e, c + at.X] = -(su * j22 - sv * j21 + sz * zx)
    out[e, c + at.Y] = -(sv * j11 - su * j12 + sz * zy)
    out[e, c + at.OPACITY] = s / opacity
    out[e, c + at.J11], out[e, c + at.J12] = svy, -suy
    out[e, c + at.J21], out[e, c + at.J22] = -svx, sux
    out[e, c + at.Z0], out[e, c + at.ZX], out[e, c + at.ZY] = sz, szx, szy
    out[e, c + at.LX], out[e, c + at.LY] = f32(2) * SCREEN * slx, f32(2) * SCREEN * sly
