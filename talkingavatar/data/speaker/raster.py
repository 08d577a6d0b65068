"""Visibility: which triangle is nearest at each sample, from a camera or from a light.

Every function here is compiled, and runs in the thread that calls it without holding up others: pictures are shared
out over threads whole. Of two triangles equally near at a sample, the one that comes first in the mesh is seen.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - compiled functions take their types from the call

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from talkingavatar.runtime.compiled import compiled

NEAR = 0.05  # metres; a triangle with a corner nearer than this is dropped, not clipped
LEVELS = 9  # mipmap levels per texture
SOLID, HOLED, EMPTY = 0, 1, 2  # what the texture's coverage leaves of a face
LEAST, MOST = 32, 224  # coverage that no sample shows, and above which all do
TILE = 8  # samples along an edge of what is hidden at once
MARGIN = 1 / 64  # samples by which rounding may move an edge, generously


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use and keep the machine code on disk.

    Without fast mathematics, unlike the rasteriser of Gaussians: a capture has the same bytes wherever it is made.
    """
    return compiled(function, error_model="numpy")


class Atlas(NamedTuple):
    """All textures with their mipmaps in one array."""

    texels: np.ndarray  # (T, 4) uint8, sRGB and coverage
    levels: np.ndarray  # (M, LEVELS, 3) int64: first texel, width, height


class Surface(NamedTuple):
    """What does not move."""

    faces: np.ndarray  # (F, 3) int32
    uvs: np.ndarray  # (F, 3, 2) float32; v runs down the texture
    material: np.ndarray  # (F,) int32
    two_sided: np.ndarray  # (M,) bool
    holes: np.ndarray  # (F,) uint8: SOLID, HOLED (samples are dropped by the texture's coverage) or EMPTY


def untextured(faces: Int[np.ndarray, "F 3"], two_sided: bool = False) -> tuple[Surface, Atlas]:
    """Faces of one plain material, each solid."""
    count = len(faces)
    uvs, zeros = np.zeros((count, 3, 2), np.float32), np.zeros(count, np.int32)
    solid = np.full(count, SOLID, np.uint8)  # one a face: compiled code reads beyond a shorter array without a word
    surface = Surface(faces.astype(np.int32), uvs, zeros, np.array([two_sided]), solid)
    return surface, Atlas(np.zeros((1, 4), np.uint8), np.zeros((1, LEVELS, 3), np.int64))


class Canvas(NamedTuple):
    """What is visible at each sample. Kept from picture to picture: fresh memory costs as much as drawing."""

    ids: Int[np.ndarray, "H W"]  # int32, the nearest face; -1 where empty
    nearness: Float[np.ndarray, "H W"]  # float32
    behind: Float[np.ndarray, "h w"]  # float32, the least nearness in each tile while drawing


def canvas(width: int, height: int) -> Canvas:
    tiles = (-(-height // TILE), -(-width // TILE))
    return Canvas(
        np.empty((height, width), np.int32), np.empty((height, width), np.float32), np.empty(tiles, np.float32)
    )


@kernel
@no_type_check
def vertex_normals(vertices, faces, first, incident):
    """Area-weighted unit normals (V, 3) float32; `incident[first[v]:first[v + 1]]` are the faces around v."""
    out = np.zeros((len(vertices), 3), np.float32)
    for v in range(len(vertices)):
        nx = ny = nz = 0.0
        for k in range(first[v], first[v + 1]):
            f = incident[k]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ux, uy, uz = (
                vertices[b, 0] - vertices[a, 0],
                vertices[b, 1] - vertices[a, 1],
                vertices[b, 2] - vertices[a, 2],
            )
            wx, wy, wz = (
                vertices[c, 0] - vertices[a, 0],
                vertices[c, 1] - vertices[a, 1],
                vertices[c, 2] - vertices[a, 2],
            )
            nx += uy * wz - uz * wy
            ny += uz * wx - ux * wz
            nz += ux * wy - uy * wx
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20
        out[v, 0], out[v, 1], out[v, 2] = nx / length, ny / length, nz / length
    return out


@kernel
@no_type_check
def project(vertices, K, viewmat, scale):
    """Samples (x, y) and nearness 1/z, (V, 3) float32, through a pinhole camera; nearness 0 if too near."""
    out = np.empty((len(vertices), 3), np.float32)
    for v in range(len(vertices)):
        x, y, z = np.float64(vertices[v, 0]), np.float64(vertices[v, 1]), np.float64(vertices[v, 2])
        cx = viewmat[0, 0] * x + viewmat[0, 1] * y + viewmat[0, 2] * z + viewmat[0, 3]
        cy = viewmat[1, 0] * x + viewmat[1, 1] * y + viewmat[1, 2] * z + viewmat[1, 3]
        cz = viewmat[2, 0] * x + viewmat[2, 1] * y + viewmat[2, 2] * z + viewmat[2, 3]
        if cz < NEAR:
            out[v] = 0.0
            continue
        out[v, 0] = scale * (K[0, 0] * cx / cz + K[0, 1] * cy / cz + K[0, 2])
        out[v, 1] = scale * (K[1, 1] * cy / cz + K[1, 2])
        out[v, 2] = 1.0 / cz
    return out


@kernel
@no_type_check
def find_holes(uvs, material, cutout, atlas):
    """SOLID, HOLED or EMPTY of each face, from all texels that it may show; only `cutout` (M,) materials have holes."""
    out = np.zeros(len(uvs), np.uint8)
    for face in range(len(uvs)):
        if not cutout[material[face]]:
            continue
        start, w, h = atlas.levels[material[face], 0]
        u0, v0 = (
            min(uvs[face, 0, 0], uvs[face, 1, 0], uvs[face, 2, 0]),
            min(uvs[face, 0, 1], uvs[face, 1, 1], uvs[face, 2, 1]),
        )
        u1, v1 = (
            max(uvs[face, 0, 0], uvs[face, 1, 0], uvs[face, 2, 0]),
            max(uvs[face, 0, 1], uvs[face, 1, 1], uvs[face, 2, 1]),
        )
        least, most = 255, 0
        for y in range(max(0, int(v0 * h) - 1), min(h - 1, int(v1 * h) + 1) + 1):
            for x in range(max(0, int(u0 * w) - 1), min(w - 1, int(u1 * w) + 1) + 1):
                cover = atlas.texels[start + y * w + x, 3]
                least, most = min(least, cover), max(most, cover)
        out[face] = SOLID if least > MOST else EMPTY if most <= LEAST else HOLED
    return out


@kernel
@no_type_check
def _tighten(w, step, first, last):
    """The part of first..last where w + k step may be positive, a step wider on both sides."""
    if step > 0:
        first = max(first, int(min(max(-w / step, 0.0), 1e6)) - 1)
    elif step < 0:
        last = min(last, int(min(max(-w / step, -1.0), 1e6)) + 1)
    return first, last


@kernel
@no_type_check
def _fold_tiles(nearness, behind):
    """The least nearness in each tile: what is further away than this is hidden there."""
    height, width = nearness.shape
    for row in range(behind.shape[0]):
        for column in range(behind.shape[1]):
            least = np.float32(np.inf)
            for y in range(row * TILE, min(height, row * TILE + TILE)):
                for x in range(column * TILE, min(width, column * TILE + TILE)):
                    least = min(least, nearness[y, x])
            behind[row, column] = least


@kernel
@no_type_check
def _hidden(behind, low, high, left, right, near):
    """Whether all that is drawn in rows low..high and columns left..right is nearer than `near`."""
    for row in range(low // TILE, high // TILE + 1):
        for column in range(left // TILE, right // TILE + 1):
            if behind[row, column] <= near:
                return False
    return True


@kernel
@no_type_check
def _draw(last_pass, screen, surface, atlas, canvas):
    """Write faces where they are the nearest so far.

    Whole faces seen from their front come in the first pass; in the last one most others turn out to be hidden.
    """
    ids, nearness, behind = canvas
    height, width = ids.shape
    faces, uvs, material, two_sided, holes = surface
    texels, levels = atlas
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        a0, a1, a2 = screen[i, 0], screen[i, 1], screen[i, 2]
        b0, b1, b2 = screen[j, 0], screen[j, 1], screen[j, 2]
        c0, c1, c2 = screen[k, 0], screen[k, 1], screen[k, 2]
        area = (b0 - a0) * (c1 - a1) - (b1 - a1) * (c0 - a0)
        # The image's y axis points down, so that a face seen from its front has a negative area.
        if (area < 0 and holes[f] == SOLID) == last_pass or area == 0 or holes[f] == EMPTY:
            continue
        if a2 <= 0 or b2 <= 0 or c2 <= 0 or (area > 0 and not two_sided[material[f]]):
            continue
        ax, ay, az = np.float64(a0), np.float64(a1), np.float64(a2)
        bx, by, bz = np.float64(b0), np.float64(b1), np.float64(b2)
        cx, cy, cz = np.float64(c0), np.float64(c1), np.float64(c2)
        leftmost, rightmost = min(ax, bx, cx), max(ax, bx, cx)
        low = max(0, ceil(min(ay, by, cy) - 0.5 - MARGIN))
        high = min(height - 1, floor(max(ay, by, cy) - 0.5 + MARGIN))
        if low > high or rightmost < 0 or leftmost >= width:
            continue
        left, right = max(0, int(leftmost - 0.5)), min(width - 1, int(rightmost))
        # The nearness of a sample is rounded, so that it may exceed its corners' by the last digit.
        if last_pass and _hidden(behind, low, high, left, right, 1.00001 * max(az, bz, cz)):
            continue
        end = min(width - 1, floor(rightmost - 0.5 + MARGIN)) - left
        inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
        step0, step1 = (by - cy) * inverse, (cy - ay) * inverse
        start, w, h = levels[material[f], 0, 0], levels[material[f], 0, 1], levels[material[f], 0, 2]
        for y in range(low, high + 1):
            py = y + 0.5
            w0 = ((bx - left - 0.5) * (cy - py) - (by - py) * (cx - left - 0.5)) * inverse
            w1 = ((cx - left - 0.5) * (ay - py) - (cy - py) * (ax - left - 0.5)) * inverse
            first, last = 0, right - left
            if last > 8:  # a long row: begin and end near the triangle
                first, last = _tighten(w0, step0, first, last)
                first, last = _tighten(w1, step1, first, last)
                first, last = _tighten(1.0 - w0 - w1, -step0 - step1, first, last)
                w0, w1 = w0 + first * step0, w1 + first * step1
            for x in range(left + first, left + min(last, end) + 1):
                w2 = 1.0 - w0 - w1
                if w0 >= 0 and w1 >= 0 and w2 >= 0:
                    near = np.float32(w0 * az + w1 * bz + w2 * cz)
                    if near > nearness[y, x] or (near == nearness[y, x] and f < ids[y, x]):
                        keep = True
                        if holes[f] == HOLED:
                            p0, p1, p2 = w0 * az, w1 * bz, w2 * cz
                            norm = 1.0 / (p0 + p1 + p2)
                            u = (p0 * uvs[f, 0, 0] + p1 * uvs[f, 1, 0] + p2 * uvs[f, 2, 0]) * norm
                            v = (p0 * uvs[f, 0, 1] + p1 * uvs[f, 1, 1] + p2 * uvs[f, 2, 1]) * norm
                            texel = start + min(h - 1, max(0, int(v * h))) * w + min(w - 1, max(0, int(u * w)))
                            # Four thresholds over a pixel's 2x2 samples turn coverage into grey levels.
                            keep = texels[texel, 3] > LEAST + 64 * ((x & 1) ^ ((y & 1) * 3))
                        if keep:
                            nearness[y, x] = near
                            ids[y, x] = f
                w0 += step0
                w1 += step1


@kernel
@no_type_check
def draw(screen, surface, atlas, canvas):
    """Fill a canvas with the nearest faces, -1 where empty, and their nearness."""
    canvas.ids[:] = -1
    canvas.nearness[:] = 0
    for last_pass in (False, True):
        if last_pass:
            _fold_tiles(canvas.nearness, canvas.behind)
        _draw(last_pass, screen, surface, atlas, canvas)


def visible(
    screen: Float[np.ndarray, "V 3"], surface: Surface, atlas: Atlas, width: int, height: int
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """Nearest face (int32, -1 where empty) and its nearness (float32)."""
    seen = canvas(width, height)
    draw(screen, surface, atlas, seen)
    return seen.ids, seen.nearness
