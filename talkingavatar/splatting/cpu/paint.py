"""Colours alone, as bytes: what a film needs of a rendering, in a third of its time.

The same splats in the same order as `raster`, without depth, normals, whatever only gradients need, and images between.
In a tile each visits the blocks of pixels alone that its ellipse reaches, as long as one of their pixels is open.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.colours import view_colours
from talkingavatar.splatting.conventions import Mode
from talkingavatar.splatting.cpu import blend
from talkingavatar.splatting.cpu import footprints as fp
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.footprints import footprints_2dgs, footprints_3dgs
from talkingavatar.splatting.cpu.lanes import bits, load, lowest, nearest, prefetch, root, scaled, store, where
from talkingavatar.splatting.cpu.launch import kernel, spread
from talkingavatar.splatting.cpu.tiles import bin_splats
from talkingavatar.types import Cameras, Gaussians

f32, u64 = np.float32, np.uint64
WHOLE = f32(255)
FEW = 16  # splats between two looks at which blocks of pixels are finished
ROWS, COLUMNS = at.TILE // at.BLOCK_Y, at.TILE // at.BLOCK_X
STRIDE, CHANNELS, T = blend.STRIDE, int(blend.C0), int(blend.T)
PLANES = CHANNELS + 3 * STRIDE
ON_SCREEN = f32(np.sqrt(cv.FILTER_2DGS / 2 * np.log2(np.e)))
# Two to the x for |x| <= 1/2, to 1e-7.
E1, E2, E3, E4, E5 = f32(0.6931470), f32(0.24022242), f32(0.05550734), f32(0.009671513), f32(0.0013264718)


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
def between(y, middle_x, middle_y, slope, width, less):
    """Least and greatest x of an ellipse in eight rows of pixels, and what is below zero in rows that it is not in."""
    y = y - middle_y
    x = slope * y + middle_x
    q = width - less * y * y
    half = root(where(q > blend.ZERO, q, blend.ZERO))
    return x - half, x + half, q


@kernel
@no_type_check
def reached(ys, middle_x, middle_y, slope, width, less):
    """Which blocks of a tile an ellipse reaches, as bits; `ys` of their upper rows, then of their lower ones."""
    low, high, q = between(load(ys, 0), middle_x, middle_y, slope, width, less)
    also_low, also_high, also_q = between(load(ys, 8), middle_x, middle_y, slope, width, less)
    low, high = where(also_low < low, also_low, low), where(also_high > high, also_high, high)
    found = bits((low <= f32(3.5)) & (high >= f32(0.5)))
    found |= bits((low <= f32(7.5)) & (high >= f32(4.5))) << u64(8)
    found |= bits((low <= f32(11.5)) & (high >= f32(8.5))) << u64(16)
    found |= bits((low <= f32(15.5)) & (high >= f32(12.5))) << u64(24)
    return found & (bits(where(also_q > q, also_q, q) >= blend.ZERO) * u64(0x01010101))


@kernel
@no_type_check
def blocks_of(splat, surfel, left, top, ys):
    """Which blocks of the tile at (left, top) a splat can be seen in."""
    x, y = splat[fp.MIDDLE_X] - left, splat[fp.MIDDLE_Y] - top
    found = reached(ys, x, y, splat[fp.SLOPE], splat[fp.WIDTH], splat[fp.LESS])
    if surfel:  # and its low-pass
        found |= reached(ys, splat[fp.LX] - left, splat[fp.LY] - top, blend.ZERO, splat[fp.LOW], blend.ONE)
    return found


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
def alpha(power):
    """Two to that power; nothing where it is too faint."""
    whole = nearest(power)
    x = power - whole
    e = blend.ONE + x * (E1 + x * (E2 + x * (E3 + x * (E4 + x * E5))))
    return where(power >= fp.FAINTEST, scaled(e, whole), blend.ZERO)


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
    """An ellipsoid over blocks of the tile at (left, top): u of a pixel is linear in both its coordinates, v in y."""
    mx, my, lift = splat[fp.X] - left, splat[fp.Y] - top, splat[fp.LIFT]
    ux, uy, vy = splat[fp.UX], splat[fp.UY], splat[fp.VY]
    u0, v0 = -ux * mx - uy * my, -vy * my
    red, green, blue = splat[fp.RED], splat[fp.GREEN], splat[fp.BLUE]
    while blocks != u64(0):
        i, blocks = next_block(blocks)
        x, y = load(s, blend.X + i), load(s, blend.Y + i)
        u, v = u0 + ux * x + uy * y, v0 + vy * y
        lay_over(s, i, alpha(lift - u * u - v * v), red, green, blue)


@kernel
@no_type_check
def lay_2dgs(splat, blocks, left, top, s):
    """A surfel. Its squared distance is (u^2 + v^2) / z^2, each of the three linear in the pixel."""
    mx, my, lift = splat[fp.X] - left, splat[fp.Y] - top, splat[fp.LIFT]
    ux, uy, vx, vy, zx, zy = splat[fp.UX], splat[fp.UY], splat[fp.VX], splat[fp.VY], splat[fp.ZX], splat[fp.ZY]
    u0, v0, z0 = -ux * mx - uy * my, -vx * mx - vy * my, splat[fp.Z0] - zx * mx - zy * my
    lx, ly = ON_SCREEN * (left - splat[fp.LX]), ON_SCREEN * (top - splat[fp.LY])
    red, green, blue = splat[fp.RED], splat[fp.GREEN], splat[fp.BLUE]
    while blocks != u64(0):
        i, blocks = next_block(blocks)
        x, y = load(s, blend.X + i), load(s, blend.Y + i)
        u, v, z = u0 + ux * x + uy * y, v0 + vx * x + vy * y, z0 + zx * x + zy * y
        z = z * z
        z = where(z > blend.TINY_SQUARED, z, blend.TINY_SQUARED)
        ex, ey = ON_SCREEN * x + lx, ON_SCREEN * y + ly
        near, also = (u * u + v * v) / z, ex * ex + ey * ey
        lay_over(s, i, alpha(lift - where(near <= also, near, also)), red, green, blue)


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
    if len(background) == 1:
        shine(s, background[0, 0])
    else:
        shine_behind(s, left, top, background)
    for i in range(CHANNELS, PLANES, at.LANES):
        value = WHOLE * load(s, np.uintp(i))
        value = where(value > blend.ZERO, value, blend.ZERO)
        store(s, np.uintp(i), where(value < WHOLE, value, WHOLE) + blend.HALF)
    for row in range(min(at.TILE, height - top)):
        for column in range(min(at.TILE, width - left)):
            i = CHANNELS + place_of(row, column)
            for c in range(3):
                picture[top + row, left + column, c] = np.uint8(s[i + c * STRIDE])


@kernel
@no_type_check
def shine(s, colour):
    """One colour through a tile."""
    for i in range(0, blend.PIXELS, at.LANES):
        t, place = load(s, blend.T + np.uintp(i)), blend.C0 + np.uintp(i)
        t = where(t < blend.ZERO, blend.ZERO - t, t)
        blend.add(s, place, t * colour[0])
        blend.add(s, place + np.uintp(STRIDE), t * colour[1])
        blend.add(s, place + np.uintp(2 * STRIDE), t * colour[2])


@kernel
@no_type_check
def shine_behind(s, left, top, picture):
    """A picture's part."""
    for row in range(min(at.TILE, picture.shape[0] - top)):
        for column in range(min(at.TILE, picture.shape[1] - left)):
            i = place_of(row, column)
            for c in range(3):
                s[CHANNELS + c * STRIDE + i] += abs(s[T + i]) * picture[top + row, left + column, c]


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
