"""Gradients of Gaussians and view from those of their footprints (the chain rule through `project`)."""

# ruff: noqa: ANN001, ANN201 - numba infers the types of kernels

from typing import no_type_check

import numpy as np

from talkingavatar.splatting.cpu import layout as at
from talkingavatar.splatting.cpu.lanes import prefetch
from talkingavatar.splatting.cpu.launch import kernel
from talkingavatar.splatting.cpu.project import MARGIN, camera_axes, rotation

f32 = np.float32
TWO = f32(2)
AHEAD = 24  # rows


@kernel
@no_type_check
def sum_edges(v_edges, slots, boxes, first, g0, g1, totals):
    """Sum the rows of `v_edges` of splats [g0, g1) into those of `totals`, always in the same order.

    They lie far apart in memory: each is asked for some rows before it is read.
    """
    for g in range(g0, g1):
        count = (boxes[g, 2] - boxes[g, 0]) * (boxes[g, 3] - boxes[g, 1])
        totals[g - g0] = f32(0)
        for k in range(first[g], first[g] + count):
            slot = slots[k]
            prefetch(v_edges, slots[min(k + AHEAD, len(slots) - 1)])
            for c in range(v_edges.shape[1]):
                totals[g - g0, c] += v_edges[slot, c]


@kernel
@no_type_check
def quat_backward(quat, G, v_quat):
    """Add to v_quat the gradient of a quaternion of any length from that (G) of its rotation matrix."""
    n = f32(1) / np.sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3])
    w, x, y, z = quat[0] * n, quat[1] * n, quat[2] * n, quat[3] * n
    a, b, c = G[2, 1] - G[1, 2], G[0, 2] - G[2, 0], G[1, 0] - G[0, 1]
    d, e, f = G[1, 0] + G[0, 1], G[2, 0] + G[0, 2], G[2, 1] + G[1, 2]
    vw = TWO * (x * a + y * b + z * c)
    vx = TWO * (w * a + y * d + z * e - TWO * x * (G[1, 1] + G[2, 2]))
    vy = TWO * (w * b + x * d + z * f - TWO * y * (G[0, 0] + G[2, 2]))
    vz = TWO * (w * c + x * e + y * f - TWO * z * (G[0, 0] + G[1, 1]))
    along = w * vw + x * vx + y * vy + z * vz
    v_quat[0] += (vw - along * w) * n
    v_quat[1] += (vx - along * x) * n
    v_quat[2] += (vy - along * y) * n
    v_quat[3] += (vz - along * z) * n


@kernel
@no_type_check
def world_backward(g, means, quats, scales, view, R, v_U, v_R, v_mean, v_means, v_quats, v_scales, v_view):
    """From camera space to the world.

    v_U: gradients of the scaled axes in camera space (columns). v_R: of the rotation matrix beyond that.
    v_mean: of the mean in camera space. v_view (3 4) gathers the gradient of the view matrix.
    """
    s0, s1, s2 = scales[g, 0], scales[g, 1], scales[g, 2]
    for k in range(3):
        along = f32(0)
        for j in range(3):
            total = view[0, j] * v_U[0, k] + view[1, j] * v_U[1, k] + view[2, j] * v_U[2, k]
            along += total * R[j, k]
            v_R[j, k] += total * scales[g, k]
        v_scales[g, k] += along
    for i in range(3):
        u0, u1, u2 = s0 * v_U[i, 0], s1 * v_U[i, 1], s2 * v_U[i, 2]
        v_means[g, i] += view[0, i] * v_mean[0] + view[1, i] * v_mean[1] + view[2, i] * v_mean[2]
        for j in range(3):
            v_view[i, j] += u0 * R[j, 0] + u1 * R[j, 1] + u2 * R[j, 2] + v_mean[i] * means[g, j]
        v_view[i, 3] += v_mean[i]
    quat_backward(quats[g], v_R, v_quats[g])


@kernel
@no_type_check
def axes_backward_3dgs(x, y, z, U, scale, K, size, splat, v, v_U, v_mean):
    """Ellipsoid: from v (gradients of `shape`) to those of scaled axes and mean in camera space."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = MARGIN * size[0] / fx, MARGIN * size[1] / fy
    rz = f32(1) / z
    xn, yn = x * rz, y * rz
    tx = min(max(xn, -cx / fx - margin_x), (f32(size[0]) - cx) / fx + margin_x)
    ty = min(max(yn, -cy / fy - margin_y), (f32(size[1]) - cy) / fy + margin_y)
    # Conic Q = -[[2 qxx, qxy], [qxy, 2 qyy]] with gradient V; that of the covariance is -Q V Q.
    A, B, C = -TWO * splat[at.QXX], -splat[at.QXY], -TWO * splat[at.QYY]
    va, vb, vc = -v[at.QXX] / TWO, -v[at.QXY] / TWO, -v[at.QYY] / TWO
    p, q, r, s = va * A + vb * B, va * B + vb * C, vb * A + vc * B, vb * B + vc * C
    g11, g12, g22 = -(A * p + B * r), -(A * q + B * s), -(B * q + C * s)
    v_j00, v_j02, v_j11, v_j12 = f32(0), f32(0), f32(0), f32(0)
    for k in range(3):
        u0, u1, u2 = U[0, k] * scale[k], U[1, k] * scale[k], U[2, k] * scale[k]
        p0, p1 = fx * rz * (u0 - tx * u2), fy * rz * (u1 - ty * u2)
        v0, v1 = TWO * (g11 * p0 + g12 * p1), TWO * (g12 * p0 + g22 * p1)
        v_U[0, k], v_U[1, k], v_U[2, k] = fx * rz * v0, fy * rz * v1, -rz * (fx * tx * v0 + fy * ty * v1)
        v_j00 += v0 * u0
        v_j02 += v0 * u2
        v_j11 += v1 * u1
        v_j12 += v1 * u2
    v_xn, v_yn = fx * v[at.X], fy * v[at.Y]
    if tx == xn:
        v_xn -= fx * rz * v_j02
    if ty == yn:
        v_yn -= fy * rz * v_j12
    v_rz = fx * (v_j00 - tx * v_j02) + fy * (v_j11 - ty * v_j12)
    v_mean[0], v_mean[1] = v_xn * rz, v_yn * rz
    v_mean[2] = -rz * rz * (v_rz + x * v_xn + y * v_yn)


@kernel
@no_type_check
def axes_backward_2dgs(x, y, z, U, scale, K, v, v_U, v_mean, probe):
    """Surfel: the same; `probe` gets what density control reads (gsplat: depth times that of M[:2, 2])."""
    fx, fy = K[0, 0], K[1, 1]
    rz = f32(1) / z
    xn, yn, s1, s2 = x * rz, y * rz, scale[0] * rz, scale[1] * rz
    h1, h2 = s1 * U[2, 0], s2 * U[2, 1]
    j11, j12 = fx * (s1 * U[0, 0] - xn * h1), fx * (s2 * U[0, 1] - xn * h2)
    j21, j22 = fy * (s1 * U[1, 0] - yn * h1), fy * (s2 * U[1, 1] - yn * h2)
    d = h1 * h1 + h2 * h2 - f32(1)
    ox, oy = (h1 * j11 + h2 * j12) / d, (h1 * j21 + h2 * j22) / d
    v11 = v[at.J11] + v[at.Z0] * j22 - v[at.ZY] * h2
    v12 = v[at.J12] - v[at.Z0] * j21 + v[at.ZY] * h1
    v21 = v[at.J21] - v[at.Z0] * j12 + v[at.ZX] * h2
    v22 = v[at.J22] + v[at.Z0] * j11 - v[at.ZX] * h1
    probe[0] = v[at.X] - h1 * v11 - h2 * v12
    probe[1] = v[at.Y] - h1 * v21 - h2 * v22
    ax, ay = v[at.LX] / d, v[at.LY] / d
    v_h1 = v[at.ZY] * j12 - v[at.ZX] * j22 + ax * (j11 - TWO * h1 * ox) + ay * (j21 - TWO * h1 * oy)
    v_h2 = v[at.ZX] * j21 - v[at.ZY] * j11 + ax * (j12 - TWO * h2 * ox) + ay * (j22 - TWO * h2 * oy)
    v11, v12, v21, v22 = (
        fx * (v11 + ax * h1),
        fx * (v12 + ax * h2),
        fy * (v21 + ay * h1),
        fy * (v22 + ay * h2),
    )
    v_xn = fx * (v[at.X] + v[at.LX]) - v11 * h1 - v12 * h2
    v_yn = fy * (v[at.Y] + v[at.LY]) - v21 * h1 - v22 * h2
    v_h1 -= v11 * xn + v21 * yn
    v_h2 -= v12 * xn + v22 * yn
    v_U[0, 0], v_U[1, 0], v_U[2, 0] = v11 * rz, v21 * rz, v_h1 * rz
    v_U[0, 1], v_U[1, 1], v_U[2, 1] = v12 * rz, v22 * rz, v_h2 * rz
    v_U[0, 2], v_U[1, 2], v_U[2, 2] = f32(0), f32(0), f32(0)
    v_rz = x * v_xn + y * v_yn
    for i in range(3):
        v_rz += scale[0] * U[i, 0] * v_U[i, 0] * z + scale[1] * U[i, 1] * v_U[i, 1] * z
    v_mean[0], v_mean[1], v_mean[2] = v_xn * rz, v_yn * rz, -rz * rz * v_rz


@kernel
@no_type_check
def project_backward(
    part, parts, inputs, size, shape, features, boxes, first, slots, v_edges, v_depths, gradients, probe, v_views
):
    """Add one camera's gradients.

    inputs: means, quats, scales, view, K. gradients: of means, quats, scales, opacities, colours (added to).
    v_depths (N, or empty): a gradient of the splats' depths beyond the blended one. v_views (blocks 3 4): one
    sum per block of Gaussians.
    """
    means, quats, scales, view, K = inputs
    v_means, v_quats, v_scales, v_opacities, v_colours = gradients
    R, U, v_U, v_R = (
        np.empty((3, 3), f32),
        np.empty((3, 3), f32),
        np.empty((3, 3), f32),
        np.empty((3, 3), f32),
    )
    channels, surfel = features.shape[1], shape.shape[1] == at.SHAPE_2DGS
    totals, v_mean = np.empty((at.BLOCK, v_edges.shape[1]), f32), np.empty(3, f32)
    v = np.empty(shape.shape[1], f32)
    for block in range(part, len(v_views), parts):
        g0, g1 = block * at.BLOCK, min((block + 1) * at.BLOCK, len(means))
        sum_edges(v_edges, slots, boxes, first, g0, g1, totals)
        for g in range(g0, g1):
            if boxes[g, 2] == boxes[g, 0]:
                continue
            total = totals[g - g0]
            for c in range(shape.shape[1]):
                v[c] = total[channels + c]
            for c in range(3):
                v_colours[g, c] += total[c]
            v_opacities[g] += v[at.OPACITY]
            x = view[0, 0] * means[g, 0] + view[0, 1] * means[g, 1] + view[0, 2] * means[g, 2] + view[0, 3]
            y = view[1, 0] * means[g, 0] + view[1, 1] * means[g, 1] + view[1, 2] * means[g, 2] + view[1, 3]
            z = view[2, 0] * means[g, 0] + view[2, 1] * means[g, 1] + view[2, 2] * means[g, 2] + view[2, 3]
            rotation(quats[g], R)
            camera_axes(view, R, U)
            v_R[:] = f32(0)
            if surfel:
                axes_backward_2dgs(x, y, z, U, scales[g], K, v, v_U, v_mean, probe[g])
                facing = U[0, 2] * x + U[1, 2] * y + U[2, 2] * z < 0
                for i in range(3):
                    v_R[i, 2] = total[at.NORMAL + i] if facing else -total[at.NORMAL + i]
            else:
                axes_backward_3dgs(x, y, z, U, scales[g], K, size, shape[g], v, v_U, v_mean)
                probe[g, 0], probe[g, 1] = v[at.X], v[at.Y]
            v_mean[2] += total[at.DEPTH] + (v_depths[g] if v_depths.size > 0 else f32(0))
            world_backward(
                g, means, quats, scales, view, R, v_U, v_R, v_mean, v_means, v_quats, v_scales, v_views[block]
            )
