"""Tiles of pixels from sorted splats, and back."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.cpu import blend
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
PIXELS = at.TILE * at.TILE
CHECK_EVERY = 16  # splats between two looks at whether the tile is finished
EPS = f32(cv.ALPHA_EPS)
T, MEDIAN, REST, CHANNELS = int(blend.T), int(blend.MEDIAN), int(blend.REST), int(blend.C0)


@kernel
@no_type_check
def new_planes():
    """The planes of a tile with its pixel centres, relative to its corner."""
    s = np.empty(blend.PLANES * PIXELS, f32)
    for i in range(PIXELS):
        s[i] = f32(i % at.TILE) + f32(0.5)
        s[PIXELS + i] = f32(i // at.TILE) + f32(0.5)
    return s


@kernel
@no_type_check
def reset(s):
    """Everything but the pixel centres; no splat holds the median depth yet."""
    s[T:] = f32(0)
    s[T : T + PIXELS] = f32(1)
    s[MEDIAN : MEDIAN + PIXELS] = f32(-1)


@kernel
@no_type_check
def pixel_run(rows, g, top):
    """Pixels [i0, i1) of the tile at row `top` that splat g reaches."""
    first = min(max(rows[g, 0] - top, 0), at.TILE)
    last = max(min(rows[g, 1] - top, at.TILE), first)
    return np.uintp(first * at.TILE), np.uintp(last * at.TILE)


@kernel
@no_type_check
def raster_forward(part, parts, starts, ids, shape, features, rows, background, images):
    """Blend every tile front to back into `images`, as `write_pixels` lists them."""
    s = new_planes()
    tiles_x = (images[1].shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        x, y = f32(left), f32(top)
        reset(s)
        for j in range(starts[tile], starts[tile + 1]):
            g, place = ids[j], j - starts[tile]
            i0, i1 = pixel_run(rows, g, top)
            if shape.shape[1] == at.SHAPE_2DGS:
                blend.blend_2dgs(shape, features, g, f32(place), i0, i1, x, y, s)
            else:
                blend.blend_3dgs(shape, features, g, i0, i1, x, y, s)
            if place % CHECK_EVERY == CHECK_EVERY - 1 and blend.finished(s):
                break
        write_pixels(s, left, top, ids[starts[tile] : starts[tile + 1]], features, background, images)


@kernel
@no_type_check
def write_pixels(s, left, top, ids, features, background, images):
    """From a tile's planes to images: rgb, alpha, depth, normals (empty for 3dgs), median depth and whose (2dgs).

    ids: the splats of the tile. The last image gets -1 where there is none.
    """
    rgb, alphas, depth, normals, median, median_ids = images
    height, width = alphas.shape
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i, v, u = row * at.TILE + column, top + row, left + column
            t, place = abs(s[T + i]), int(s[MEDIAN + i])
            alphas[v, u] = f32(1) - t
            depth[v, u] = s[CHANNELS + at.DEPTH * PIXELS + i] / max(f32(1) - t, EPS)
            median_ids[v, u] = ids[place] if place >= 0 else -1
            median[v, u] = features[ids[place], at.DEPTH] if place >= 0 else f32(0)
            for c in range(3):
                rgb[v, u, c] = s[CHANNELS + c * PIXELS + i] + t * background[c]
            if normals.size > 0:
                for c in range(3):
                    normals[v, u, c] = s[CHANNELS + (at.NORMAL + c) * PIXELS + i]


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
            i, v, u = row * at.TILE + column, top + row, left + column
            alpha = alphas[v, u]
            t = f32(1) - alpha
            v_t, total = f32(0), f32(0)
            if v_rgb.size > 0:
                for c in range(3):
                    slope = v_rgb[v, u, c]
                    s[CHANNELS + c * PIXELS + i] = slope
                    total += (rgb[v, u, c] - t * background[c]) * slope
                    v_t += background[c] * slope
            if v_alpha.size > 0:
                v_t -= v_alpha[v, u]
            if v_depth.size > 0:
                slope = v_depth[v, u] / max(alpha, EPS)
                s[CHANNELS + at.DEPTH * PIXELS + i] = slope
                total += depth[v, u] * alpha * slope
                v_t += depth[v, u] * slope if alpha > EPS else f32(0)
            if v_normals.size > 0:
                for c in range(3):
                    slope = v_normals[v, u, c]
                    s[CHANNELS + (at.NORMAL + c) * PIXELS + i] = slope
                    total += normals[v, u, c] * slope
            s[REST + i] = total + t * v_t


@kernel
@no_type_check
def raster_backward(
    part, parts, starts, ids, first, boxes, shape, features, rows, background, images, v_images, v_edges
):
    """Gradients of features and shape: a row of `v_edges` for each splat in each tile, splat by splat."""
    s = new_planes()
    tiles_x = (images[1].shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        column, row = tile % tiles_x, tile // tiles_x
        left, top = column * at.TILE, row * at.TILE
        x, y = f32(left), f32(top)
        reset(s)
        load_gradients(s, left, top, images, v_images, background)
        finished = False
        for j in range(starts[tile], starts[tile + 1]):
            g, place = ids[j], j - starts[tile]
            e = first[g] + (row - boxes[g, 1]) * (boxes[g, 2] - boxes[g, 0]) + column - boxes[g, 0]
            if finished:
                for c in range(v_edges.shape[1]):
                    v_edges[e, c] = f32(0)
                continue
            i0, i1 = pixel_run(rows, g, top)
            if shape.shape[1] == at.SHAPE_2DGS:
                blend.slopes_2dgs(shape, features, g, i0, i1, x, y, s)
                blend.gather_normal(i0, i1, s, v_edges, e)
                blend.gather_shape_2dgs(shape, g, i0, i1, x, y, s, v_edges, e)
            else:
                blend.slopes_3dgs(shape, features, g, i0, i1, x, y, s)
                blend.gather_shape_3dgs(shape, g, i0, i1, x, y, s, v_edges, e)
            blend.gather_four(i0, i1, s, v_edges, e)
            finished = place % CHECK_EVERY == CHECK_EVERY - 1 and blend.finished(s)
