"""Compiled loops of the warp: which triangle is nearest and where its points lay in the portrait; lookups."""

# ruff: noqa: ANN001, ANN201 - compiled functions take their types from the call

from __future__ import annotations

from math import ceil, floor
from typing import no_type_check

import numpy as np

from talkingavatar.runtime.compiled import compiled


def kernel(function):
    """Compiled on first use, exactly rounded: frames have the same bytes wherever they are made."""
    return compiled(function, error_model="numpy")


@kernel
@no_type_check
def trace(screen, faces, values, width, height):
    """Nearest face at each pixel's centre (H, W) int32, -1 where none, and `values` (V, C) of its corners there.

    Of two faces equally near the first is seen. Faces seen from behind are not drawn.
    """
    ids = np.full((height, width), -1, np.int32)
    nearness = np.zeros((height, width), np.float32)
    found = np.zeros((height, width, values.shape[1]), np.float32)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
        bx, by, bz = np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2])
        cx, cy, cz = np.float64(screen[k, 0]), np.float64(screen[k, 1]), np.float64(screen[k, 2])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:  # the picture's y axis points down
            continue
        low, high = max(0, ceil(min(ay, by, cy) - 0.5)), min(height - 1, floor(max(ay, by, cy) - 0.5))
        left, right = max(0, ceil(min(ax, bx, cx) - 0.5)), min(width - 1, floor(max(ax, bx, cx) - 0.5))
        for y in range(low, high + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                w0 = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                w1 = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                w2 = 1.0 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                near = np.float32(w0 * az + w1 * bz + w2 * cz)
                if near > nearness[y, x]:
                    nearness[y, x] = near
                    ids[y, x] = f
                    for c in range(values.shape[1]):
                        found[y, x, c] = w0 * values[i, c] + w1 * values[j, c] + w2 * values[k, c]
    return ids, nearness, found


@kernel
@no_type_check
def sample(picture, places):
    """Colours (H, W, C) float32 of a picture (h, w, C) at places (H, W, 2), pixels; its border goes on outside."""
    height, width, channels = picture.shape
    out = np.empty((places.shape[0], places.shape[1], channels), np.float32)
    for y in range(places.shape[0]):
        for x in range(places.shape[1]):
            u = min(max(places[y, x, 0] - 0.5, 0.0), width - 1.0)
            v = min(max(places[y, x, 1] - 0.5, 0.0), height - 1.0)
            column, row = min(int(u), width - 2), min(int(v), height - 2)
            s, t = u - column, v - row
            for c in range(channels):
                upper = (1 - s) * picture[row, column, c] + s * picture[row, column + 1, c]
                lower = (1 - s) * picture[row + 1, column, c] + s * picture[row + 1, column + 1, c]
                out[y, x, c] = (1 - t) * upper + t * lower
    return out
