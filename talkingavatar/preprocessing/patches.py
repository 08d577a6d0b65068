"""Small patches of a picture that can be told from their neighbours, and where they are found again in another one."""

from __future__ import annotations

from functools import partial
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy.ndimage import gaussian_filter, maximum_filter

from talkingavatar.runtime.compiled import compiled

HALF = 8  # pixels: half of a patch's side
BLUR = 0.7  # pixels, of every picture before it is looked at
FLAT = 0.02  # of a patch's sharpest curvature: below it a direction says nothing of where the patch lies


def grey(picture: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "H W"]:
    """Brightness, slightly blurred."""
    red, green, blue = (picture[..., c].astype(np.float64) for c in range(3))
    return gaussian_filter((red + green + blue) / 3, BLUR).astype(np.float32)


def structure(picture: Float[ndarray, "H W"]) -> tuple[Float[ndarray, "H W"], ...]:
    """Products of the slopes in x and y (xx, yy, xy), as a patch sees them."""
    dy, dx = np.gradient(picture)
    xx, yy, xy = (gaussian_filter(a, HALF / 2) for a in (dx * dx, dy * dy, dx * dy))
    return xx, yy, xy


def strengths(
    xx: Float[ndarray, "H W"], yy: Float[ndarray, "H W"], xy: Float[ndarray, "H W"]
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"]]:
    """Squared grey levels a pixel by which a patch differs from its neighbours: least and most of all directions.

    Eigenvalues of `structure`; the first is great at corners (Shi and Tomasi 1994), the second at edges as well.
    """
    middle, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return middle - half, middle + half


def peaks(
    strength: Float[ndarray, "H W"], where: Bool[ndarray, "H W"], least: float, apart: int, most: int
) -> Float[ndarray, "N 2"]:
    """Places (x, y) of the greatest strength, `apart` from each other and from the picture's ends, the best first."""
    edge = HALF + 2
    allowed = where.copy()
    allowed[:edge], allowed[-edge:], allowed[:, :edge], allowed[:, -edge:] = False, False, False, False
    rows, columns = np.nonzero(allowed & (strength == maximum_filter(strength, apart)) & (strength > least))
    order = np.argsort(-strength[rows, columns])[:most]
    return np.stack([columns[order], rows[order]], 1).astype(np.float64)


def cut(picture: Float[ndarray, "H W"], centres: Float[ndarray, "N 2"]) -> Float[ndarray, "N P P"]:
    """The patches round these pixels, each of zero mean and unit norm."""
    side = 2 * HALF + 1
    patches = np.empty((len(centres), side, side), np.float32)
    for patch, (x, y) in zip(patches, centres.astype(int), strict=True):
        patch[:] = picture[y - HALF : y + HALF + 1, x - HALF : x + HALF + 1]
        patch -= patch.mean()
        patch /= max(float(np.linalg.norm(patch)), 1e-6)
    return patches


@no_type_check
@partial(compiled, fastmath=True)
def _correlations(picture, patch, x, y, out):  # noqa: ANN001, ANN202
    """Sums of values, of squares and of products with a patch, centred at (x, y) and at the places right of it.

    All places of a row at a time, each added up in the same order: the processor's wide registers hold them.
    """
    side, places = len(patch), out.shape[1]
    half = side // 2
    columns = np.zeros((2, places + side - 1))
    out[:] = 0.0
    for j in range(side):
        line = picture[y + j - half, x - half : x - half + places + side - 1]
        for c in range(len(line)):
            value = line[c]
            columns[0, c] += value
            columns[1, c] += value * value
        for i in range(side):
            weight = patch[j, i]
            for u in range(places):
                out[2, u] += weight * line[u + i]
    for i in range(side):
        for u in range(places):
            out[0, u] += columns[0, u + i]
            out[1, u] += columns[1, u + i]


@no_type_check
@partial(compiled, fastmath=True)
def search(picture, patches, guess, reach, pull=0.0):  # noqa: ANN001, ANN201
    """Where each patch is found again, and its correlation there; -1 where it is nowhere within reach.

    Args:
        picture: H W, as `grey` makes them.
        patches: N P P, as `cut` makes them.
        guess: N 2, pixels x, y.
        reach: pixels from the guess that are looked at.
        pull: correlation that a squared pixel of distance costs: an edge, which looks alike all along, stays near.

    Returns:
        found (N 2), to a fraction of a pixel by a quadric through the nine best correlations; correlation (N).
    """
    count, side, _ = patches.shape
    half = side // 2
    height, width = picture.shape
    span = 2 * reach + 1
    found, best = guess.copy(), np.full(count, -1.0)
    score, cost = np.empty((span, span)), np.empty((span, span))
    sums = np.empty((3, span))
    for n in range(count):
        x0, y0 = round(guess[n, 0]) - reach, round(guess[n, 1]) - reach
        # Places from which a patch lies inside the picture.
        left, right = max(0, half - x0), min(span, width - half - x0)
        score[:], cost[:] = -1.0, -2.0
        top, column, row = -2.0, 0, 0
        for v in range(max(0, half - y0), min(span, height - half - y0) if left < right else 0):
            _correlations(picture, patches[n], x0 + left, y0 + v, sums[:, left:right])
            for u in range(left, right):
                variance = sums[1, u] - sums[0, u] * sums[0, u] / (side * side)
                if variance > 1e-3:
                    score[v, u] = sums[2, u] / np.sqrt(variance)
                cost[v, u] = score[v, u] - pull * ((x0 + u - guess[n, 0]) ** 2 + (y0 + v - guess[n, 1]) ** 2)
                if cost[v, u] > top:
                    top, column, row = cost[v, u], u, v
        if not (0 < column < span - 1 and 0 < row < span - 1):
            continue
        around = cost[row - 1 : row + 2, column - 1 : column + 2]
        if around.min() <= -1.5:
            continue
        gx, gy = 0.5 * (around[1, 2] - around[1, 0]), 0.5 * (around[2, 1] - around[0, 1])
        a = 2 * around[1, 1] - around[1, 2] - around[1, 0]
        c = 2 * around[1, 1] - around[2, 1] - around[0, 1]
        b = -0.25 * (around[2, 2] - around[2, 0] - around[0, 2] + around[0, 0])
        damp = FLAT * (a + c) + 1e-9
        a, c = a + damp, c + damp
        det = a * c - b * b
        dx, dy = 0.0, 0.0
        if det > 0:
            dx, dy = (c * gx - b * gy) / det, (a * gy - b * gx) / det
        if abs(dx) > 1 or abs(dy) > 1:
            dx, dy = 0.0, 0.0
        best[n] = score[row, column]
        found[n, 0], found[n, 1] = x0 + column + dx, y0 + row + dy
    return found, best
