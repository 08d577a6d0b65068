"""Rotations as axis-angle, matrices and quaternions.

Quaternions are (w, x, y, z); matrices act on column vectors; axis-angle vectors are in radians.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def axis_angle_to_matrix(rotvec: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rodrigues' formula, smooth at zero (value and gradient)."""
    angle2 = (rotvec * rotvec).sum(-1)[..., None, None]
    # sinc and (1 - cos) / a^2 by their series near zero, where the closed form has no gradient.
    small = angle2 < 1e-6
    angle = torch.where(small, torch.ones_like(angle2), angle2).sqrt()
    a = torch.where(small, 1 - angle2 / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - angle2 / 24, (1 - angle.cos()) / (angle * angle))
    K = skew(rotvec)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye + a * K + b * (K @ K)


def skew(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """The matrix K with K w = v x w."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def quat_to_matrix(quat: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation of a quaternion of any length but zero."""
    w, x, y, z = normalize(quat, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quat(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternion of a rotation matrix, with the largest component positive (stable everywhere)."""
    m = matrix
    d0, d1, d2 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack([1 + d0 + d1 + d2, 1 + d0 - d1 - d2, 1 - d0 + d1 - d2, 1 - d0 - d1 + d2], -1)
    best = squares.argmax(-1)
    wx, wy, wz = (m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1])
    xy, xz, yz = (m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1])
    s = squares
    candidates = torch.stack(
        [
            torch.stack([s[..., 0], wx, wy, wz], -1),
            torch.stack([wx, s[..., 1], xy, xz], -1),
            torch.stack([wy, xy, s[..., 2], yz], -1),
            torch.stack([wz, xz, yz, s[..., 3]], -1),
        ],
        -2,
    )
    chosen = candidates.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return normalize(chosen, dim=-1)


def quat_multiply(a: Float[Tensor, "*b 4"], b: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """Hamilton product: the rotation b followed by a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def orthonormalise(matrix: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation nearest to a blend of rotations by Gram-Schmidt on its columns, det +1."""
    x = normalize(matrix[..., 0], dim=-1)
    y = normalize(matrix[..., 1] - (x * matrix[..., 1]).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def third_axis(quats: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3"]:
    """Where quaternions (w, x, y, z), of any length but zero, turn the z axis to: a surfel's normal."""
    w, x, y, z = quats.unbind(-1)
    twice = 2 / (w * w + x * x + y * y + z * z)
    return torch.stack([twice * (x * z + w * y), twice * (y * z - w * x), 1 - twice * (x * x + y * y)], -1)


def turned_back(vectors: Float[Tensor, "*b 3"], quats: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3"]:
    """Vectors under the inverse of what quaternions (w, x, y, z), of any length but zero, turn."""
    w, axis = normalize(quats, dim=-1).split([1, 3], -1)
    turned = torch.addcmul(torch.linalg.cross(axis, vectors), w, vectors, value=-1)
    return torch.add(vectors, torch.linalg.cross(axis, turned), alpha=2)


def rotation_between(a: Float[Tensor, "*b 3"], b: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """The smallest rotation that turns `a` into the direction of `b`; they must not be opposed."""
    a, b = normalize(a, dim=-1), normalize(b, dim=-1)
    K = skew(torch.linalg.cross(a, b))
    cosine = (a * b).sum(-1)[..., None, None]
    return torch.eye(3, dtype=a.dtype, device=a.device) + K + K @ K / (1 + cosine)
