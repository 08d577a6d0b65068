"""Visibility: which triangle is nearest at each sample, from a camera or from a light.

Every function here is compiled. Rows of samples are cut into bands that are independent of each other,
and a band visits its triangles in the mesh's order, so the result has the same bytes for any number of
threads.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - compiled functions take their types from the call

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit, prange

BAND = 16  # rows of samples per band
NEAR = 0.05  # metres; a triangle with a corner nearer than this is dropped, not clipped
LEVELS = 9  # mipmap levels per texture


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
    cutout: np.ndarray  # (M,) bool: samples are dropped by the texture's coverage


@njit(cache=True, parallel=True)
@no_type_check
def vertex_normals(vertices, faces, first, incident):
    """Area-weighted unit normals (V, 3) float32; `incident[first[v]:first[v + 1]]` are the faces around v."""
    out = np.zeros((len(vertices), 3), np.float32)
    for v in prange(len(vertices)):
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


@njit(cache=True, parallel=True)
@no_type_check
def project(vertices, K, viewmat, scale):
    """Samples (x, y) and nearness 1/z, (V, 3) float32, through a pinhole camera; nearness 0 if too near."""
    out = np.empty((len(vertices), 3), np.float32)
    for v in prange(len(vertices)):
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


@njit(cache=True)
@no_type_check
def spread(i, count):
    """A permutation of 0..count-1 that gives two threads with half of the range each every other row."""
    half = (count + 1) // 2
    return 2 * i if i < half else 2 * (i - half) + 1


@njit(cache=True)
@no_type_check
def bin_faces(screen, surface, width, height):
    """Visible faces per band of rows, in the mesh's order: (first (bands + 1,), faces)."""
    bands = (height + BAND - 1) // BAND
    count = len(surface.faces)
    rows = np.full((count, 2), -1, np.int32)
    first = np.zeros(bands + 1, np.int64)
    for f in range(count):
        a, b, c = screen[surface.faces[f, 0]], screen[surface.faces[f, 1]], screen[surface.faces[f, 2]]
        if a[2] <= 0 or b[2] <= 0 or c[2] <= 0:
            continue
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0 or (area > 0 and not surface.two_sided[surface.material[f]]):
            continue  # the image's y axis points down, so that a face seen from its front has a negative area
        low, high = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
        left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
        if high < 0 or low >= height or right < 0 or left >= width:
            continue
        rows[f, 0] = max(0, int(low)) // BAND
        rows[f, 1] = min(height - 1, int(high)) // BAND
        for band in range(rows[f, 0], rows[f, 1] + 1):
            first[band + 1] += 1
    for band in range(bands):
        first[band + 1] += first[band]
    ids = np.empty(first[bands], np.int32)
    at = first[:-1].copy()
    for f in range(count):
        if rows[f, 0] >= 0:
            for band in range(rows[f, 0], rows[f, 1] + 1):
                ids[at[band]] = f
                at[band] += 1
    return first, ids


@njit(cache=True)
@no_type_check
def coverage(atlas, material, u, v):
    """Coverage (0 to 255) of the texel at (u, v) of the finest level."""
    start, w, h = atlas.levels[material, 0]
    x = min(w - 1, max(0, int(u * w)))
    y = min(h - 1, max(0, int(v * h)))
    return atlas.texels[start + y * w + x, 3]


@njit(cache=True)
@no_type_check
def _tighten(w, step, first, last):
    """The part of first..last where w + k step may be positive, a step wider on both sides."""
    if step > 0:
        first = max(first, int(min(max(-w / step, 0.0), 1e6)) - 1)
    elif step < 0:
        last = min(last, int(min(max(-w / step, -1.0), 1e6)) + 1)
    return first, last


@njit(cache=True)
@no_type_check
def _face_into(face, ids, nearness, screen, surface, atlas, top, bottom):
    """Write one face where it is the nearest so far in rows [top, bottom)."""
    i, j, k = surface.faces[face, 0], surface.faces[face, 1], surface.faces[face, 2]
    ax, ay, az = np.float64(screen[i, 0]), np.float64(screen[i, 1]), np.float64(screen[i, 2])
    bx, by, bz = np.float64(screen[j, 0]), np.float64(screen[j, 1]), np.float64(screen[j, 2])
    cx, cy, cz = np.float64(screen[k, 0]), np.float64(screen[k, 1]), np.float64(screen[k, 2])
    inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    material = surface.material[face]
    cut = surface.cutout[material]
    left, right = max(0, int(min(ax, bx, cx) - 0.5)), min(ids.shape[1] - 1, int(max(ax, bx, cx)))
    low, high = max(top, int(min(ay, by, cy) - 0.5)), min(bottom - 1, int(max(ay, by, cy)))
    step0, step1 = (by - cy) * inverse, (cy - ay) * inverse
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
        for x in range(left + first, left + last + 1):
            w2 = 1.0 - w0 - w1
            if w0 >= 0 and w1 >= 0 and w2 >= 0:
                near = np.float32(w0 * az + w1 * bz + w2 * cz)
                if near > nearness[y, x]:
                    keep = True
                    if cut:
                        p0, p1, p2 = w0 * az, w1 * bz, w2 * cz
                        norm = 1.0 / (p0 + p1 + p2)
                        uv = surface.uvs[face]
                        u = (p0 * uv[0, 0] + p1 * uv[1, 0] + p2 * uv[2, 0]) * norm
                        v = (p0 * uv[0, 1] + p1 * uv[1, 1] + p2 * uv[2, 1]) * norm
                        # Four thresholds over a pixel's 2x2 samples turn coverage into grey levels.
                        keep = coverage(atlas, material, u, v) > 32 + 64 * ((x & 1) ^ ((y & 1) * 3))
                    if keep:
                        nearness[y, x] = near
                        ids[y, x] = face
            w0 += step0
            w1 += step1


@njit(cache=True, parallel=True)
@no_type_check
def visible(screen, surface, atlas, width, height):
    """Nearest face (H, W) int32, -1 where empty, and its nearness (H, W) float32."""
    first, faces = bin_faces(screen, surface, width, height)
    ids = np.full((height, width), -1, np.int32)
    nearness = np.zeros((height, width), np.float32)
    bands = len(first) - 1
    for i in prange(bands):
        band = spread(i, bands)
        top, bottom = band * BAND, min(height, (band + 1) * BAND)
        for k in range(first[band], first[band + 1]):
            _face_into(faces[k], ids, nearness, screen, surface, atlas, top, bottom)
    return ids, nearness
