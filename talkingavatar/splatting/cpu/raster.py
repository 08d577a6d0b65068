"""Tiles of pixels from sorted splats, and back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.cpu import blend
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.lanes import load, prefetch, store
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
PIXELS, STRIDE = blend.PIXELS, blend.STRIDE
FEW = 16  # splats between two looks at whether the tile is finished
EPS = f32(cv.ALPHA_EPS)
T, MEDIAN, REST, CHANNELS = int(blend.T), int(blend.MEDIAN), int(blend.REST), int(blend.C0)


@kernel
@no_type_check
def place_of(row, column):
    """Where a tile's pixel lies in a plane: block after block, row by row in each."""
    block = row // at.BLOCK_Y * at.BLOCKS_X + column // at.BLOCK_X
    return block * at.LANES + row % at.BLOCK_Y * at.BLOCK_X + column % at.BLOCK_X


@kernel
@no_type_check
def new_planes():
    """The planes of a tile with its pixel centres, relative to its corner."""
    s = np.empty(blend.PLANES * STRIDE, f32)
    for row in range(at.TILE):
        for column in range(at.TILE):
            i = place_of(row, column)
            s[i], s[STRIDE + i] = f32(column) + f32(0.5), f32(row) + f32(0.5)
    return s


@kernel
@no_type_check
def reset(s):
    """Everything but the pixel centres: light passes, nothing is blended, and pixels beyond the image add nothing."""
    s[T:] = f32(0)
    s[T : T + PIXELS] = f32(1)


@kernel
@no_type_check
def inside(pixel):
    """The nearest row or column of a tile, or the one behind its last."""
    return min(max(pixel, 0), at.TILE)


@kernel
@no_type_check
def fetch(ids, later, left, top, rows, reach, near, windows):
    """Bring the rows of a few splats together in `near`, and what they reach of the tile in `windows`.

    Rows lie far apart in memory: those of `later` are asked for now, to arrive while these are blended.
    """
    for g in later:
        prefetch(rows, g)
    for k in range(len(ids)):
        g = ids[k]
        x0, x1 = inside(reach[g, 0] - left), inside(reach[g, 2] - left + at.BLOCK_X - 1)
        y0, y1 = inside(reach[g, 1] - top), inside(reach[g, 3] - top + at.BLOCK_Y - 1)
        windows[k, 0], windows[k, 1] = y0 // at.BLOCK_Y, y1 // at.BLOCK_Y
        windows[k, 2], windows[k, 3] = x0 // at.BLOCK_X, x1 // at.BLOCK_X
        for c in range(0, near.shape[1], at.LANES):
            store(near[k], c, load(rows[g], c))


@kernel
@no_type_check
def raster_forward(part, parts, starts, ids, rows, reach, background, images):
    """Blend every tile front to back into `images`, as `write_pixels` lists them."""
    s = new_planes()
    near, windows = np.empty((FEW, rows.shape[1]), f32), np.empty((FEW, 4), np.int64)
    tiles_x = (images[1].shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        x, y = f32(left), f32(top)
        reset(s)
        s[MEDIAN : MEDIAN + PIXELS] = f32(-1)  # no splat holds the median depth yet
        here = ids[starts[tile] : starts[tile + 1]]
        for j in range(0, len(here), FEW):
            few = here[j : j + FEW]
            fetch(few, here[j + FEW : j + 2 * FEW], left, top, rows, reach, near, windows)
            for k in range(len(few)):
                if rows.shape[1] == at.ROW_2DGS:
                    blend.blend_2dgs(near[k], windows[k], f32(j + k), x, y, s)
                else:
                    blend.blend_3dgs(near[k], windows[k], x, y, s)
            if blend.finished(s):
                break
        write_pixels(s, left, top, here, rows, background, images)


@kernel
@no_type_check
def write_pixels(s, left, top, ids, rows, background, images):
    """From a tile's planes to images: rgb, alpha, depth, normals (empty for 3dgs), median depth and whose (2dgs).

    ids: the splats of the tile. The last image gets -1 where there is none.
    """
    rgb, alphas, depth, normals, median, median_ids = images
    height, width = alphas.shape
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i, v, u = place_of(row, column), top + row, left + column
            t, place = abs(s[T + i]), int(s[MEDIAN + i])
            alphas[v, u] = f32(1) - t
            depth[v, u] = s[CHANNELS + at.DEPTH * STRIDE + i] / max(f32(1) - t, EPS)
            median_ids[v, u] = ids[place] if place >= 0 else -1
            median[v, u] = rows[ids[place], at.SHAPE_2DGS + at.DEPTH] if place >= 0 else f32(0)
            for c in range(3):
                rgb[v, u, c] = s[CHANNELS + c * STRIDE + i] + t * background[c]
            if normals.size > 0:
                for c in range(3):
                    normals[v, u, c] = s[CHANNELS + (at.NORMAL + c) * STRIDE + i]


@kernel
@no_type_check
def load_gradients(s, left, top, images, v_images, background):
    """Gradients of a tile's blended channels from those of the images, and all that its splats add.

    images, v_images: rgb, alpha, depth, normals. An image without a gradient comes as an empty array.
    """
    rgb, alphas, depth, normals = images
    v_rgb, v_alpha, v_depth, v_normals = v_images
    height, width = alphas.shape
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i, v, u = place_of(row, column), top + row, left + column
            alpha = alphas[v, u]
            t = f32(1) - alpha
            v_t, total = f32(0), f32(0)
            if v_rgb.size > 0:
                for c in range(3):
                    slope = v_rgb[v, u, c]
                    s[CHANNELS + c * STRIDE + i] = slope
                    total += (rgb[v, u, c] - t * background[c]) * slope
                    v_t += background[c] * slope
            if v_alpha.size > 0:
                v_t -= v_alpha[v, u]
            if v_depth.size > 0:
                slope = v_depth[v, u] / max(alpha, EPS)
                s[CHANNELS + at.DEPTH * STRIDE + i] = slope
                total += depth[v, u] * alpha * slope
                v_t += depth[v, u] * slope if alpha > EPS else f32(0)
            if v_normals.size > 0:
                for c in range(3):
                    slope = v_normals[v, u, c]
                    s[CHANNELS + (at.NORMAL + c) * STRIDE + i] = slope
                    total += normals[v, u, c] * slope
            s[REST + i] = total + t * v_t


@kernel
@no_type_check
def raster_backward(part, parts, starts, ids, rows, reach, background, images, v_images, v_edges):
    """Gradients of features and shape: a row of `v_edges` for each place in `ids`."""
    s = new_planes()
    near, windows = np.empty((FEW, rows.shape[1]), f32), np.empty((FEW, 4), np.int64)
    tiles_x = (images[1].shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        x, y = f32(left), f32(top)
        reset(s)
        load_gradients(s, left, top, images, v_images, background)
        here, finished = ids[starts[tile] : starts[tile + 1]], False
        for j in range(0, len(here), FEW):
            few = here[j : j + FEW]
            if not finished:
                fetch(few, here[j + FEW : j + 2 * FEW], left, top, rows, reach, near, windows)
            for k in range(len(few)):
                e = starts[tile] + j + k
                if finished:
                    v_edges[e] = f32(0)
                elif rows.shape[1] == at.ROW_2DGS:
                    blend.gather_2dgs(near[k], windows[k], x, y, s, v_edges[e])
                else:
                    blend.gather_3dgs(near[k], windows[k], x, y, s, v_edges[e])
            finished = finished or blend.finished(s)
