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


@kernel
@no_type_check
def spread(anchors, motions, width, height, cells):
    """Motions (K, 2) of anchors (K, 2) on a grid (cells + 1, cells + 1, 2) over a picture, by their distance cubed."""
    out = np.empty((cells + 1, cells + 1, 2))
    for row in range(cells + 1):
        for column in range(cells + 1):
            x, y = column * width / cells, row * height / cells
            total, dx, dy = 0.0, 0.0, 0.0
            for k in range(len(anchors)):
                apart = (x - anchors[k, 0]) ** 2 + (y - anchors[k, 1]) ** 2 + 1e-3
                weight = 1.0 / (apart * np.sqrt(apart))
                total += weight
                dx += weight * motions[k, 0]
                dy += weight * motions[k, 1]
            out[row, column, 0], out[row, column, 1] = dx / total, dy / total
    return out


@kernel
@no_type_check
def unfolded(grid, width, height):
    """Where each pixel came from (H, W, 2) float32 by motions on a grid, and how far (H, W) float32."""
    cells = grid.shape[0] - 1
    where, far = np.empty((height, width, 2), np.float32), np.empty((height, width), np.float32)
    for y in range(height):
        v = (y + 0.5) / height * cells
        row = min(int(v), cells - 1)
        t = v - row
        for x in range(width):
            u = (x + 0.5) / width * cells
            column = min(int(u), cells - 1)
            s = u - column
            dx = (1 - t) * ((1 - s) * grid[row, column, 0] + s * grid[row, column + 1, 0])
            dx += t * ((1 - s) * grid[row + 1, column, 0] + s * grid[row + 1, column + 1, 0])
            dy = (1 - t) * ((1 - s) * grid[row, column, 1] + s * grid[row, column + 1, 1])
            dy += t * ((1 - s) * grid[row + 1, column, 1] + s * grid[row + 1, column + 1, 1])
            where[y, x, 0], where[y, x, 1] = x + 0.5 - dx, y + 0.5 - dy
            far[y, x] = np.sqrt(dx * dx + dy * dy)
    return where, far
