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
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.autograd import project
from talkingavatar.splatting.cpu.lanes import load, where
from talkingavatar.splatting.cpu.launch import kernel, spread
from talkingavatar.splatting.cpu.raster import FEW, fetch, new_planes, place_of, reset
from talkingavatar.splatting.cpu.tiles import bin_splats
from talkingavatar.types import Cameras, Gaussians

f32 = np.float32
ROOT_HALF = f32(np.sqrt(0.5))
WHOLE = f32(255)
STRIDE, CHANNELS, T = blend.STRIDE, int(blend.C0), int(blend.T)


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
def lay_3dgs(splat, window, left, top, s):
    """An ellipsoid over its window of the tile at (left, top)."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    a, b, c = splat[at.QXX], splat[at.QXY], splat[at.QYY]
    f = at.SHAPE_3DGS
    red, green, blue = splat[f], splat[f + 1], splat[f + 2]
    i, count, skip = blend.first_block(window)
    column = window[2]
    for _ in range(count):
        raw = blend.alpha_3dgs(load(s, blend.X + i) - mx, load(s, blend.Y + i) - my, a, b, c, opacity)
        lay_over(s, i, raw, red, green, blue)
        i, column = blend.next_block(i, column, window, skip)


@kernel
@no_type_check
def lay_2dgs(splat, window, left, top, s):
    """A surfel. Its halved squared distance is (u^2 + v^2) / z^2, each of the three linear in the pixel."""
    mx, my, opacity = splat[at.X] - left, splat[at.Y] - top, splat[at.OPACITY]
    ux, uy = ROOT_HALF * splat[at.J22], -ROOT_HALF * splat[at.J12]
    vx, vy = -ROOT_HALF * splat[at.J21], ROOT_HALF * splat[at.J11]
    zx, zy = splat[at.ZX], splat[at.ZY]
    u0, v0, z0 = -ux * mx - uy * my, -vx * mx - vy * my, splat[at.Z0] - zx * mx - zy * my
    lx, ly = splat[at.LX] - left, splat[at.LY] - top
    f = at.SHAPE_2DGS
    red, green, blue = splat[f], splat[f + 1], splat[f + 2]
    i, count, skip = blend.first_block(window)
    column = window[2]
    for _ in range(count):
        x, y = load(s, blend.X + i), load(s, blend.Y + i)
        u, v, z = u0 + ux * x + uy * y, v0 + vx * x + vy * y, z0 + zx * x + zy * y
        z = z * z
        z = where(z > blend.TINY_SQUARED, z, blend.TINY_SQUARED)
        ex, ey = x - lx, y - ly
        raw = blend.alpha_2dgs((u * u + v * v) / z, blend.SCREEN * (ex * ex + ey * ey), z > blend.ZERO, opacity)
        lay_over(s, i, raw, red, green, blue)
        i, column = blend.next_block(i, column, window, skip)


@kernel
@no_type_check
def paint_tiles(part, parts, starts, ids, rows, reach, background, picture):
    """Lay every tile's splats front to back, and round it into the picture."""
    s = new_planes()
    near, windows = np.empty((FEW, rows.shape[1]), f32), np.empty((FEW, 4), np.int64)
    tiles_x = (picture.shape[1] + at.TILE - 1) // at.TILE
    for tile in range(part, len(starts) - 1, parts):
        left, top = tile % tiles_x * at.TILE, tile // tiles_x * at.TILE
        x, y = f32(left), f32(top)
        reset(s)
        here = ids[starts[tile] : starts[tile + 1]]
        for j in range(0, len(here), FEW):
            few = here[j : j + FEW]
            fetch(few, here[j + FEW : j + 2 * FEW], left, top, rows, reach, near, windows)
            for k in range(len(few)):
                if rows.shape[1] == at.ROW_2DGS:
                    lay_2dgs(near[k], windows[k], x, y, s)
                else:
                    lay_3dgs(near[k], windows[k], x, y, s)
            if blend.finished(s):
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
    rows, _, features, _, boxes, reach = project(mode == "2dgs", size, *inputs)
    torch.broadcast_shapes(background.shape, (size[1], size[0], 3))  # the kernel would read beyond a smaller picture
    tiles = -(-size[0] // at.TILE), -(-size[1] // at.TILE)
    starts, ids, *_ = bin_splats(boxes, features[:, at.DEPTH], *tiles)
    picture = np.empty((size[1], size[0], 3), np.uint8)
    spread(paint_tiles, starts, ids, rows, reach, background.float().contiguous().numpy(), picture)
    return picture
