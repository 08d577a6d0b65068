"""From Gaussians in the world to footprints on the image."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting import conventions as cv
from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.launch import kernel

f32 = np.float32
NEAR, FAR, ALPHA_MIN, EXTENT, BLUR = (
    f32(cv.NEAR),
    f32(cv.FAR),
    f32(cv.ALPHA_MIN),
    f32(cv.EXTENT),
    f32(cv.BLUR_3DGS),
)
MARGIN = f32(cv.FOV_MARGIN)
LOW_PASS_REACH = f32(1 / np.sqrt(cv.FILTER_2DGS))
SLACK = f32(0.01)  # pixels: rounding must not cut a footprint short


@kernel
@no_type_check
def rotation(quat, R):
    """Rotation matrix of a quaternion of any length into R."""
    n = f32(1) / np.sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3])
    w, x, y, z = quat[0] * n, quat[1] * n, quat[2] * n, quat[3] * n
    one, two = f32(1), f32(2)
    R[0, 0], R[0, 1], R[0, 2] = one - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = two * (x * y + w * z), one - two * (x * x + z * z), two * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = two * (x * z - w * y), two * (y * z + w * x), one - two * (x * x + y * y)


@kernel
@no_type_check
def camera_axes(view, R, U):
    """U = view rotation times R: the axes of a Gaussian in camera space."""
    for i in range(3):
        for k in range(3):
            U[i, k] = view[i, 0] * R[0, k] + view[i, 1] * R[1, k] + view[i, 2] * R[2, k]


@kernel
@no_type_check
def tile_range(low, high, tiles):
    """Tiles [first, last) that touch [low, high] pixels."""
    first = min(max(np.floor(low / f32(at.TILE)), f32(0)), f32(tiles))
    last = min(max(np.ceil(high / f32(at.TILE)), f32(0)), f32(tiles))
    return np.int32(first), np.int32(last)


@kernel
@no_type_check
def place(g, x, y, rx, ry, low, high, size, radii, boxes, reach):
    """Cull, and write radii (as gsplat), the tiles of the footprint and its pixels.

    (rx, ry): gsplat's radius around (x, y). low, high: the exact reach of visible alpha, often smaller.
    """
    rx, ry = np.ceil(rx), np.ceil(ry)
    if not (x + rx > 0 and x - rx < size[0] and y + ry > 0 and y - ry < size[1]):
        return
    radii[g, 0], radii[g, 1] = np.int32(min(rx, f32(2**30))), np.int32(min(ry, f32(2**30)))
    tiles_x, tiles_y = (size[0] + at.TILE - 1) // at.TILE, (size[1] + at.TILE - 1) // at.TILE
    x0, x1 = tile_range(max(x - rx, low[0]), min(x + rx, high[0]), tiles_x)
    y0, y1 = tile_range(max(y - ry, low[1]), min(y + ry, high[1]), tiles_y)
    if x1 > x0 and y1 > y0:
        boxes[g, 0], boxes[g, 1], boxes[g, 2], boxes[g, 3] = x0, y0, x1, y1
    for axis in range(2):
        end = f32(size[axis] - 1)
        reach[g, axis] = np.int32(min(max(np.ceil(low[axis] - f32(0.5)), f32(0)), end))
        reach[g, 2 + axis] = np.int32(min(max(np.floor(high[axis] - f32(0.5)), f32(-1)), end)) + 1


@kernel
@no_type_check
def project_3dgs(
    part,
    parts,
    means,
    quats,
    scales,
    opacities,
    colours,
    view,
    K,
    size,
    shape,
    features,
    radii,
    boxes,
    reach,
):
    """EWA projection: `shape` and `features` as in `layout`; arrays of what is culled are left at zero."""
    R, U, P = np.empty((3, 3), f32), np.empty((3, 3), f32), np.empty((2, 3), f32)
    low, high = np.empty(2, f32), np.empty(2, f32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = MARGIN * size[0] / fx, MARGIN * size[1] / fy
    for block in range(part, (len(means) + at.BLOCK - 1) // at.BLOCK, parts):
        for g in range(block * at.BLOCK, min((block + 1) * at.BLOCK, len(means))):
            x = view[0, 0] * means[g, 0] + view[0, 1] * means[g, 1] + view[0, 2] * means[g, 2] + view[0, 3]
            y = view[1, 0] * means[g, 0] + view[1, 1] * means[g, 1] + view[1, 2] * means[g, 2] + view[1, 3]
            z = view[2, 0] * means[g, 0] + view[2, 1] * means[g, 1] + view[2, 2] * means[g, 2] + view[2, 3]
            opacity = opacities[g]
            if not (z > NEAR and z < FAR and opacity >= ALPHA_MIN):
                continue
            rotation(quats[g], R)
            camera_axes(view, R, U)
            rz = f32(1) / z
            tx = min(max(x * rz, -cx / fx - margin_x), (f32(size[0]) - cx) / fx + margin_x)
            ty = min(max(y * rz, -cy / fy - margin_y), (f32(size[1]) - cy) / fy + margin_y)
            for k in range(3):
                P[0, k] = fx * rz * scales[g, k] * (U[0, k] - tx * U[2, k])
                P[1, k] = fy * rz * scales[g, k] * (U[1, k] - ty * U[2, k])
            a = P[0, 0] * P[0, 0] + P[0, 1] * P[0, 1] + P[0, 2] * P[0, 2] + BLUR
            b = P[0, 0] * P[1, 0] + P[0, 1] * P[1, 1] + P[0, 2] * P[1, 2]
            c = P[1, 0] * P[1, 0] + P[1, 1] * P[1, 1] + P[1, 2] * P[1, 2] + BLUR
            det = a * c - b * b
            if not det > 0:
                continue
            px, py = fx * x * rz + cx, fy * y * rz + cy
            shape[g, at.X], shape[g, at.Y], shape[g, at.OPACITY] = px, py, opacity
            half = f32(-0.5) / det
            shape[g, at.QXX], shape[g, at.QXY], shape[g, at.QYY] = half * c, f32(-2) * half * b, half * a
            features[g, 0], features[g, 1], features[g, 2] = colours[g, 0], colours[g, 1], colours[g, 2]
            features[g, at.DEPTH] = z
            sigmas = np.sqrt(f32(2) * np.log(opacity / ALPHA_MIN))
            wide, tall = np.sqrt(a), np.sqrt(c)
            low[0], low[1] = px - sigmas * wide - SLACK, py - sigmas * tall - SLACK
            high[0], high[1] = px + sigmas * wide + SLACK, py + sigmas * tall + SLACK
            sigmas = min(sigmas, EXTENT)
            place(g, px, py, sigmas * wide, sigmas * tall, low, high, size, radii, boxes, reach)


@kernel
@no_type_check
def disc_reach(centre, low_pass, j1, j2, h1, h2, reach):
    """Least and greatest image coordinate of the disc of radius `reach` (sigmas) and of its low-pass.

    Bounding box of a projected disc: Sigg et al. 2006, as in 2DGS. Unbounded where it cuts the eye's plane.
    """
    q = reach * reach
    d = q * (h1 * h1 + h2 * h2) - f32(1)
    if not d < f32(-1e-6):
        return f32(-1e9), f32(1e9)
    offset = q * (h1 * j1 + h2 * j2) / d
    half = np.sqrt(max(offset * offset - q * (j1 * j1 + j2 * j2) / d, f32(0)))
    blur = reach * LOW_PASS_REACH
    low = min(centre + offset - half, low_pass - blur)
    high = max(centre + offset + half, low_pass + blur)
    return low - SLACK, high + SLACK


@kernel
@no_type_check
def project_2dgs(
    part,
    parts,
    means,
    quats,
    scales,
    opacities,
    colours,
    view,
    K,
    size,
    shape,
    features,
    radii,
    boxes,
    reach,
):
    """The homography of each surfel (2DGS eq. 8 to 10), around its projected centre: float32 suffices."""
    R, U = np.empty((3, 3), f32), np.empty((3, 3), f32)
    low, high = np.empty(2, f32), np.empty(2, f32)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    for block in range(part, (len(means) + at.BLOCK - 1) // at.BLOCK, parts):
        for g in range(block * at.BLOCK, min((block + 1) * at.BLOCK, len(means))):
            x = view[0, 0] * means[g, 0] + view[0, 1] * means[g, 1] + view[0, 2] * means[g, 2] + view[0, 3]
            y = view[1, 0] * means[g, 0] + view[1, 1] * means[g, 1] + view[1, 2] * means[g, 2] + view[1, 3]
            z = view[2, 0] * means[g, 0] + view[2, 1] * means[g, 1] + view[2, 2] * means[g, 2] + view[2, 3]
            if not (z > NEAR and z < FAR):
                continue
            rotation(quats[g], R)
            camera_axes(view, R, U)
            rz = f32(1) / z
            xn, yn, s1, s2 = x * rz, y * rz, scales[g, 0] * rz, scales[g, 1] * rz
            h1, h2 = s1 * U[2, 0], s2 * U[2, 1]
            j11, j12 = fx * (s1 * U[0, 0] - xn * h1), fx * (s2 * U[0, 1] - xn * h2)
            j21, j22 = fy * (s1 * U[1, 0] - yn * h1), fy * (s2 * U[1, 1] - yn * h2)
            d = h1 * h1 + h2 * h2 - f32(1)
            if d == 0 or not abs(j11) + abs(j12) + abs(j21) + abs(j22) < FAR:
                continue
            px, py = fx * xn + cx, fy * yn + cy
            ox, oy = (h1 * j11 + h2 * j12) / d, (h1 * j21 + h2 * j22) / d
            shape[g, at.X], shape[g, at.Y], shape[g, at.OPACITY] = px, py, opacities[g]
            shape[g, at.J11], shape[g, at.J12], shape[g, at.J21], shape[g, at.J22] = j11, j12, j21, j22
            shape[g, at.Z0], shape[g, at.LX], shape[g, at.LY] = j11 * j22 - j12 * j21, px + ox, py + oy
            shape[g, at.ZX], shape[g, at.ZY] = h2 * j21 - h1 * j22, h1 * j12 - h2 * j11
            features[g, 0], features[g, 1], features[g, 2] = colours[g, 0], colours[g, 1], colours[g, 2]
            features[g, at.DEPTH] = z
            facing = U[0, 2] * x + U[1, 2] * y + U[2, 2] * z < 0
            for i in range(3):
                features[g, at.NORMAL + i] = R[i, 2] if facing else -R[i, 2]
            rx = EXTENT * np.sqrt(max(ox * ox - (j11 * j11 + j12 * j12) / d, f32(1e-4)))
            ry = EXTENT * np.sqrt(max(oy * oy - (j21 * j21 + j22 * j22) / d, f32(1e-4)))
            sigmas = np.sqrt(f32(2) * np.log(max(opacities[g] / ALPHA_MIN, f32(1))))
            low[0], high[0] = disc_reach(px, px + ox, j11, j12, h1, h2, sigmas)
            low[1], high[1] = disc_reach(py, py + oy, j21, j22, h1, h2, sigmas)
            place(g, px + ox, py + oy, rx, ry, low, high, size, radii, boxes, reach)
            if not opacities[g] >= ALPHA_MIN:
                boxes[g, 2] = boxes[g, 0]
