"""Colours alone, as bytes: what a film needs of a rendering, in half of its time.

The same splats in the same order as `raster`, without depth, normals, whatever only gradients need, and images between.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.splatting.colours import view_colours
from talkingavatar.splatting.conventions import Mode
from talkingavatar.splatting.cpu import blend
from talkingavatar.splatting.cpu import footprints as fp
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.footprints import footprints_2dgs, footprints_3dgs
from talkingavatar.splatting.cpu.lanes import bits, load, lowest, prefetch, root, where
from talkingavatar.splatting.cpu.launch import kernel, spread
from talkingavatar.splatting.cpu.tiles import bin_splats
from talkingavatar.types import Cameras, Gaussians

f32, u64 = np.float32, np.uint64
WHOLE = f32(255)
FEW = 16  # splats between two looks at which blocks of pixels are finished
ROWS, COLUMNS = at.TILE // at.BLOCK_Y, at.TILE // at.BLOCK_X
STRIDE, CHANNELS, T = blend.STRIDE, int(blend.C0), int(blend.T)
PLANES = CHANNELS + 3 * STRIDE
BEYOND = f32(1e9)  # pixels


@kernel
@no_type_check
def place_of(row, column):
    """Where a tile's pixel lies in a plane: block below block, so that a column of blocks is a byte of bits."""
    block = column // at.BLOCK_X * ROWS + row // at.BLOCK_Y
    return block * at.LANES + row % at.BLOCK_Y * at.BLOCK_X + column % at.BLOCK_X


@kernel
@no_type_check
def new_planes():
    """The planes of a tile with its pixel centres, relative to its corner."""
    s = np.empty(PLANES, f32)
    for row in range(at.TILE):
        for column in range(at.TILE):
            i = place_of(row, column)
            s[i], s[STRIDE + i] = f32(column) + f32(0.5), f32(row) + f32(0.5)
    return s


@kernel
@no_type_check
def between(y, splat, left, top):
    """Least and greatest x, in eight rows of pixels, of where a splat's ellipse is."""
    y = y - (splat[fp.MIDDLE_Y] - top)
    x = splat[fp.SLOPE] * y + (splat[fp.MIDDLE_X] - left)
    q = splat[fp.WIDTH] - splat[fp.LESS] * y * y
    half = root(where(q > blend.ZERO, q, blend.ZERO))
    return where(q >= blend.ZERO, x - half, BEYOND), where(q >= blend.ZERO, x + half, -BEYOND)


@kernel
@no_type_check
def widened(y, splat, left, top, low, high):
    """The same with a surfel's low-pass."""
    y = y - (splat[fp.LY] - top)
    q = splat[fp.LOW] - y * y
    half = root(where(q > blend.ZERO, q, blend.ZERO))
    x = splat[fp.LX] - left
    first, last = where(q >= blend.ZERO, x - half, BEYOND), where(q >= blend.ZERO, x + half, -BEYOND)
    return where(first < low, first, low), where(last > high, last, high)


@kernel
@no_type_check
def blocks_of(splat, surfel, left, top, ys):
    """Which blocks of the tile at (left, top) a splat can be seen in, as bits.

    ys: of the upper rows of the blocks, then of their lower ones.
    """
    upper, lower = load(ys, 0), load(ys, 8)
    low, high = between(upper, splat, left, top)
    also_low, also_high = between(lower, splat, left, top)
    low, high = where(also_low < low, also_low, low), where(also_high > high, also_high, high)
    if surfel:
        low, high = widened(upper, splat, left, top, low, high)
        low, high = widened(lower, splat, left, top, low, high)
    found = bits((low <= f32(3.5)) & (high >= f32(0.5)))
    found |= bits((low <= f32(7.5)) & (high >= f32(4.5))) << u64(8)
    found |= bits((low <= f32(11.5)) & (high >= f32(8.5))) << u64(16)
    return found | bits((low <= f32(15.5)) & (high >= f32(12.5))) << u64(24)


@kernel
@no_type_check
def open_blocks(s):
    """Which blocks have a pixel that is not finished."""
    found = u64(0)
    for block in range(ROWS * COLUMNS):
        here = bits(load(s, blend.T + np.uintp(at.LANES * block)) > blend.ZERO)
        found |= u64(here != u64(0)) << u64(block)
    return found


@kernel
@no_type_check
def next_block(blocks):
    """Where the first of some blocks lies in a plane, and the others."""
    return np.uintp(lowest(blocks) * u64(at.LANES)), blocks & (blocks - u64(1))


@kernel
@no_type_check
def lay_over(s, i, raw, red, green, blue):
    """A splat of alpha `raw` over pixels i."""
    weight = blend.pass_through(s, i, raw)
    blend.add(s, blend.C0 + i, weight * red)
    blend.add(s, blend.C1 + i, weight * green)
    blend.add(s, blend.C2 + i, weight * blue)


@kernel
@no_type_check
def lay_3dgs(splat, blocks, left, top, s):
    """An ellipsoid over blocks of the tile at (left, top)."""
    mx, my, opacity = splat[fp.X] - left, splat[fp.Y] - top, splat[fp.OPACITY]
    a, b, c = splat[fp.QXX], splat[fp.QXY], splat[fp.QYY]
    red, green, blue = splat[fp.RED], splat[fp.GREEN], splat[fp.BLUE]
    while blocks != u64(0):
        i, blocks = next_block(blocks)
        raw = blend.alpha_3dgs(load(s, blend.X + i) - mx, load(s, blend.Y + i) - my, a, b, c, opacity)
        lay_over(s, i, raw, red, green, blue)


@kernel
@no_type_check
def lay_2dgs(splat, blocks, left, top, s):
    """A surfel. Its halved squared distance is (u^2 + v^2) / z^2, each of the three linear in the pixel."""
    mx, my, opacity = splat[fp.X] - left, splat[fp.Y] - top, splat[fp.OPACITY]
    ux, uy, vx, vy, zx, zy = splat[fp.UX], splat[fp.UY], splat[fp.VX], splat[fp.VY], splat[fp.ZX], splat[fp.ZY]
    u0, v0, z0 = -ux * mx - uy * my, -vx * mx - vy * my, splat[fp.Z0] - zx * mx - zy * my
    lx, ly = splat[fp.LX] - left, splat[fp.LY] - top
    red, green, blue = splat[fp.RED], splat[fp.GREEN], splat[fp.BLUE]
    while blocks != u64(0):
        i, blocks = next_block(blocks)
        x, y = load(s, blend.X + i), load(s, blend.Y + i)
        u, v, z = u0 + ux * x + uy * y, v0 + vx * x + vy * y, z0 + zx * x + zy * y
        z = z * z
        z = where(z > blend.TINY_SQUARED, z, blend.TINY_SQUARED)
        ex, ey = x - lx, y - ly
        raw = blend.alpha_2dgs((u * u + v * v) / z, blend.SCREEN * (ex * ex + ey * ey), z > blend.ZERO, opacity)
        lay_over(s, i, raw, red, green, blue)


@kernel
@no_type_check
def paint_tiles(part, parts, starts, ids, rows, background, picture):
    """Lay every tile's splats front to back, and round it into the picture."""
    s, ys = new_planes(), np.arange(2 * ROWS).astype(f32)
    for k in range(ROWS):
        ys[k], ys[ROWS + k] = f32(2 * k) + f32(0.5), f32(2 * k) + f32(1.5)
    blocks, surfel = np.empty(FEW, np.uint64), rows.shape[1] == fp.ROW_2DGS
    tiles_x = (picture.shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        x, y = f32(left), f32(top)
        s[T:] = f32(0)
        s[T : T + blend.PIXELS] = f32(1)
        here = ids[starts[tile] : starts[tile + 1]]
        still = u64(0xFFFFFFFF)
        for j in range(0, len(here), FEW):
            few = here[j : j + FEW]
            for g in here[j + FEW : j + 2 * FEW]:
                prefetch(rows, g)  # they lie far apart in memory
            for k in range(len(few)):
                blocks[k] = still & blocks_of(rows[few[k]], surfel, x, y, ys)
            for k in range(len(few)):
                if surfel:
                    lay_2dgs(rows[few[k]], blocks[k], x, y, s)
                else:
                    lay_3dgs(rows[few[k]], blocks[k], x, y, s)
            still = open_blocks(s)
            if still == u64(0):
                break
        write_bytes(s, left, top, background, picture)


@kernel
@no_type_check
def write_bytes(s, left, top, background, picture):
    """A tile's part of the picture; `background` (H W 3 or 1 1 3) shines through."""
    height, width = picture.shape[:2]
    one = background.shape[0] == 1
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i, v, u = place_of(row, column), top + row, left + column
            t = abs(s[T + i])
            for c in range(3):
                behind = background[0, 0, c] if one else background[v, u, c]
                value = WHOLE * (s[CHANNELS + c * STRIDE + i] + t * behind)
                picture[v, u, c] = np.uint8(min(max(value, f32(0)), WHOLE) + f32(0.5))


def paint_cpu(
    gaussians: Gaussians, camera: Cameras, background: Float[Tensor, "#H #W 3"], mode: Mode
) -> UInt8[ndarray, "H W 3"]:
    """What the camera sees before a background, with the compiled kernels."""
    size = camera.width, camera.height
    seen = gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, view_colours(gaussians, camera)[0]
    inputs = [x.float().contiguous().numpy() for x in (*seen, camera.viewmats[0], camera.Ks[0])]
    torch.broadcast_shapes(background.shape, (size[1], size[0], 3))  # the kernel would read beyond a smaller picture
    surfel, count = mode == "2dgs", len(gaussians.means)
    # torch's memory begins with a cache line, numpy's anywhere
    rows = torch.empty(count, fp.ROW_2DGS if surfel else fp.ROW_3DGS).numpy()
    depths, boxes = np.empty(count, f32), np.empty((count, 4), np.int32)
    spread(footprints_2dgs if surfel else footprints_3dgs, *inputs, size, rows, depths, boxes)
    starts, ids, *_ = bin_splats(boxes, depths, -(-size[0] // at.TILE), -(-size[1] // at.TILE), found_again=False)
    picture = np.empty((size[1], size[0], 3), np.uint8)
    spread(paint_tiles, starts, ids, rows, background.float().contiguous().numpy(), picture)
    return picture
