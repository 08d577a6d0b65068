"""Blending of poses along the shortest way between rotations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from talkingavatar.types import BodyPose


def axis_angle_to_quat(rotvec: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternion (w, x, y, z) of an axis-angle vector in radians."""
    angle = rotvec.norm(dim=-1, keepdim=True)
    # sin(a / 2) / a; torch.sinc(x) is sin(pi x) / (pi x).
    return torch.cat([(angle / 2).cos(), rotvec * torch.sinc(angle / (2 * torch.pi)) / 2], -1)


def quat_to_axis_angle(quat: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3"]:
    """The axis-angle vector, at most pi long, of a quaternion of any length but zero."""
    unit = normalize(quat, dim=-1)
    unit = torch.where(unit[..., :1] < 0, -unit, unit)
    sine = unit[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, unit[..., :1])
    return unit[..., 1:] * torch.where(sine < 1e-6, torch.full_like(sine, 2.0), angle / sine.clamp_min(1e-6))


def slerp(a: Float[Tensor, "*b 3"], b: Float[Tensor, "*b 3"], share: Float[Tensor, "*#b 1"]) -> Float[Tensor, "*b 3"]:
    """Axis-angle rotations from `a` (share 0) to `b` (share 1) at constant angular speed, the short way round."""
    p, q = axis_angle_to_quat(a), axis_angle_to_quat(b)
    cosine = (p * q).sum(-1, keepdim=True)
    q, cosine = torch.where(cosine < 0, -q, q), cosine.abs().clamp(max=1.0)
    angle = cosine.acos()
    # Near zero the two weights tend to those of a straight line.
    near = angle < 1e-4
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    weight_a = torch.where(near, 1 - share, ((1 - share) * angle).sin() / sine)
    weight_b = torch.where(near, share, (share * angle).sin() / sine)
    return quat_to_axis_angle(weight_a * p + weight_b * q)


def blend_poses(a: BodyPose, b: BodyPose, share: Float[Tensor, " B"]) -> BodyPose:
    """Frame by frame from `a` to `b`: rotations by slerp, all else linearly."""
    linear = share[:, None]
    return BodyPose(
        betas=torch.lerp(a.betas, b.betas, linear),
        expression=torch.lerp(a.expression, b.expression, linear),
        full_pose=slerp(a.full_pose, b.full_pose, share[:, None, None]),
        transl=torch.lerp(a.transl, b.transl, linear),
    )
