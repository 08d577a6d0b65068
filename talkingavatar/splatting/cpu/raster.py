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


@kernel
@no_type_check
def pixel_centres(x, y):
    """Pixel centres of a tile relative to its corner."""
    for i in range(PIXELS):
        x[i] = f32(i % at.TILE) + f32(0.5)
        y[i] = f32(i // at.TILE) + f32(0.5)


@kernel
@no_type_check
def pixel_run(rows, g, top):
    """Pixels [i0, i1) of the tile at row `top` that splat g reaches."""
    first = min(max(rows[g, 0] - top, 0), at.TILE)
    last = max(min(rows[g, 1] - top, at.TILE), first)
    return np.uintp(first * at.TILE), np.uintp(last * at.TILE)


@kernel
@no_type_check
def alpha_of(shape, g, i0, i1, x, y, left, top, alpha):
    """Alpha of splat g on the pixels [i0, i1) of the tile at (left, top)."""
    if shape.shape[1] == at.SHAPE_2DGS:
        blend.alpha_2dgs(shape, g, i0, i1, x, y, f32(left), f32(top), alpha)
    else:
        blend.alpha_3dgs(shape, g, i0, i1, x, y, f32(left), f32(top), alpha)


@kernel
@no_type_check
def raster_forward(
    thread,
    threads,
    starts,
    ids,
    shape,
    features,
    rows,
    background,
    rgb,
    alphas,
    depth,
    normals,
    median,
    median_ids,
):
    """Blend every tile front to back. `normals` is empty for 3dgs; `median_ids` is -1 where nothing is."""
    height, width = alphas.shape
    channels = features.shape[1]
    x, y, alpha, weight = (
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
    )
    T, owners, image = np.empty(PIXELS, f32), np.empty(PIXELS, np.int32), np.empty((channels, PIXELS), f32)
    pixel_centres(x, y)
    tiles_x = (width + at.TILE - 1) // at.TILE
    for tile in range(thread, len(starts) - 1, threads):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        T[:] = f32(1)
        owners[:] = -1
        image[:] = f32(0)
        for j in range(starts[tile], starts[tile + 1]):
            g = ids[j]
            i0, i1 = pixel_run(rows, g, top)
            alpha_of(shape, g, i0, i1, x, y, left, top, alpha)
            blend.composite(g, i0, i1, alpha, T, weight, owners)
            for c in range(0, channels, 4):
                blend.add_four(features, g, np.uintp(c), i0, i1, weight, image)
            if (j - starts[tile]) % CHECK_EVERY == CHECK_EVERY - 1 and blend.finished(T):
                break
        for row in range(min(at.TILE, height - top)):
            for column in range(min(at.TILE, width - left)):
                i, v, u = row * at.TILE + column, top + row, left + column
                t = abs(T[i])
                alphas[v, u] = f32(1) - t
                median_ids[v, u] = owners[i]
                median[v, u] = features[owners[i], at.DEPTH] if owners[i] >= 0 else f32(0)
                depth[v, u] = image[at.DEPTH, i] / max(f32(1) - t, EPS)
                for c in range(3):
                    rgb[v, u, c] = image[c, i] + t * background[c]
                if normals.size > 0:
                    for c in range(3):
                        normals[v, u, c] = image[at.NORMAL + c, i]


@kernel
@no_type_check
def load_gradients(left, top, images, v_images, background, v_image, rest):
    """Gradients of one tile's blended channels from those of the images, and all that splats add to it.

    An image without a gradient comes as an empty array.
    """
    rgb, alphas, depth, normals = images
    v_rgb, v_alpha, v_depth, v_normals = v_images
    height, width = alphas.shape
    v_image[:] = f32(0)
    rest[:] = f32(0)
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i, v, u = row * at.TILE + column, top + row, left + column
            alpha = alphas[v, u]
            t = f32(1) - alpha
            v_t, total = f32(0), f32(0)
            if v_rgb.size > 0:
                for c in range(3):
                    slope = v_rgb[v, u, c]
                    v_image[c, i] = slope
                    total += (rgb[v, u, c] - t * background[c]) * slope
                    v_t += background[c] * slope
            if v_alpha.size > 0:
                v_t -= v_alpha[v, u]
            if v_depth.size > 0:
                slope = v_depth[v, u] / max(alpha, EPS)
                v_image[at.DEPTH, i] = slope
                total += depth[v, u] * alpha * slope
                v_t += depth[v, u] * slope if alpha > EPS else f32(0)
            if v_normals.size > 0:
                for c in range(3):
                    slope = v_normals[v, u, c]
                    v_image[at.NORMAL + c, i] = slope
                    total += normals[v, u, c] * slope
            rest[i] = total + t * v_t


@kernel
@no_type_check
def raster_backward(
    thread, threads, starts, ids, first, boxes, shape, features, rows, background, images, v_images, v_edges
):
    """Gradients of features and shape: a row of `v_edges` for each splat in each tile, splat by splat."""
    width = images[1].shape[1]
    channels, columns = features.shape[1], v_edges.shape[1]
    x, y, alpha, weight = (
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
    )
    T, dot, rest, v_power = (
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
        np.empty(PIXELS, f32),
    )
    v_image = np.empty((channels, PIXELS), f32)
    pixel_centres(x, y)
    tiles_x = (width + at.TILE - 1) // at.TILE
    for tile in range(thread, len(starts) - 1, threads):
        column, row = tile % tiles_x, tile // tiles_x
        left, top = column * at.TILE, row * at.TILE
        load_gradients(left, top, images, v_images, background, v_image, rest)
        T[:] = f32(1)
        blended, finished = 0, False
        for j in range(starts[tile], starts[tile + 1]):
            g = ids[j]
            e = first[g] + (row - boxes[g, 1]) * (boxes[g, 2] - boxes[g, 0]) + column - boxes[g, 0]
            i0, i1 = pixel_run(rows, g, top)
            if finished:
                for c in range(columns):
                    v_edges[e, c] = f32(0)
                continue
            alpha_of(shape, g, i0, i1, x, y, left, top, alpha)
            for c in range(0, channels, 4):
                blend.dot_four(features, g, np.uintp(c), i0, i1, v_image, dot)
            blend.composite_backward(i0, i1, alpha, dot, T, rest, weight, v_power)
            for c in range(0, channels, 4):
                blend.sum_four(np.uintp(c), i0, i1, weight, v_image, v_edges, e)
            if shape.shape[1] == at.SHAPE_2DGS:
                blend.shape_backward_2dgs(
                    shape, g, i0, i1, x, y, f32(left), f32(top), v_power, v_edges, e, channels
                )
            else:
                blend.shape_backward_3dgs(
                    shape, g, i0, i1, x, y, f32(left), f32(top), v_power, v_edges, e, channels
                )
            blended += 1
            finished = blended % CHECK_EVERY == 0 and blend.finished(T)
