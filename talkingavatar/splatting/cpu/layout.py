"""Columns of the arrays that the kernels pass on."""

from talkingavatar.splatting import conventions as cv

TILE = cv.TILE
# Pixels that kernels take at once, and how they lie in a tile.
LANES, BLOCK_X, BLOCK_Y = 8, 4, 2
BLOCKS_X = TILE // BLOCK_X
BLOCK = 256  # Gaussians per unit of work

# `shape` (N SHAPE): what a pixel needs to know of a splat's footprint. The first three are common.
X, Y, OPACITY = 0, 1, 2
# 3dgs: the exponent is QXX dx^2 + QXY dx dy + QYY dy^2
QXX, QXY, QYY = 3, 4, 5
# 2dgs: u = (J22 dx - J12 dy) / z, v = (J11 dy - J21 dx) / z, z = Z0 + ZX dx + ZY dy; low-pass around LX, LY
J11, J12, J21, J22, Z0, ZX, ZY, LX, LY = 3, 4, 5, 6, 7, 8, 9, 10, 11
SHAPE_3DGS, SHAPE_2DGS = 6, 12

# `features` (N CHANNELS): colour and depth; for surfels also the normal.
DEPTH, NORMAL = 3, 4
CHANNELS_3DGS, CHANNELS_2DGS = 4, 7

# A splat's row of all that tiles read: shape, features, room and, last, four integers: its reach in pixels.
# One cache line, or one and a half.
ROW_3DGS, ROW_2DGS, REACH = 16, 24, 4
