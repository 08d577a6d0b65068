"""Pictures in the form that H.264 wants: FFmpeg's own conversion but for roundings, in a fifth of its time."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import av
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from talkingavatar.runtime.compiled import compiled

BITS = 15
ONE, HALF = 1 << BITS, 1 << (BITS - 1)
EIGHTS = BITS + 4  # a number of colour is of four pixels, the inner two rows taken thrice: 16 in all
# Y, U and V of red, green and blue (BT.601, Y from 16 to 235).
LUMA = tuple(round(ONE * 219 / 255 * share) for share in (0.299, 0.587, 0.114))
BLUE = tuple(round(ONE * 112 / 255 * share) for share in (-0.299 / 0.886, -0.587 / 0.886, 1))
RED = tuple(round(ONE * 112 / 255 * share) for share in (1, -0.587 / 0.701, -0.114 / 0.701))
i32 = np.int32
Y_R, Y_G, Y_B, Y_0 = (i32(x) for x in (*LUMA, 16 * ONE + HALF))
U_R, U_G, U_B = (i32(x) for x in BLUE)
V_R, V_G, V_B = (i32(x) for x in RED)
UV_0, THREE = i32((128 << EIGHTS) + (1 << (EIGHTS - 1))), i32(3)


def video_frame(image: UInt8[ndarray, "H W 3"]) -> av.VideoFrame:
    """A picture as yuv420p; odd sizes are padded by a repeated edge, which H.264 needs."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, "yuv420p")
    y, u, v = (np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes)
    fill(np.ascontiguousarray(image).reshape(height, -1), y[:, :width], u[:, : width // 2], v[:, : width // 2])
    return frame


@compiled
@no_type_check
def fill(rgb, y, u, v):
    """Planes Y (H W), U and V (H/2 W/2) of rgb (H 3W). U and V are means of two columns and of four rows."""
    height, width = y.shape
    for row in range(height):
        here = rgb[row]
        for x in range(width):
            r, g, b = i32(here[3 * x]), i32(here[3 * x + 1]), i32(here[3 * x + 2])
            y[row, x] = np.uint8((Y_R * r + Y_G * g + Y_B * b + Y_0) >> i32(BITS))
    for row in range(height // 2):
        above, below = rgb[max(2 * row - 1, 0)], rgb[min(2 * row + 2, height - 1)]
        upper, lower = rgb[2 * row], rgb[2 * row + 1]
        for x in range(width // 2):
            r = outer(above, below, 6 * x) + THREE * outer(upper, lower, 6 * x)
            g = outer(above, below, 6 * x + 1) + THREE * outer(upper, lower, 6 * x + 1)
            b = outer(above, below, 6 * x + 2) + THREE * outer(upper, lower, 6 * x + 2)
            u[row, x] = np.uint8((U_R * r + U_G * g + U_B * b + UV_0) >> i32(EIGHTS))
            v[row, x] = np.uint8((V_R * r + V_G * g + V_B * b + UV_0) >> i32(EIGHTS))


@compiled
@no_type_check
def outer(one, other, i):
    """Of two rows, a number of two neighbouring pixels each."""
    return i32(one[i]) + i32(one[i + 3]) + i32(other[i]) + i32(other[i + 3])
